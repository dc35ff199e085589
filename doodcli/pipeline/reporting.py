"""The report of a folder of results: what `dood report` and the last tasks of `reproduce` share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doodcli.data.load import load_images
from doodcli.errors import InputError
from doodcli.experiments import strokes
from doodcli.experiments.reconstruct import label, reconstruct, title
from doodcli.experiments.trace import with_curves
from doodcli.pipeline.engine import Task
from doodcli.pipeline.expected import Expected
from doodcli.pipeline.sections.whole import document
from doodcli.report.folder import Folder
from doodcli.report.latex import report_tex
from doodcli.report.page import report_page
from doodcli.report.paths import as_paths
from doodcli.report.sketches import FILE, as_record
from doodcli.report.tables import require_writable, write_json, write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite, Training

VERSION = 1
"""Raised when the same files would give another page."""

DRAWN = 4
"""Images of each set that draw themselves."""

PAGE, TEX = "index.html", "report.tex"


def tasks(suite: Suite, others: Sequence[Task]) -> list[Task]:
    """The drawings that draw themselves, and the page of everything else that is there."""
    command = f"dood report --profile {suite.name}"
    page = Task(
        "report",
        lambda: _report_key(suite),
        lambda: write_report(suite.out, Expected.of(suite), suite.out),
        f"{command} --results {suite.out}",
        soft=(*(task.name for task in others), "animations"),
    )
    return [animations(suite), page]


def animations(suite: Suite) -> Task:
    """`animations.json`: test images as strokes, by every run of the first seed that has them.

    A run that is not trained, or has no curves, is skipped and named.
    """

    def images(run: Run, name: str) -> ImageSet:
        return load_images(
            name, "test", data_root=suite.plan.data_root,
            resolution=run.settings.model.resolution, limit=DRAWN, seed=suite.seed,
        )  # fmt: skip

    def key() -> dict[str, Any]:
        runs, skipped = _drawing(suite)
        return {
            "versions": [VERSION, strokes.VERSION],
            "weights": [run.weights for run in runs],
            "skipped": skipped,
            "targets": [
                images(run, name).fingerprint for run in runs for name in suite.profile.targets
            ],
            "drawn": [DRAWN, suite.seed],
        }

    def work() -> list[Path]:
        runs, skipped = _drawing(suite)
        value = {
            "seed": suite.seed,
            "runs": [
                {
                    "run": run.name,
                    "weights": run.weights,
                    "title": label(run),
                    "sets": [_drawn(suite, run, images(run, n)) for n in suite.profile.targets],
                }
                for run in runs
            ],
            "skipped": [{"run": name, "reason": reason} for name, reason in skipped],
        }
        write_json(value, suite.out / FILE)
        return [suite.out / FILE]

    command = f"dood reproduce --profile {suite.name}{suite.no_train()} --only animations"
    trainings = tuple(what.task for what in suite.shown("animations"))
    return Task("animations", key, work, command, soft=trainings)


def draws_as_much(suite: Suite) -> bool:
    """Whether runs are here to draw, and all of those whose drawings are kept already."""
    value = Folder(suite.out).json(FILE)
    kept = value.get("runs", []) if isinstance(value, dict) else []
    here = {run.name for run in _drawing(suite)[0]}
    return bool(here) and here >= {one["run"] for one in kept}


def _drawing(suite: Suite) -> tuple[list[Run], list[tuple[str, str]]]:
    """The runs whose drawings can be shown as curves, and of the others why they cannot."""
    runs, skipped = [], []
    for what in suite.shown("animations"):
        run, reason = _opened(suite, what)
        if run is None:
            skipped.append((what.name, reason))
        else:
            runs.append(run)
    return runs, skipped


def _opened(suite: Suite, what: Training) -> tuple[Run | None, str]:
    if what.model not in with_curves():
        return None, "draws parts that are no curves"
    try:
        return suite.run(what), ""
    except InputError:
        return None, "is not trained, and no weights of it are among the results"


def _drawn(suite: Suite, run: Run, images: ImageSet) -> dict[str, Any]:
    """What a run makes of some images of a set."""
    item = reconstruct(run, images, suite.seed, suite.plan.device)
    return {
        "title": title(images),
        "fingerprint": images.fingerprint,
        "images": [
            as_record(
                index,
                item.targets[k],
                as_paths(item.drawing.map(lambda part, k=k: part[k]), run.settings.model),
            )
            for k, index in enumerate(images.index.tolist())
        ],
    }


def _report_key(suite: Suite) -> dict[str, Any]:
    """Every file that the report reads, and what it would like to read."""
    folder, expected = Folder(suite.out), Expected.of(suite)
    document(folder, expected)
    return {"version": VERSION, "files": folder.seen, "expected": expected}


def require_results(folder: Path) -> None:
    """InputError for a folder that is not there, or in which nothing could be reported."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results; `dood reproduce` makes one")
    if not any(next(folder.glob(kind), None) for kind in ("*.csv", "*.png", "run-*.json")):
        raise InputError(f"{folder}: holds no results; `dood reproduce` makes them")


def write_report(results: Path, expected: Expected, out: Path) -> list[Path]:
    """`index.html`, and `report.tex`, which takes the figures from where the results are.

    InputError for a folder that is not there or holds nothing to report.
    """
    require_results(results)
    require_writable(out)
    folder = Folder(results)
    found = document(folder, expected)
    where = Path(os.path.relpath(results, out))
    write_lines(report_page(found, folder, where), out / PAGE)
    write_lines(report_tex(found, folder, where), out / TEX)
    return [out / PAGE, out / TEX]

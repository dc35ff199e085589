"""Strokes out of pictures: what `dood trace` and a task of `reproduce` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.data.load import load_images
from doodcli.data.pages import pages_of_set
from doodcli.experiments import trace
from doodcli.experiments.curves import FOUND
from doodcli.model.model import as_input
from doodcli.pipeline.engine import Task
from doodcli.report.figures import TraceRow, save_figure, traces_figure
from doodcli.report.paths import each_as_paths
from doodcli.report.svg import drawing_svg, grid_svg
from doodcli.report.tables import write_csv, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.data.pages import Pages
    from doodcli.data.pictures import Sheet
    from doodcli.learning.runs import Run
    from doodcli.model.drawing import Drawing
    from doodcli.pipeline.graph import Suite
    from doodcli.report.paths import Paths

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""

SHOWN, IN_A_ROW = 40, 10
"""Drawings of a run in the overview, and in a row of it."""


def tasks(suite: Suite) -> list[Task]:
    """Strokes beside those that a picture was drawn with, where `scribbles` is a target."""
    profile, effort = suite.profile, trace.Effort(seed=suite.seed)
    drawing = [what for what in suite.shown("trace") if what.model in trace.with_curves()]
    if "scribbles" not in profile.targets or not drawing:
        return []

    def images(run: Run) -> ImageSet:
        return load_images(
            "scribbles", "test", data_root=suite.plan.data_root,
            resolution=run.settings.model.resolution, limit=profile.limit, seed=suite.seed,
        )  # fmt: skip

    def key() -> dict[str, Any]:
        runs = [suite.run(what) for what in drawing]
        return {
            "versions": [VERSION, trace.VERSION],
            "weights": [run.weights for run in runs],
            "target": [images(run).fingerprint for run in runs],
            "effort": [*effort, profile.limit],
        }

    def work() -> Sequence[Path]:
        tracing = Tracing(
            lambda run: pages_of_set(images(run)), effort, suite.plan.device, files=False
        )
        table, paths = traces([suite.run(what) for what in drawing], tracing, suite.out)
        text = (
            "Strokes found in scribbles, beside those that they were drawn with. Distances are "
            f"in pixels of a 50-pixel canvas; within {FOUND:g} a stroke counts as found."
        )
        return [*paths, suite.tex("trace", trace.means(table), text)]

    runs = ",".join(f"$({suite.command(what)})" for what in drawing)
    limit = f" --limit {profile.limit}" if profile.limit else ""
    command = (
        f"dood trace scribbles --run {runs}{limit} --seed {suite.seed} --table-only "
        f"--out {suite.out}"
    )
    return [Task("trace", key, work, command, tuple(what.task for what in drawing))]


class Tracing(NamedTuple):
    """What to find the strokes of, and how."""

    pages: Callable[[Run], Pages]
    """the pictures, as a run reads them"""
    effort: trace.Effort = trace.Effort()
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None
    """hears what is being done"""
    files: bool = True
    """whether every picture gets files of its own, or the table and the overview are all"""


def traces(runs: list[Run], what: Tracing, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Pictures as strokes: `trace.csv`, an overview `trace.*`, and three files for each picture.

    These are NAME.svg, NAME.animated.svg and NAME.json.  The overview has the first pictures of
    each run, under their true strokes where these are known.
    """
    for run in runs:
        trace.refuse_without_curves(run)
    tables, made = [], []
    rows: list[TraceRow] = []
    for run in runs:
        pages = what.pages(run)
        what.tell(f"tracing {len(pages.names)} pictures with {run.name}")
        model = run.model(what.device)
        found = trace.trace(model, pages.images, pages.index, what.effort, what.tell)
        drawn = each_as_paths(found.drawing, run.settings.model)
        tables.append(trace.table(run, pages, found, [one.overlap for one in drawn], what.effort))
        if what.files:
            made += _files(pages, found.drawing, drawn, tables[-1], out)
        if pages.truth is not None and not rows:
            rows += _overview("truth", pages, each_as_paths(pages.truth, run.settings.model, SHOWN))
        rows += _overview(f"{run.settings.model.name}, {run.record['data']['name']}", pages, drawn)
    table = pd.concat(tables, ignore_index=True)
    write_csv(table, out / "trace.csv")
    cells = [drawing for row in rows for drawing in row.drawings]
    write_lines(grid_svg(cells, IN_A_ROW, coloured=True), out / "trace.svg")
    overview = [out / "trace.svg", *save_figure(traces_figure(rows), out / "trace")]
    return table, [out / "trace.csv", *overview, *made]


def _overview(label: str, pages: Pages, drawn: list[Paths]) -> list[TraceRow]:
    """The first drawings of a run."""
    return [
        TraceRow(
            label,
            as_input(pages.images[first : first + IN_A_ROW]),
            drawn[first : first + IN_A_ROW],
        )
        for first in range(0, min(SHOWN, len(drawn)), IN_A_ROW)
    ]


def _files(
    pages: Pages, drawings: Drawing, drawn: list[Paths], table: pd.DataFrame, out: Path
) -> list[Path]:
    """What is written of each picture."""
    made = []
    known = table.astype(object).where(table.notna(), None)  # NaN is no JSON
    for k, (name, sheet, row) in enumerate(
        zip(pages.names, pages.sheets, known.to_dict("records"), strict=True)
    ):
        values = {
            **row,
            "drawing": {
                field: part[k].double().numpy().round(7).tolist()
                for field, part in drawings._asdict().items()
            },
            "paths": _in_pixels(drawn[k], sheet),
        }
        texts = {
            "svg": drawing_svg(drawn[k], sheet, name),
            "animated.svg": drawing_svg(drawn[k], sheet, name, animated=True),
            "json": json.dumps(values, indent=1) + "\n",
        }
        for suffix, text in texts.items():
            made.append(out / f"{name}.{suffix}")
            write_lines(text, made[-1])
    return made


def _in_pixels(drawn: Paths, sheet: Sheet) -> list[dict[str, Any]]:
    """Control points and widths of strokes in the pixels of their picture."""
    return [
        {"points": sheet.place(stroke.points).round(4).tolist(),
         "width": round(stroke.width * sheet.pixels, 4)}
        for stroke in drawn.strokes
    ]  # fmt: skip

"""How real samples look (Fig. 6): what `dood fid` and a task of `reproduce` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.data.load import load_images
from doodcli.errors import InputError
from doodcli.experiments import extractors, fid
from doodcli.experiments.extractors import Extractor, Judge
from doodcli.experiments.generate import VERSION as OF_DRAWINGS
from doodcli.experiments.generate import Temperature
from doodcli.learning.checkpoints import write_text
from doodcli.learning.features import SIDE, train_features
from doodcli.pipeline.engine import Task
from doodcli.report.card import features_card
from doodcli.report.fid import write_fid_tex
from doodcli.report.tables import require_writable, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.experiments.fid import Asked, Drawn
    from doodcli.learning.features import Features, FeatureSettings
    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite

VERSION = 2
"""Raised when the same settings would give other tables."""

TEMPERATURES = ("1", "paper")
"""Of samples, unless said: the model's own, and the paper's."""

SIZES = {"tiny": (40, 2), "smoke": (800, 5), "laptop": (2000, 5), "paper": (5000, 5)}
"""Pictures of each row, and sample seeds, by profile."""


class Sources(NamedTuple):
    """What is scored, and on which images."""

    runs: list[Run]
    names: Sequence[str]
    """of the data sets; a set is for the runs that were trained on it"""
    folders: Sequence[Path]
    """of pictures, each of which is scored on every set"""
    load: Callable[[str, str], ImageSet]
    """the images of a data set and a part, at the resolution at which they are compared"""
    part: str = "test"
    """of the data sets, that all rows are compared with: to choose by, `validation`"""


def tasks(suite: Suite) -> list[Task]:
    """FID of the runs of the first seed on what they were trained on."""
    shown = suite.shown("fid")
    names = list(dict.fromkeys(what.source for what in shown))
    num, sample_seeds = SIZES[suite.name]

    def load(name: str, part: str) -> ImageSet:
        return load_images(name, part, data_root=suite.plan.data_root, resolution=SIDE)

    def key() -> dict[str, Any]:
        return {
            "versions": [VERSION, fid.VERSION, OF_DRAWINGS],
            "weights": [suite.run(what).weights for what in shown],
            "targets": [load(name, "test").fingerprint for name in names],
            "sizes": [num, sample_seeds],
            "temperatures": TEMPERATURES,
            "extractor": extractors.chosen("strokes").digest,
            "seed": suite.seed,
        }

    def work() -> list[Path]:
        sources = Sources([suite.run(what) for what in shown], names, (), load)
        temperatures = [Temperature.parse(text) for text in TEMPERATURES]
        asked = fid.Asked(num, sample_seeds, suite.seed)
        strokes = extractors.chosen("strokes")
        return scores(sources, temperatures, strokes, asked, suite.plan.device, suite.out)[1]

    command = (
        f"dood fid score {','.join(f'$({suite.command(what)})' for what in shown)} --dataset "
        f"{','.join(names)} --num {num} --sample-seeds {sample_seeds} --seed {suite.seed}"
        f"{suite.root()} --out {suite.out}"
    )
    return [Task("fid", key, work, command, tuple(what.task for what in shown))]


def scores(
    sources: Sources,
    temperatures: Sequence[Temperature],
    extractor: Extractor,
    asked: Asked,
    device: str,
    out: Path,
) -> tuple[pd.DataFrame, list[Path]]:
    """Samples, folders and training images against other images: `fid.csv` and `fid.tex`."""
    extractors.require()
    parts = ("train", sources.part)
    sets = {name: [sources.load(name, part) for part in parts] for name in sources.names}
    suited = _suited(sources, {name: other for name, (_, other) in sets.items()}, asked.tell)
    folders = [load_images(str(path), "all", resolution=SIDE) for path in sources.folders]
    sizes = {
        f"{images.name}, {images.part} images": len(images)
        for images in (image for pair in sets.values() for image in pair)
    } | {f"{folder.name}, pictures": len(folder) for folder in folders}
    require_writable(out)
    asked = asked._replace(num=fid.common_number(asked.num, sizes, asked.tell))
    if asked.num < fid.ENOUGH * extractor.size:
        asked.tell(
            f"warning: {asked.num:,} pictures are fewer than {fid.ENOUGH} × {extractor.size} "
            "features, so FID is higher than more would give; compare it with the floor alone"
        )
    judge, tables = Judge(extractor, device), []
    for name, (train, other) in sets.items():
        rows: list[Drawn] = [
            fid.of_run(run, temperature, device)
            for run in suited[name]
            for temperature in fid.temperatures_of(run, temperatures)
        ]
        rows += [fid.of_images(folder, "folder") for folder in folders]
        rows.append(fid.of_images(train, fid.FLOOR))
        tables.append(fid.measure(other, rows, judge, asked))
    table = _in_order(pd.concat(tables, ignore_index=True))
    # What the floor lacks would else turn whole numbers of the others into fractions.
    write_csv(table.convert_dtypes(), out / "fid.csv")
    write_fid_tex(fid.summary(table), out / "fid.tex", "tab:fid")
    return table, [out / "fid.csv", out / "fid.tex"]


def _suited(
    sources: Sources, images: dict[str, ImageSet], tell: Callable[[str], None]
) -> dict[str, list[Run]]:
    """The runs that were trained on each set.  InputError when there is nothing to score."""
    found: dict[str, list[Run]] = {name: [] for name in sources.names}
    for run in sources.runs:
        data = run.record["data"]
        fits = [name for name in sources.names if images[name].name == data["name"]]
        if not fits:
            tell(f"{run.name}: was trained on {data['name']}, which is not scored")
        for name in fits:
            found[name].append(run)
            if data["fingerprint"] != images[name].fingerprint:
                tell(f"warning: {run.name} was trained on another file of {name}")
    if not any(found.values()) and not sources.folders:
        raise InputError(
            f"--dataset {','.join(sources.names)}: none of the runs was trained on it; name what "
            "they were trained on"
        )
    return found


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """What a row is of, then its measures, then where they come from, whatever came first."""
    first = ["dataset", "drawn_by", "kind", "temperature", "tempered", "images", "sample_seed"]
    order = [*first, *fid.SEVERAL, "paper_fid", "paper_fid_std", "features", "feature_size"]
    rest = [name for name in table.columns if name not in order]
    return table.reindex(columns=[*order, *rest])


def extractor_of(
    settings: FeatureSettings,
    out: Path,
    data_root: Path | None,
    device: str,
    tell: Callable[[str], None],
) -> Features:
    """Train an extractor of features, and write its folder with its card, `README.md`."""
    require_writable(out.parent)
    found = train_features(settings, out, data_root, device, tell)
    write_text(out / "README.md", features_card(found))
    return found

"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.data.load import load_begun
from doodcli.experiments import generate, likelihood, strokes
from doodcli.experiments.export import Exported, exported
from doodcli.experiments.reconstruct import reconstruct
from doodcli.learning.checkpoints import write_text
from doodcli.report.card import card
from doodcli.report.figures import (
    comparison_figure,
    completions_figure,
    counts_figure,
    exemplars_figure,
    reconstruction_figure,
    samples_figure,
    save_figure,
)
from doodcli.report.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from doodcli.data.load import ImageSet
    from doodcli.experiments.generate import Temperature
    from doodcli.learning.runs import Run

# Two runs of one source have the same blank row.
SAME = ["run", "weights", "source_fingerprint", "target_fingerprint", "remark", "iwae_nats"]


class Study(NamedTuple):
    """What to try runs on, and where and how."""

    names: Sequence[str]
    """of the data sets"""
    load: Callable[[Run, str], ImageSet]
    """the images of a data set, as a run reads them"""
    seed: int = 0
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None
    """hears what is being done"""

    def sets(self, run: Run) -> list[ImageSet]:
        """The images on which a run is tried."""
        return [self.load(run, name) for name in self.names]


def reconstructions(runs: list[Run], study: Study, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Step-by-step drawings (Figs. 1 and 3): `reconstruct.*`; of several runs also `compare.*`."""
    rows = []
    for run in runs:
        study.tell(f"drawing {', '.join(study.names)} with {run.name}")
        rows.append([reconstruct(run, s, study.seed, study.device) for s in study.sets(run)])
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    write_csv(table, out / "reconstruct.csv")
    paths = [
        *save_figure(reconstruction_figure(rows), out / "reconstruct"),
        out / "reconstruct.csv",
    ]
    if len({run.settings.model.resolution for run in runs}) > 1:
        study.tell("no comparison of the runs: they read pictures of different resolutions")
    elif len(rows) > 1:
        paths += save_figure(comparison_figure(rows), out / "compare")
    return table, paths


def stroke_counts(
    runs: list[Run], study: Study, out: Path
) -> tuple[pd.DataFrame, pd.DataFrame, list[Path]]:
    """Distributions of the number of strokes, `stroke_counts.*`, and the paper's claims.

    The claims, `stroke_claims.csv`, are of the runs whose own set and another are among the
    names; without any there is no such file.
    """
    parts = []
    for run in runs:
        study.tell(f"counting the strokes of {run.name} on {', '.join(study.names)}")
        parts += [strokes.count(run, s, study.seed, study.device) for s in study.sets(run)]
    counts = pd.concat(parts, ignore_index=True)
    claims = strokes.claims(counts)
    write_csv(counts, out / "stroke_counts.csv")
    paths = [out / "stroke_counts.csv", *save_figure(counts_figure(counts), out / "stroke_counts")]
    (out / "stroke_claims.csv").unlink(missing_ok=True)
    if len(claims):
        write_csv(claims, out / "stroke_claims.csv")
        paths.append(out / "stroke_claims.csv")
    return counts, claims, paths


class Draws(NamedTuple):
    """How many drawings of the prior to make, and how."""

    num: int
    temperature: Temperature
    seed: int = 0
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None

    @property
    def stem(self) -> str:
        """Of the files: tempered drawings never take the place of the model's own."""
        return f"samples-{self.temperature.name}" if self.temperature.tempered else "samples"


def samples(runs: list[Run], draws: Draws, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Drawings from the prior of each run (Fig. 6): `samples.*`, or with the temperature."""
    items = []
    for run in runs:
        draws.tell(f"{draws.num} samples of {run.name}{draws.temperature.remark}")
        items.append(generate.sample(run, draws.num, draws.temperature, draws.seed, draws.device))
    table = pd.concat([item.table for item in items], ignore_index=True)
    return table, _written(table, samples_figure(items), out / draws.stem)


class Amounts(NamedTuple):
    """How many drawings of each image to make, and of how many parses the best counts."""

    num: int
    samples: int


def exemplars(
    runs: list[Run], study: Study, amounts: Amounts, out: Path
) -> tuple[pd.DataFrame, list[Path]]:
    """New exemplars of images (Fig. 7): `exemplars.*`."""
    rows = []
    for run in runs:
        study.tell(f"new exemplars of {', '.join(study.names)} by {run.name}")
        rows.append([
            generate.exemplars(run, images, *amounts, study.seed, study.device)
            for images in study.sets(run)
        ])  # fmt: skip
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    return table, _written(table, exemplars_figure(rows), out / "exemplars")


def completions(
    runs: list[Run], study: Study, amounts: Amounts, strokes_given: int | None, out: Path
) -> tuple[pd.DataFrame, list[Path]]:
    """Partial pictures, finished by the prior (Fig. 8): `completions.*`.

    Of `strokes_given` strokes, or the images as they are; the true strokes are known of the set
    `scribbles` alone.
    """
    rows = []
    for run in runs:
        study.tell(f"completing {', '.join(study.names)} with {run.name}")
        row, most = [], run.settings.model.strokes
        for name, images in zip(study.names, study.sets(run), strict=True):
            begun = None
            if name == "scribbles" and strokes_given is not None:
                begun = load_begun(images, strokes_given)
            row.append(
                generate.completions(
                    run, images, *amounts, study.seed, study.device, strokes_given, begun
                )
            )
        rows.append(row)
        full = sum(int((item.table.strokes_parsed == most).sum()) for item in row) // amounts.num
        if full:
            study.tell(
                f"nothing can be added to {full} partial drawings: every parse of them has "
                f"{most} strokes"
            )
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    return table, _written(table, completions_figure(rows), out / "completions")


def _written(table: pd.DataFrame, figure: Figure, stem: Path) -> list[Path]:
    """A picture and the table beside it."""
    path = stem.with_name(f"{stem.name}.csv")
    write_csv(table, path)
    return [*save_figure(figure, stem), path]


def likelihoods(
    runs: list[Run], study: Study, source: Callable[[Run], ImageSet], samples: int
) -> pd.DataFrame:
    """IWAE bounds of every run on every set, and the blank page of each `source`, once."""
    parts = []
    for run in runs:
        study.tell(f"{run.name} on {', '.join(study.names)}: {samples} samples an image")
        sets = study.sets(run)
        parts.append(
            likelihood.likelihoods(run, source(run), sets, samples, study.seed, study.device)
        )
    return pd.concat(parts, ignore_index=True).drop_duplicates(SAME)


def export_run(run: Run, study: Study, samples: int, out: Path) -> tuple[Exported, list[Path]]:
    """A run folder in half precision with its card, `README.md`, measured on validation images."""
    (held_out,) = study.sets(run)
    study.tell(f"exporting {run.name}, and measuring it on {held_out.name}, {held_out.part}")
    found = exported(run, out, held_out, samples, study.seed, study.device)
    write_text(out / "README.md", card(found))
    return found, sorted(path for path in out.rglob("*") if path.is_file())

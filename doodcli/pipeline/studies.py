"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.experiments import likelihood, strokes
from doodcli.experiments.export import Exported, exported
from doodcli.experiments.reconstruct import reconstruct
from doodcli.learning.checkpoints import write_text
from doodcli.report.card import card
from doodcli.report.figures import (
    comparison_figure,
    counts_figure,
    reconstruction_figure,
    save_figure,
)
from doodcli.report.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
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

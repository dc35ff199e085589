"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.errors import InputError
from doodcli.experiments import clusters, likelihood, probe, strokes
from doodcli.experiments.fits import recipe
from doodcli.experiments.reconstruct import reconstruct
from doodcli.report.cluster_figures import clusters_figure
from doodcli.report.figures import (
    comparison_figure,
    counts_figure,
    reconstruction_figure,
    save_figure,
)
from doodcli.report.representation import write_clusters_tex, write_probe_tex
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


def stroke_clusters(
    runs: list[Run],
    study: Study,
    learned: Callable[[Run], ImageSet],
    out: Path,
    number: int = 8,
    most: int = 10_000,
) -> tuple[pd.DataFrame, pd.DataFrame, list[Path]]:
    """Clusters of up to `most` strokes of the images that `learned` gives (Fig. 5).

    Writes `strokes.csv`, `strokes.tex`, and of the first run of each recipe `strokes_<model>.*`
    with `number` clusters.  → the table, whether strokes cluster better than AIR's codes, the
    paths.
    """
    stems = _stems(runs)
    tables, pictures = [], []
    for run in runs:
        study.tell(f"clustering up to {most:,} strokes of {run.name}")
        stem, images = stems.pop(recipe(run), None), learned(run)
        found = clusters.measure(
            run, images, number, most, study.seed, study.device, draw=stem is not None
        )
        tables.append(found.table)
        if found.map is not None:
            pictures += save_figure(clusters_figure(found.map), out / f"strokes_{stem}")
        elif stem is not None:
            study.tell(f"no picture of {run.name}: it has no clusters to draw")
    table = pd.concat(tables, ignore_index=True)
    summary = clusters.summary(table)
    claims = clusters.claims(summary, number)
    write_csv(table, out / "strokes.csv")
    write_clusters_tex(summary, claims, number, out / "strokes.tex", "tab:strokes")
    return table, claims, [out / "strokes.csv", out / "strokes.tex", *pictures]


def _stems(runs: list[Run]) -> dict[str, str]:
    """Names of the pictures of runs by recipe: the model's, and more where that is not enough."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(recipe(run), run)
    names = [
        (
            run.settings.model.name,
            f"{run.settings.model.name}-{run.record['data']['name']}",
            run.name,
        )
        for run in first.values()
    ]
    short, longer, _ = (Counter(column) for column in zip(*names, strict=True))
    return {
        key: (a if short[a] == 1 else b if longer[b] == 1 else c)
        for key, (a, b, c) in zip(first, names, strict=True)
    }


def probes(
    runs: list[Run], study: Study, learned: Callable[[Run, str], ImageSet], out: Path
) -> tuple[pd.DataFrame, list[Path]]:
    """Linear probes of every run on every set: `probe.csv` and `probe.tex`.

    `learned` gives the images that a probe learns from, `study` those that it is tested on.
    Sets that cannot be probed are named and left out; InputError when none is left.
    """
    rows, reasons = [], []
    for run in runs:
        model = run.model(study.device)
        for name, test in zip(study.names, study.sets(run), strict=True):
            learn = learned(run, name)
            if reason := probe.obstacle(learn, test):
                reasons.append(reason)
                study.tell(f"no probe: {reason}")
                continue
            study.tell(f"probing {run.name} on {name}")
            rows.append(probe.probe(run, model, learn, test, study.seed))
    if not rows:
        raise InputError(f"nothing to probe: {'; '.join(dict.fromkeys(reasons))}")
    table = pd.DataFrame(rows)
    write_csv(table, out / "probe.csv")
    write_probe_tex(probe.summary(table), out / "probe.tex", "tab:probe")
    return table, [out / "probe.csv", out / "probe.tex"]

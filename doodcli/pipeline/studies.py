"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.data.load import load_begun
from doodcli.errors import InputError
from doodcli.experiments import clusters, generate, likelihood, probe, strokes, trace
from doodcli.experiments.export import Exported, exported
from doodcli.experiments.fits import recipe
from doodcli.experiments.reconstruct import reconstruct
from doodcli.learning.checkpoints import write_text
from doodcli.learning.runs import CARD
from doodcli.report.card import card
from doodcli.report.cluster_figures import clusters_figure
from doodcli.report.figures import (
    comparison_figure,
    completions_figure,
    counts_figure,
    exemplars_figure,
    reconstruction_figure,
    samples_figure,
    save_figure,
)
from doodcli.report.paths import each_as_paths
from doodcli.report.representation import write_clusters_tex, write_probe_tex
from doodcli.report.svg import grid_svg
from doodcli.report.tables import write_csv, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from doodcli.data.load import ImageSet
    from doodcli.experiments.generate import Temperature
    from doodcli.learning.runs import Run

# Two runs of one source have the same blank row.
SAME = [
    "run", "weights", "source_fingerprint", "target_fingerprint", "remark", "iwae_nats",
    "refine_steps", "scale_images",
]  # fmt: skip


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


def reconstructions(
    runs: list[Run], study: Study, out: Path, refine: int = 0
) -> tuple[pd.DataFrame, list[Path]]:
    """Step-by-step drawings (Figs. 1 and 3): `reconstruct.*`; of several runs also `compare.*`.

    With steps of refinement also those by posteriors of each image's own, beside the others.
    """
    rows = []
    for run in runs:
        study.tell(f"drawing {', '.join(study.names)} with {run.name}")
        sets = study.sets(run)
        rows += [
            [reconstruct(run, s, study.seed, study.device, steps) for s in sets]
            for steps in dict.fromkeys((0, refine))
        ]
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
    """Drawings from the prior of each run (Fig. 6): `samples.*`, or with the temperature.

    Those of models whose parts are curves also as SVG, one path a stroke: a file for each run.
    """
    items, curves = [], []
    for run in runs:
        draws.tell(f"{draws.num} samples of {run.name}{draws.temperature.remark}")
        items.append(generate.sample(run, draws.num, draws.temperature, draws.seed, draws.device))
        if why := trace.why_no_curves(run.settings.model):
            draws.tell(f"{run.name}: no SVG, for {why}")
            continue
        name = draws.stem if len(runs) == 1 else f"{draws.stem}_{run.name}"
        drawn = each_as_paths(items[-1].drawing, run.settings.model)
        # Each says whether it is tempered, also when it is cut out of the page.
        titles = [f"{items[-1].title}: {k}" for k in range(len(drawn))]
        curves.append(out / f"{name}.svg")
        write_lines(grid_svg(drawn, math.ceil(math.sqrt(draws.num)), titles), curves[-1])
    table = pd.concat([item.table for item in items], ignore_index=True)
    return table, [*_written(table, samples_figure(items), out / draws.stem), *curves]


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
        row = []
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
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    return table, _written(table, completions_figure(rows), out / "completions")


def _written(table: pd.DataFrame, figure: Figure, stem: Path) -> list[Path]:
    """A picture and the table beside it."""
    path = stem.with_name(f"{stem.name}.csv")
    write_csv(table, path)
    return [*save_figure(figure, stem), path]


def likelihoods(
    runs: list[Run], study: Study, source: Callable[[Run], ImageSet], effort: likelihood.Effort
) -> pd.DataFrame:
    """IWAE bounds of every run on every set, and the blank page of each `source`, once."""
    parts = []
    for run in runs:
        study.tell(f"{run.name} on {', '.join(study.names)}: {effort.samples} samples an image")
        sets = study.sets(run)
        parts.append(likelihood.likelihoods(run, source(run), sets, effort, study.device))
    return pd.concat(parts, ignore_index=True).drop_duplicates(SAME)


def export_run(run: Run, study: Study, samples: int, out: Path) -> tuple[Exported, list[Path]]:
    """A run folder in half precision with its card, `README.md`, measured on validation images."""
    (held_out,) = study.sets(run)
    study.tell(f"exporting {run.name}, and measuring it on {held_out.name}, {held_out.part}")
    found = exported(run, out, held_out, samples, study.seed, study.device)
    write_text(out / CARD, card(found))
    return found, sorted(path for path in out.rglob("*") if path.is_file())


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

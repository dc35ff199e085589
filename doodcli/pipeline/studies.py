"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.experiments import likelihood, oneshot, strokes
from doodcli.experiments.reconstruct import reconstruct
from doodcli.report.figures import (
    comparison_figure,
    counts_figure,
    decisions_figure,
    reconstruction_figure,
    save_figure,
)
from doodcli.report.tables import require_writable, write_csv, write_json, write_tex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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


def one_shot(
    runs: list[Run],
    asked: oneshot.Asked,
    out: Path,
    tries: Mapping[str, oneshot.OneShotSettings] | None = None,
) -> tuple[pd.DataFrame, list[Path]]:
    """One-shot classification (Table 1): `table1.*`, `oneshot*.csv`, `oneshot.json`, a picture.

    Nearest neighbours stand beside the runs, on scribbles the true strokes too, and what others
    report beside the official runs.  `tries` are other settings, by what is said of them: they are
    in `oneshot_choices.csv`, which is then returned, and not in Table 1.
    """
    require_writable(out)
    tables, drawn = [], []
    for run in runs:
        asked.tell(f"{run.name} on {asked.episodes.kind}, {len(asked.episodes.episodes)} runs")
        found = oneshot.measure(run, asked)
        tables.append(found.table)
        drawn.append((f"{run.settings.model.name}, {run.record['data']['name']}", found.decisions))
        for changes, settings in (tries or {}).items():
            asked.tell(f"{run.name} with {changes}")
            other = oneshot.measure(run, asked._replace(settings=settings, changes=changes))
            tables.append(other.table)
    if asked.episodes.kind == "scribbles":
        asked.tell(oneshot.TRUE_STROKES)
        tables.append(oneshot.measure_true_strokes(asked).table)
    asked.tell("nearest neighbours")
    queries = pd.concat([*tables, oneshot.baselines(asked.episodes)], ignore_index=True)
    each = oneshot.by_run(queries)
    every = oneshot.accuracies(each)
    table = every[every.changes == ""].drop(columns="changes")
    if asked.episodes.kind == "official":
        table = pd.concat([table, oneshot.reported()], ignore_index=True)
    frames = {"oneshot": queries, "oneshot_runs": each, "table1": table}
    (out / "oneshot_choices.csv").unlink(missing_ok=True)
    if tries:
        frames["oneshot_choices"] = every
    for name, frame in frames.items():
        write_csv(frame, out / f"{name}.csv")
    write_tex(_table1(table), out / "table1.tex", _of_table1(asked), "tab:oneshot")
    write_json(dataclasses.asdict(asked.settings), out / "oneshot.json")
    paths = [*(out / f"{name}.csv" for name in frames), out / "table1.tex", out / "oneshot.json"]
    paths += save_figure(decisions_figure(drawn), out / "oneshot")
    return every if tries else table, paths


def _table1(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of Table 1 for print."""
    words = {True: "yes", False: "no"}
    helps = {"DA": "da", "ES": "es", "2W": "two_way"}
    return pd.DataFrame(
        {
            "model": table.model,
            "trained on": table.trained_on.fillna(""),
            **{name: [words.get(v, "--") for v in table[column]] for name, column in helps.items()},
            "accuracy": table.accuracy.map("{:.3f}".format),
            "se": ["--" if pd.isna(value) else f"{value:.3f}" for value in table.se],
            "source": table.source,
        }
    )


def _of_table1(asked: oneshot.Asked) -> str:
    """Its caption."""
    episodes = asked.episodes
    ways = "/".join(dict.fromkeys(str(len(episode.support)) for episode in episodes.episodes))
    kind = {
        "official": "official runs",
        "background": "episodes of Omniglot's background alphabets",
        "scribbles": "episodes of scribbles",
    }[episodes.kind]
    remark = f" ({episodes.remark})" if episodes.remark else ""
    return (
        f"{ways}-way within-alphabet one-shot classification: {len(episodes.episodes)} {kind}"
        f"{remark}; se is over them. DA: data augmentation, ES: extra supervision, 2W: two-way "
        "scoring. The tokens' prior, the scale of the likelihood and the schedule were chosen on "
        "episodes of alphabets that are held out of Omniglot's background set."
    )

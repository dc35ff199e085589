"""One-shot classification (Table 1): what `dood oneshot` and a task of `reproduce` share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.data import oneshot as episodes_of
from doodcli.experiments import oneshot
from doodcli.experiments.oneshot import OneShotSettings
from doodcli.pipeline.engine import Task
from doodcli.report.figures import decisions_figure, save_figure
from doodcli.report.tables import require_writable, write_csv, write_json, write_tex

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""


def tasks(suite: Suite) -> list[Task]:
    """One-shot classification by the runs of the first seed, if the profile trains such.

    The official runs are for models that were trained on Omniglot.
    """
    profile = suite.profile
    official = profile.episodes == episodes_of.OFFICIAL
    chosen = [what for what in suite.shown("oneshot") if what.source == "omniglot" or not official]
    if not chosen:
        return []
    settings = OneShotSettings().changed(profile.one_shot)

    def asked() -> oneshot.Asked:
        episodes = episodes_of.load_episodes(
            profile.episodes, data_root=suite.plan.data_root, limit=profile.episode_limit,
            seed=suite.seed,
        )  # fmt: skip
        return oneshot.Asked(
            episodes, settings, two_way=profile.two_way, seed=suite.seed, device=suite.plan.device
        )

    def key() -> dict[str, Any]:
        return {
            "versions": [VERSION, oneshot.VERSION],
            "weights": [suite.run(what).weights for what in chosen],
            "episodes": [profile.episodes, profile.episode_limit, asked().episodes.fingerprint],
            "settings": settings.hash,
            "two_way": profile.two_way,
            "seed": suite.seed,
        }

    def work() -> list[Path]:
        return one_shot([suite.run(what) for what in chosen], asked(), suite.out)[1]

    changes = "".join(f" --set {text}" for text in profile.one_shot)
    limit = f" --limit {profile.episode_limit}" if profile.episode_limit else ""
    scoring = " --scoring two-way" if profile.two_way else ""
    command = (
        f"dood oneshot {','.join(f'$({suite.command(what)})' for what in chosen)} --episodes "
        f"{profile.episodes}{limit}{scoring}{changes} --seed {suite.seed}{suite.root()} "
        f"--out {suite.out}"
    )
    return [Task("oneshot", key, work, command, tuple(what.task for what in chosen))]


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

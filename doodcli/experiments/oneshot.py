"""One-shot classification (Section 3.2, Table 1): of which support is a query a token?

A support's parses are types; log p(query | support) is approximated by the log mean over them of
the scores of their best tokens for the query (see `tokens`).  All parses weigh the same.  Two-way
scoring adds log p(support | query) − log p(support), the former found in the same way with the
query's parses, the latter from the support's own parses, as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from doodcli import settings as trees
from doodcli.data import scribbles
from doodcli.devices import device_name
from doodcli.experiments import parses, tokens
from doodcli.experiments.baselines import BASELINES
from doodcli.experiments.parses import ParseSettings
from doodcli.experiments.tokens import TokenSettings
from doodcli.model.model import DrawingModel, as_input
from doodcli.report import paper
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from doodcli.data.oneshot import Episode, EpisodeSet
    from doodcli.learning.runs import Run
    from doodcli.model.drawing import Drawing

VERSION = 1
"""Raised when the same settings would give other numbers."""

SHUFFLES = 1000
"""Times that the labels of a run are shuffled for the control."""

TRUE_STROKES = "true strokes"
"""In the place of a model: the drawings of scribbles themselves instead of parses."""


@dataclass(frozen=True)
class OneShotSettings:
    """How queries are classified.  Chosen on episodes of validation alphabets."""

    parse: ParseSettings = field(default_factory=ParseSettings)
    token: TokenSettings = field(default_factory=TokenSettings)

    def changed(self, assignments: Sequence[str]) -> OneShotSettings:
        """The settings changed by texts such as `token.blur=2`.  InputError for what is none."""
        # The functions of doodcli.settings take any tree of dataclasses.
        changed: Any = trees.change_by_text(cast("Any", self), assignments)
        parses.check(changed.parse)
        tokens.check(changed.token)
        return cast("OneShotSettings", changed)

    @property
    def hash(self) -> str:
        """Eight hex digits of all settings."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


class Match(NamedTuple):
    """A support, and the token of one of its parses that is nearest to a query."""

    support: Tensor
    """`[R, R]` in [0, 1]"""
    strokes: Tensor
    """`[strokes, R, R]`, each stroke of the token alone"""
    canvas: Tensor
    """`[R, R]`, all of the token"""


class Decision(NamedTuple):
    """A query, and what it was taken for."""

    title: str
    query: Tensor
    """`[R, R]` in [0, 1]"""
    chosen: Match
    true: Match
    right: bool


class Scores(NamedTuple):
    """The scores of an episode, in nats."""

    one_way: Tensor
    """`[ways, queries]`, log p(query | support) but for a constant"""
    two_way: Tensor | None
    fitted: tokens.Fitted
    """of the pairs of a type and a query; types are those of the supports, parse by parse"""
    types: Drawing
    """`[parses, ways, ...]`"""


def score(
    model: DrawingModel, episode: Episode, settings: OneShotSettings, *,
    two_way: bool = False, seed: int = 0, types: Drawing | None = None,
) -> Scores:  # fmt: skip
    """How well every support explains every query.

    `types` `[parses, ways, ...]` are taken in the place of the model's parses of the support.
    """
    device = model.scale.device
    support, queries = (as_input(p.to(device)) for p in episode.at(model.settings.resolution))
    if types is None:
        index = episode.support_index.to(device)
        types = parses.parse(model, support, index, settings.parse, seed)
    fitted = tokens.fit(model, types.flat(), queries, settings.token)
    forth = mean_score(fitted.log_score, len(types.pen))
    both = None
    if two_way:
        index = episode.query_index.to(device)
        other = parses.parse(model, queries, index, settings.parse, seed)
        back = tokens.fit(model, other.flat(), support, settings.token).log_score
        own = own_score(model, types, support, settings.token)
        both = forth + mean_score(back, len(other.pen)).T - own[:, None]
    return Scores(forth, both, fitted, types)


def mean_score(log_score: Tensor, count: int) -> Tensor:
    """The log mean over parses: `[count × drawings, pictures]` → `[drawings, pictures]`."""
    return torch.logsumexp(log_score.unflatten(0, (count, -1)), 0) - math.log(count)


@torch.no_grad()
def own_score(
    model: DrawingModel, types: Drawing, support: Tensor, settings: TokenSettings
) -> Tensor:
    """log p(support) from its own parses as they are, `[ways]`: the log mean of their p̃."""
    canvas, pictures = model.render(types), support.expand(len(types.pen), -1, -1, -1)
    each = tokens.log_likelihood(
        canvas.flatten(0, 1), pictures.flatten(0, 1), settings.blur, settings
    )
    return mean_score(each[:, None], len(types.pen))[:, 0]


# --- tables --------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """What came of some episodes."""

    table: pd.DataFrame
    """a row a query: what it is, what it was taken for, and by how much"""
    decisions: list[Decision]


class Asked(NamedTuple):
    """What is to be measured."""

    episodes: EpisodeSet
    settings: OneShotSettings
    changes: str = ""
    """of the settings, in words; "" for those that are used"""
    two_way: bool = False
    seed: int = 0
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None


def measure(run: Run, asked: Asked) -> Measured:
    """Classify every query of every episode with a run's model."""
    return _measure(run.model(asked.device), run.provenance(), asked)


def measure_true_strokes(asked: Asked) -> Measured:
    """The same with the true strokes of scribbles for types: what better parses could bring."""
    # Nothing that a model learns is asked for.
    model = DrawingModel(scribbles.MODEL).to(asked.device)
    none = {"run": TRUE_STROKES, "model": TRUE_STROKES, "version": __version__}
    return _measure(model, {**none, "git": git_version()}, asked._replace(two_way=False))


def _measure(model: DrawingModel, provenance: dict[str, Any], asked: Asked) -> Measured:
    rows, decisions = [], []
    for episode in asked.episodes.episodes:
        began = time.monotonic()
        types = _true_types(episode, asked.device) if provenance["run"] == TRUE_STROKES else None
        found = score(
            model, episode, asked.settings, two_way=asked.two_way, seed=asked.seed, types=types
        )
        one, two = found.one_way.cpu(), None if found.two_way is None else found.two_way.cpu()
        columns = _decided(one, episode.truth)
        if two is not None:
            columns.update({f"two_way_{k}": v for k, v in _decided(two, episode.truth).items()})
        seconds = round(time.monotonic() - began, 1)
        rows.append(
            pd.DataFrame(
                {
                    **provenance, **_of_episode(asked, episode), **columns,
                    "types": len(found.types.pen), "settings": asked.settings.hash,
                    "changes": asked.changes, "evaluation_seed": asked.seed,
                    "device": device_name(asked.device), "seconds": seconds,
                }
            )
        )  # fmt: skip
        decisions += _decisions(model, episode, found, asked.settings)
        right = sum(columns["correct"])
        asked.tell(f"{episode.name}: {right} of {len(episode.truth)} right, {seconds} s")
    return Measured(pd.concat(rows, ignore_index=True), decisions)


def baselines(episodes: EpisodeSet) -> pd.DataFrame:
    """The same rows for nearest neighbours on the pictures at their own resolution."""
    rows = []
    for name, distances in BASELINES.items():
        for episode in episodes.episodes:
            apart = distances(episode.support, episode.queries)
            facts = {**_of_episode(Asked(episodes, OneShotSettings()), episode), "changes": ""}
            about = {"run": name, "model": name, "version": __version__, "git": git_version()}
            rows.append(pd.DataFrame({**about, **facts, **_decided(-apart, episode.truth)}))
    return pd.concat(rows, ignore_index=True)


def _true_types(episode: Episode, device: str) -> Drawing:
    return scribbles.scribbles_drawings().map(
        lambda part: part[episode.support_index][None].float().to(device)
    )


def _of_episode(asked: Asked, episode: Episode) -> dict[str, Any]:
    return {
        "episodes": asked.episodes.kind, "part": episode.part,
        "fingerprint": asked.episodes.fingerprint, "remark": asked.episodes.remark,
        "episode": episode.name, "alphabet": episode.alphabet, "ways": len(episode.support),
        "item": range(1, 1 + len(episode.truth)), "true": (episode.truth + 1).tolist(),
    }  # fmt: skip


def _decided(scores: Tensor, truth: Tensor) -> dict[str, list[Any]]:
    """Of scores `[ways, queries]`: what wins, whether rightly, and the true class's margin.

    The margin is the score of the true class less the best of the others: above 0 if it wins.
    Classes are counted from 1.  Of equal scores the first wins.
    """
    at = torch.arange(len(truth))
    others = scores.clone()
    others[truth, at] = -math.inf
    predicted = scores.argmax(0)
    return {
        "predicted": (predicted + 1).tolist(),
        "correct": (predicted == truth).tolist(),
        "margin": (scores[truth, at] - others.amax(0)).tolist(),
    }


def _decisions(
    model: DrawingModel, episode: Episode, found: Scores, settings: OneShotSettings
) -> list[Decision]:
    """The one-way decisions of an episode, to look at."""
    support, queries = (as_input(p) for p in episode.at(model.settings.resolution))
    each = found.fitted.log_score.unflatten(0, (-1, len(support)))  # [parses, ways, queries]
    at = torch.arange(len(queries), device=each.device)

    def matches(ways: Tensor) -> list[Match]:
        best = each[:, ways, at].argmax(0)
        pairs = (best * len(support) + ways) * len(queries) + at
        strokes, canvas = tokens.draw(
            model, found.types.flat(), found.fitted, pairs, settings.token
        )
        return list(map(Match, support[ways.cpu()], strokes.cpu(), canvas.cpu()))

    chosen = found.one_way.argmax(0)
    true = episode.truth.to(chosen.device)
    titles = [f"{episode.name}, {item + 1}" for item in range(len(queries))]
    right = (chosen == true).tolist()
    return list(map(Decision, titles, queries, matches(chosen), matches(true), right))


def shuffled_accuracy(predicted: Sequence[int], true: Sequence[int], seed: int = 0) -> float:
    """The control: the accuracy of the same predictions when the labels of a run are shuffled."""
    random = np.random.RandomState(seed)
    labels, found = np.asarray(true), np.asarray(predicted)
    return float(np.mean([(found == random.permutation(labels)).mean() for _ in range(SHUFFLES)]))


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of every model on every episode, both ways, and with shuffled labels."""
    keys = ["run", "changes", "episode"]
    rows = []
    for _, part in table.groupby(keys, sort=False):
        first = part.iloc[0]
        kept = ["run", "model", "changes", "source", "episodes", "part", "episode", "alphabet",
                "ways"]  # fmt: skip
        rows.append(
            {
                **{name: first.get(name) for name in kept},
                "queries": len(part),
                "accuracy": part.correct.mean(),
                "two_way_accuracy": _mean(part, "two_way_correct"),
                "shuffled_accuracy": shuffled_accuracy(part.predicted.tolist(), part.true.tolist()),
                "seconds": first.get("seconds"),
            }
        )
    return pd.DataFrame(rows)


def _mean(part: pd.DataFrame, name: str) -> float:
    return part[name].astype(float).mean() if name in part else math.nan


def accuracies(runs: pd.DataFrame) -> pd.DataFrame:
    """Table 1 of what was measured: mean over episodes, and its standard error over them.

    Columns model, da, es, two_way, accuracy, se, source and what else tells a row from others.
    Nothing here augments data (DA) or is told of strokes or labels (ES) but the true strokes.
    """
    rows = []
    for (run, changes), part in runs.groupby(["run", "changes"], sort=False):
        for both, name in ((False, "accuracy"), (True, "two_way_accuracy")):
            if part[name].isna().any():
                continue
            rows.append(
                {
                    "model": part.model.iloc[0], "da": False, "es": run == TRUE_STROKES,
                    "two_way": both, "accuracy": part[name].mean(),
                    "se": part[name].std() / math.sqrt(len(part)), "source": "measured",
                    "trained_on": part.source.iloc[0], "runs": len(part), "changes": changes,
                    "reference": "", "run": run,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def reported() -> pd.DataFrame:
    """The rows of Table 1 that others measured on the official runs."""
    return pd.DataFrame([row._asdict() for row in paper.ONE_SHOT]).assign(source="reported")

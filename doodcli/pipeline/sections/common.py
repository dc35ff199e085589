"""What the sections share: where they come from, pictures, verdicts, columns that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from doodcli.report.document import BAD, GOOD, Cell, Facts, Picture
from doodcli.report.numbers import facts, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from doodcli.pipeline.expected import Expected
    from doodcli.report.document import Part
    from doodcli.report.folder import Folder

TRANSFER_COLUMNS = [
    "model", "source", "target", "seed", "iwae_nats", "iwae_se", "mean_abs_error", "mean_strokes",
    "images", "samples", "resolution", "likelihood_family", "source_transposed", "remarks",
]  # fmt: skip
BESIDE_COLUMNS = [
    "figure", "model", "source", "target", "difference", "above_paper", "like_for_like", "why_not",
]  # fmt: skip
GAP_COLUMNS = [
    "model", "source", "target", "posterior", "iwae_nats", "std", "se", "seeds", "gained",
    "mean_abs_error", "paper_nats", "difference", "otherwise_alike", "why_not", "samples", "images",
]  # fmt: skip
CLAIM_COLUMNS = ["model", "claim", "where", "paper", "value", "against", "se", "holds"]
STROKE_CLAIM_COLUMNS = [
    "run", "model", "source", "claim", "paper", "measure", "value", "limit", "holds",
]  # fmt: skip
COUNT_COLUMNS = ["run", "model", "source", "dataset", "fingerprint", "images", "strokes", "share"]
CLUSTER_COLUMNS = [
    "model", "source", "seed", "recipe", "dataset", "fingerprint", "remark", "clusters",
    "silhouette", "silhouette_one_way", "strokes",
]  # fmt: skip
ONESHOT_COLUMNS = [
    "model", "da", "es", "two_way", "accuracy", "se", "source", "trained_on", "runs", "reference",
]  # fmt: skip
RUN_COLUMNS = [
    "run", "model", "source", "seed", "preset", "pen", "steps", "training_images",
    "training_minutes", "training_device", "source_fingerprint", "settings_hash", "weights",
    "training_git", "version",
]  # fmt: skip
"""What a table must have to be of use, by its file."""

CLUSTERS = 8
"""Of Fig. 5."""


class Sources(NamedTuple):
    """Where a report comes from."""

    folder: Folder
    expected: Expected


def picture(
    of: Sources, task: str, stem: str, title: str, caption: str, table: str, alt: str,
    only: pd.DataFrame | None = None,
) -> list[Part]:  # fmt: skip
    """A figure with the table that it shows, or that it is missing, where it should be there."""
    png = of.folder.read(f"{stem}.png")
    if png is None:
        known = task in of.expected.commands or not of.expected.profile
        return [of.expected.gap(title, task, of.folder)] if known else []
    frame = of.folder.table(table) if only is None else only
    files = [name for name in (table, f"{stem}.png", f"{stem}.pdf") if of.folder.has(name)]
    how = facts(frame) if frame is not None else Facts([])
    whose = _whose(frame)
    return [Picture(stem, title, caption, f"{title}: {alt}{whose}", files, how)]


def _whose(frame: pd.DataFrame | None) -> str:
    """Of which models and sets a picture is, for those who cannot see it."""
    if frame is None or "model" not in frame or "source" not in frame:
        return ""
    runs = frame[frame.model != "blank"].dropna(subset=["source"])
    pairs = dict.fromkeys(zip(runs.model.astype(str), runs.source.astype(str), strict=True))
    names = ", ".join(f"{model} trained on {source}" for model, source in pairs)
    sets = listed(frame, "dataset") or listed(frame, "target")
    return f" by {names}" + (f"; sets: {sets}" if sets else "") + "."


def recorded(folder: Folder) -> list[dict[str, Any]]:
    """What is recorded of every run."""
    rows = []
    for name in folder.names("run-*.json"):
        facts_of = folder.json(name)
        if isinstance(facts_of, dict) and set(RUN_COLUMNS) <= facts_of.keys():
            short = name.removeprefix("run-").removesuffix(".json")
            rows.append({**{key: facts_of[key] for key in RUN_COLUMNS}, "name": short})
    return rows


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, whose columns are their attributes."""
    yield from frame.itertuples()


def kind(model: str, difference: float) -> str:
    """Whether a difference to the paper's number speaks for the model that the paper is about."""
    if not model.startswith("dood"):
        return ""
    return GOOD if difference > 0 else BAD


def verdict(holds: bool) -> Cell:
    return Cell("holds", GOOD) if holds else Cell("does not hold", BAD)

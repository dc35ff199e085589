"""Zero-shot transfer (Section 3.1, Fig. 4): a model of each source on every target."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple, Protocol

import pandas as pd

from doodcli.report import paper
from doodcli.settings import PAPER_PROTOCOL

VERSION = 1
"""Raised when the same cells would give other tables."""

TRANSPOSED = "-transposed"
"""Ends the name of a target whose axes are swapped, as the paper's EMNIST was."""

WORST_SOURCES = {"mnist", "omniglot"}
"""Of which the paper says that they transfer worst."""


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of each cell that is a bound, `[model, source, target]`, and how sure it is.

    `table` has one row per model, source, target and seed.  `std` is over seeds, missing where
    there is one; `se` is the standard error over images, mean over seeds.
    """
    bounds = table[(table.model != "blank") & table.iwae_nats.notna()]
    cells = bounds.groupby(["model", "source", "target"], sort=False)
    return cells.agg(
        iwae_nats=("iwae_nats", "mean"),
        std=("iwae_nats", "std"),
        se=("iwae_se", "mean"),
        mean_abs_error=("mean_abs_error", "mean"),
        mean_strokes=("mean_strokes", "mean"),
        seeds=("seed", "nunique"),
        images=("images", "first"),
        samples=("samples", "first"),
        resolution=("resolution", "first"),
        likelihood_family=("likelihood_family", "first"),
        source_transposed=("source_transposed", "first"),
        remarks=("remarks", "first"),
    ).reset_index()


def against_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the paper's, cell by cell: its Fig. 4, and its ablations where it has those.

    `like_for_like` is False where the file is not the canonical one, where EMNIST is upright,
    where k, resolution or likelihood differ, or where the paper's number is another quantity;
    `why_not` says which.  Every DooD number of the paper is of a bound that leaks the target into
    the pen, and its Fig. 4 places pictures: that is not marked cell by cell.
    """
    rows = []
    for cell in _cells(summary(table)):
        model, source, target = cell["model"], cell["source"], cell["target"]
        for figure, (mean, std) in _reported(model, source, target).items():
            why_not = _why_not(cell, figure)
            mine = {name: cell[name] for name in ("iwae_nats", "std", "se")}
            rows.append(
                {
                    "figure": figure, "model": model, "source": source, "target": target,
                    **mine, "paper_nats": mean, "paper_std": math.nan if std is None else std,
                    "difference": cell["iwae_nats"] - mean, "above_paper": cell["iwae_nats"] > mean,
                    "like_for_like": not why_not, "why_not": why_not,
                    **{name: cell[name] for name in ("seeds", "images", "samples")},
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def amortisation_gap(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What posteriors of each image's own gain, cell by cell, beside the paper's Fig. 4.

    `tables` have a row per model, source, target and seed each, by the name of the posterior; the
    first is the amortised one's.  Of the cells that another one has too there is a row for each.
    `gained` is over the first; `otherwise_alike` says whether the posterior is all that is not as
    in the paper, whose own is amortised, and `why_not` what else is not (:func:`against_paper`).
    """
    keys = ["model", "source", "target"]
    first = next(iter(tables))
    refined = [summary(table) for name, table in tables.items() if name != first]
    wanted = pd.concat(refined)[keys].drop_duplicates()
    before = summary(tables[first])[[*keys, "iwae_nats"]].rename(columns={"iwae_nats": "before"})
    parts = []
    for name, table in tables.items():
        beside = against_paper(table)
        if len(beside):
            beside = beside[beside.figure == "Fig. 4"]
        theirs = ["paper_nats", "difference", "above_paper", "like_for_like", "why_not"]
        beside = beside.reindex(columns=[*keys, *theirs])
        found = wanted.merge(summary(table), on=keys).merge(before, on=keys, how="left")
        found = found.merge(beside, on=keys, how="left").assign(posterior=name)
        found["gained"] = found.iwae_nats - found.before
        parts.append(found.rename(columns={"like_for_like": "otherwise_alike"}))
    columns = [
        *keys, "posterior", "iwae_nats", "std", "se", "gained", "mean_abs_error", "mean_strokes",
        "paper_nats", "difference", "above_paper", "otherwise_alike", "why_not",
        "seeds", "images", "samples",
    ]  # fmt: skip
    every = pd.concat(parts, ignore_index=True)[columns]
    order = every.groupby(keys, sort=False).ngroup().sort_values(kind="stable").index
    return every.loc[order].reset_index(drop=True)


def _cells(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dict("records")  # type: ignore[return-value]


def _reported(model: str, source: str, target: str) -> dict[str, paper.Number]:
    """The paper's numbers for a cell, by the table that has them."""
    found, target = {}, target.removesuffix(TRANSPOSED)
    if number := paper.TRANSFER.get(model, {}).get(source, {}).get(target):
        found["Fig. 4"] = number
    if source == "mnist" and (number := paper.ABLATIONS.get(model, {}).get(target)):
        found["ablations"] = number
    return found


def _why_not(cell: dict[str, Any], figure: str) -> str:
    """Why a cell compares otherwise than like for like; "" where nothing speaks against it."""
    reasons = [cell["remarks"]] if isinstance(cell["remarks"], str) else []
    if cell["target"] == "emnist":
        reasons.append("EMNIST upright, the paper's is transposed")
    if cell["source"] == "emnist" and not cell["source_transposed"]:
        reasons.append("trained on EMNIST upright, the paper's is transposed")
    if figure == "Fig. 4" and (cell["model"], cell["source"]) in paper.ONE_SAMPLE:
        reasons.append("the paper's is an ELBO of one sample under a normal likelihood")
    for name in ("samples", "resolution"):
        if cell[name] != PAPER_PROTOCOL[name]:
            reasons.append(f"{name} {cell[name]}, the paper has {PAPER_PROTOCOL[name]}")
    if cell["likelihood_family"] != "laplace":
        reasons.append(f"a {cell['likelihood_family']} likelihood, the paper's is Laplace")
    return "; ".join(reasons)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The claims of Section 3.1 about Fig. 4, one by one, of the cells that are there.

    `se` is the standard error of `value` − `against` over images (as if they were other images of
    the two cells, which is more than it is); `holds` compares the means alone.  The paper speaks
    of `dood` and `air-difference`; of other models `paper` is False.
    """
    cells = summary(table)
    value = {(cell["model"], cell["source"], cell["target"]): cell for cell in _cells(cells)}
    rows: list[dict[str, object]] = []

    def say(model: str, claim: str, where: str, mine: Bound, other: Bound) -> None:
        rows.append(
            {
                "model": model, "claim": claim, "where": where, "paper": model in paper.TRANSFER,
                "value": mine.nats, "against": other.nats, "se": math.hypot(mine.se, other.se),
                "holds": mine.nats > other.nats,
            }
        )  # fmt: skip

    for model, part in cells.groupby("model", sort=False):
        _diagonal(str(model), part, say)
        _worst(str(model), part, say)
    for (model, source, target), cell in value.items():
        rival = value.get(("air-difference", source, target))
        if model == "dood" and rival is not None:
            where = "within a data set" if source == target else "across data sets"
            claim = f"better than air-difference, {where}"
            say(model, claim, f"{source} to {target}", Bound.of(cell), Bound.of(rival))
    columns = ["model", "claim", "where", "paper", "value", "against", "se", "holds"]
    return pd.DataFrame(rows, columns=columns)


class Bound(NamedTuple):
    """A mean over images and its standard error."""

    nats: float
    se: float

    @staticmethod
    def of(cell: dict[str, Any]) -> Bound:
        """That of a cell."""
        return Bound(cell["iwae_nats"], cell["se"])


class Say(Protocol):
    """Makes a row of the claims: value against another, each with its standard error."""

    def __call__(self, model: str, claim: str, where: str, mine: Bound, other: Bound) -> None:
        """Of a model."""
        ...


def _diagonal(model: str, part: pd.DataFrame, say: Say) -> None:
    """The best source of a target is the target itself."""
    for target, column in part.groupby("target", sort=False):
        own, others = column[column.source == target], column[column.source != target]
        if len(own) and len(others):
            mine, rival = (_cells(cells.sort_values("iwae_nats"))[-1] for cells in (own, others))
            where = f"{target}; next best {rival['source']}"
            say(model, "the diagonal is the best of its column", where,
                Bound.of(mine), Bound.of(rival))  # fmt: skip


def _worst(model: str, part: pd.DataFrame, say: Say) -> None:
    """MNIST and Omniglot transfer worst: each other source passes both of them.

    Two sources are compared by their means over the targets that are off the diagonal for both;
    the row is of the closest pair.  Of sources that lack a cell nothing is said.
    """
    part = part[part.target.isin(paper.SETS)]
    square = part.pivot_table("iwae_nats", "source", "target").dropna()
    errors = part.pivot_table("se", "source", "target")
    others = [source for source in square.index if source not in WORST_SOURCES]
    if not (set(square.index) >= WORST_SOURCES and others):
        return
    pairs = []
    for low, high in itertools.product(sorted(WORST_SOURCES), others):
        common = [target for target in square.columns if target not in (low, high)]
        if common:
            mine, worst = (
                Bound(
                    float(square.loc[source, common].to_numpy().mean()),
                    math.hypot(*errors.loc[source, common]) / len(common),
                )
                for source in (high, low)
            )
            pairs.append((mine.nats - worst.nats, f"{high} against {low}", mine, worst))
    if pairs:
        _, where, mine, worst = min(pairs)
        say(model, "MNIST and Omniglot are the worst sources", f"{where}, their common targets",
            mine, worst)  # fmt: skip

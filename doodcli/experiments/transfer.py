"""Zero-shot transfer (Section 3.1, Fig. 4): a model of each source on every target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.report import paper
from doodcli.settings import PAPER_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

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
        remarks=("remarks", "first"),
    ).reset_index()


def against_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the paper's, cell by cell: its Fig. 4, and its ablations where it has those.

    `like_for_like` is False where the file is not the canonical one, where EMNIST is upright,
    or where the paper's number is another quantity; `why_not` says which.
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
                    "difference": cell["iwae_nats"] - mean, "passes": cell["iwae_nats"] > mean,
                    "like_for_like": not why_not, "why_not": why_not,
                    **{name: cell[name] for name in ("seeds", "images", "samples")},
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


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
    if cell["source"] == "emnist" and "transposed" not in str(cell["remarks"]):
        reasons.append("trained on EMNIST upright, the paper's is transposed")
    if figure == "Fig. 4" and (cell["model"], cell["source"]) in paper.ONE_SAMPLE:
        reasons.append("the paper's is an ELBO of one sample under a normal likelihood")
    if cell["samples"] != PAPER_PROTOCOL["samples"]:
        reasons.append(f"{cell['samples']} samples, the paper has {PAPER_PROTOCOL['samples']}")
    return "; ".join(reasons)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The claims of Section 3.1 about Fig. 4, one by one, of the cells that are there."""
    cells = summary(table)
    value = {
        (cell["model"], cell["source"], cell["target"]): cell["iwae_nats"] for cell in _cells(cells)
    }
    rows: list[dict[str, object]] = []

    def say(claim: str, where: str, mine: float, other: float) -> None:
        rows.append(
            {"claim": claim, "where": where, "value": mine, "against": other, "holds": mine > other}
        )

    for model, part in cells.groupby("model", sort=False):
        _diagonal(str(model), part, say)
        _worst(str(model), part, say)
    for (model, source, target), nats in value.items():
        rival = value.get(("air-difference", source, target))
        if model == "dood" and rival is not None:
            where = "within a data set" if source == target else "across data sets"
            say(f"dood over air-difference, {where}", f"{source} to {target}", nats, rival)
    return pd.DataFrame(rows, columns=["claim", "where", "value", "against", "holds"])


def _diagonal(
    model: str, part: pd.DataFrame, say: Callable[[str, str, float, float], None]
) -> None:
    """The best source of a target is the target itself."""
    for target, column in part.groupby("target", sort=False):
        own, others = column[column.source == target], column[column.source != target]
        if len(own) and len(others):
            rival = others.sort_values("iwae_nats").iloc[-1]
            where = f"{target}; next best {rival.source}"
            say(f"{model}: the diagonal is the best of its column", where,
                own.iwae_nats.item(), rival.iwae_nats)  # fmt: skip


def _worst(model: str, part: pd.DataFrame, say: Callable[[str, str, float, float], None]) -> None:
    """MNIST and Omniglot transfer worst: every other row has a higher mean off the diagonal.

    Of rows that lack a cell nothing is said: their means are of other targets.
    """
    part = part[part.target.isin(paper.SETS)]
    most = part.target.nunique()
    whole = part.groupby("source").target.transform("nunique") == most
    away = part[whole & (part.source != part.target)]
    means = away.groupby("source").iwae_nats.mean()
    low, high = means[means.index.isin(WORST_SOURCES)], means[~means.index.isin(WORST_SOURCES)]
    if len(low) == len(WORST_SOURCES) and len(high):
        say(f"{model}: MNIST and Omniglot are the worst sources", "mean off the diagonal",
            high.min(), low.max())  # fmt: skip

"""The tables of clusters and of linear probes, with the paper's numbers beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from doodcli.report import paper
from doodcli.report.tables import write_tex

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["model", "source"]


def write_clusters_tex(
    summary: pd.DataFrame, claims: pd.DataFrame, clusters: int, path: Path, label: str
) -> None:
    """`strokes.tex`: a row a model and data set, a column a number of clusters.

    `summary` and `claims` are those of :mod:`doodcli.experiments.clusters`; `clusters` is the
    number of which one direction was chosen for print.
    """
    rows = []
    for _, part in summary.groupby(["recipe", "dataset", "fingerprint"], sort=False):
        first, chosen = part.iloc[0], part[part.clusters == clusters].iloc[0]
        like = first.source == first.dataset == "mnist"
        counts = [f"k = {k}" for k in part.clusters]
        means = [_number(*pair) for pair in zip(part.silhouette, part["std"], strict=True)]
        reported = paper.SILHOUETTE.get(first.model) if like else None
        rows.append(
            {
                **first[[*NAMES, "dataset"]],
                "strokes": f"{first.strokes:,}",
                **dict(zip(counts, means, strict=True)),
                f"one way, k = {clusters}": _number(chosen.one_way, chosen.one_way_std),
                "paper, k = 8": "--" if reported is None else f"{reported:.2f}",
            }
        )
    text = (
        "Silhouette of k-means clusters of strokes of training images: control points in the "
        "stroke's own frame, of AIR its codes. ± is the standard deviation over seeds. one way: "
        "after one direction was chosen for each stroke. The paper's models were trained on "
        "MNIST; its AIR is Difference-AIR."
    )
    write_tex(pd.DataFrame(rows), path, " ".join([text, *_said(claims)]), label)


def _number(mean: float, std: float) -> str:
    """A mean with its deviation, if it has one."""
    if pd.isna(mean):
        return "--"
    return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.3f}"


def _said(claims: pd.DataFrame) -> list[str]:
    """Each claim as a sentence."""
    return [
        f"That {claim} {'holds' if holds else 'does not hold'} for {source} "
        f"({value:.3f} against {against:.3f})."
        for claim, holds, source, value, against in zip(
            claims.claim, claims.holds, claims.source, claims.value, claims.against, strict=True
        )
    ]


def write_probe_tex(summary: pd.DataFrame, path: Path, label: str) -> None:
    """`probe.tex`: a row a model and source, a column a target, the paper's in brackets."""
    order = list(dict.fromkeys(summary.target))
    apart = summary["std"].fillna(summary["se"])
    cells = [
        f"{mine:.3f} ± {error:.3f}" + ("" if pd.isna(other) else f" ({other:.2f})")
        for mine, error, other in zip(summary.accuracy, apart, summary.paper_accuracy, strict=True)
    ]
    rows = summary.assign(cell=cells).pivot_table(
        "cell", [*NAMES, "recipe"], "target", aggfunc="first", sort=False
    )[order]
    shown = rows.fillna("--").reset_index().drop(columns="recipe")
    chance = summary.groupby("target").chance.first()
    shown.loc[len(shown)] = ["commonest class", "", *(f"{chance[name]:.3f}" for name in order)]
    sizes = (_span(summary[name]) for name in ("train_images", "test_images", "seeds"))
    text = (
        "Accuracy of logistic regression on the flattened latents: {} training images, {} test "
        "images, {} seed(s); ± is the standard deviation over seeds or, of one, the standard "
        "error over images. In brackets the paper's, whose AIR is Difference-AIR and whose EMNIST "
        "is transposed."
    )
    write_tex(shown, path, text.format(*sizes), label)


def _span(values: pd.Series) -> str:
    """The least and the largest of some numbers, one where they are the same."""
    return " to ".join(f"{value:,}" for value in dict.fromkeys([values.min(), values.max()]))

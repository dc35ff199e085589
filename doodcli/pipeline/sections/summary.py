"""The headline of a report: how much was done, its numbers, which claims hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from doodcli.experiments import clusters, strokes, transfer
from doodcli.pipeline.sections.common import (
    BESIDE_COLUMNS,
    CLAIM_COLUMNS,
    CLUSTER_COLUMNS,
    CLUSTERS,
    COUNT_COLUMNS,
    GAP_COLUMNS,
    ONESHOT_COLUMNS,
    STROKE_CLAIM_COLUMNS,
    TRANSFER_COLUMNS,
    Sources,
    recorded,
)
from doodcli.report import paper
from doodcli.report.document import BAD, GOOD, Cell, Gap, Group, Table, Tile
from doodcli.report.numbers import listed, number, percent, signed, span

if TYPE_CHECKING:
    from collections.abc import Callable


def lead(of: Sources) -> str:
    """How much was trained, on what and with which versions."""
    runs = pd.DataFrame(recorded(of.folder))
    if runs.empty:
        return "No trained run is recorded in this folder."
    minutes = runs.training_minutes
    models = f"{len(runs)} model{'s' * (len(runs) != 1)}"
    of_all = f" of {len(of.expected.trainings)}" if of.expected.trainings else ""
    return (
        f"{models}{of_all} trained for {span(minutes, 1)} minutes each, "
        f"{number(minutes.sum(), 1)} in all, on {listed(runs, 'training_device')}: "
        f"{span(runs.training_images)} images each, seed{'s' * (runs.seed.nunique() > 1)} "
        f"{listed(runs, 'seed')}. dood {listed(runs, 'version')}, "
        f"commit{'s' * (runs.training_git.nunique() > 1)} {listed(runs, 'training_git')}."
    )


def tiles(of: Sources, missing: list[Gap]) -> list[Tile]:
    """The headline: each number with what stands beside it."""
    makers: list[Callable[[Sources], Tile | None]] = [
        _tile_own, _tile_paper, _tile_refined, _tile_rival, _tile_oneshot, _tile_strokes,
        _tile_silhouette,
    ]  # fmt: skip
    tiles = [tile for make in makers if (tile := make(of)) is not None]
    if of.expected.commands:
        done = "Nothing is missing" if not missing else "Named at the end"
        tiles.append(Tile(str(len(missing)), f"item{'s' * (len(missing) != 1)} missing", done))
    return tiles


def _tile_own(of: Sources) -> Tile | None:
    table = of.folder.table("transfer.csv", TRANSFER_COLUMNS)
    if table is None:
        return None
    cells = transfer.summary(table)
    own = cells[(cells.model == "dood") & (cells.source == cells.target)]
    if own.empty:
        return None
    cell = own.iloc[0]
    page = table[
        (table.model == "blank") & (table.source == cell.source) & (table.target == cell.target)
    ]
    beside = f"A blank page has {number(page.iwae_nats.iloc[0])}. " if len(page) else ""
    known = paper.TRANSFER["dood"].get(cell.source, {}).get(cell.target)
    beside += f"The paper: {number(known[0])}" if known else "The paper has no such set"
    return Tile(
        number(cell.iwae_nats),
        f"nats an image of {cell.target}, by dood trained there (IWAE, k = {cell.samples:.0f})",
        beside,
    )


def _tile_paper(of: Sources) -> Tile | None:
    beside = of.folder.table("transfer_vs_paper.csv", BESIDE_COLUMNS)
    if beside is None:
        return None
    alike = beside[
        (beside.figure == "Fig. 4") & (beside.model == "dood") & beside.like_for_like.astype(bool)
    ]
    if alike.empty:
        return None
    apart = alike.difference
    return Tile(
        f"{int(alike.above_paper.sum())} of {len(alike)}",
        "cells of Fig. 4 in which dood passes the paper's, of those that compare like for like",
        f"From {signed(apart.min())} to {signed(apart.max())} nats",
    )


def _tile_refined(of: Sources) -> Tile | None:
    gaps = of.folder.table("amortisation_gap.csv", GAP_COLUMNS)
    if gaps is None:
        return None
    alike = gaps[(gaps.model == "dood") & (gaps.otherwise_alike.astype(str) == "True")]
    counts = [
        f"{int((part.difference > 0).sum())} of {len(part)} {posterior}"
        for posterior, part in alike.groupby("posterior", sort=False)
    ]
    refined = alike[(alike.posterior == "refined") & (alike.gained > 0)]
    if refined.empty:
        return None
    return Tile(
        f"up to {signed(refined.gained.max())}",
        "nats in such cells by a posterior of each image's own",
        f"Past the paper's: {', '.join(counts)}",
    )


def _tile_rival(of: Sources) -> Tile | None:
    claims = of.folder.table("transfer_claims.csv", CLAIM_COLUMNS)
    if claims is None:
        return None
    rival = claims[claims.claim.str.startswith("better than air-difference")]
    if rival.empty:
        return None
    held = f"{int(rival.holds.sum())} of {len(rival)}"
    return Tile(held, "cells in which dood passes Difference-AIR", "The paper: 24 of its 25")


def _tile_oneshot(of: Sources) -> Tile | None:
    table = of.folder.table("table1.csv", ONESHOT_COLUMNS)
    if table is None:
        return None
    one_way = table.two_way.astype(str) == "False"
    mine = table[(table.model == "dood") & (table.source == "measured") & one_way]
    if mine.empty:
        return None
    first = mine.iloc[0]
    official = (table.source == "reported").any()
    reported = {one.model: one.accuracy for one in paper.ONE_SHOT}["DooD"]
    return Tile(
        percent(first.accuracy),
        f"one-shot accuracy of dood trained on {first.trained_on}",
        f"The paper: {percent(reported)}" if official else "Not the official runs",
    )


def _tile_strokes(of: Sources) -> Tile | None:
    counts = of.folder.table("stroke_counts.csv", COUNT_COLUMNS)
    if counts is None:
        return None
    means = strokes.means(counts)
    mine = means[means.model == "dood"]
    mine = mine[mine.source == mine.source.iloc[0]] if len(mine) else mine
    own, others = mine[mine.dataset == mine.source], mine[mine.dataset != mine.source]
    if own.empty or others.empty:
        return None
    source = own.source.iloc[0]
    return Tile(
        number(own.mean_strokes.iloc[0], 1),
        f"strokes a drawing of {source}, by dood trained there",
        f"{span(others.mean_strokes, 1)} on other sets",
    )


def _tile_silhouette(of: Sources) -> Tile | None:
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    if table is None:
        return None
    found = clusters.summary(table)
    mine = found[(found.model == "dood") & (found.clusters == CLUSTERS) & found.silhouette.notna()]
    if mine.empty:
        return None
    first = mine.iloc[0]
    known = paper.SILHOUETTE["dood"] if first.source == first.dataset == "mnist" else None
    return Tile(
        number(first.silhouette, 2),
        f"silhouette of {CLUSTERS} clusters of strokes of {first.dataset}",
        f"The paper: {known}" if known else "The paper has it of MNIST",
    )


def claims(of: Sources) -> Table | None:
    """Each claim of the paper, with the number of places where it holds."""
    parts = []
    said = of.folder.table("transfer_claims.csv", CLAIM_COLUMNS)
    if said is not None:
        parts.append(said[["model", "claim", "paper", "holds"]].assign(where="#transfer"))
    counted = of.folder.table("stroke_claims.csv", STROKE_CLAIM_COLUMNS)
    if counted is not None:
        parts.append(counted[["model", "claim", "paper", "holds"]].assign(where="#drawings"))
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    if table is not None:
        kinds = clusters.claims(clusters.summary(table), CLUSTERS).assign(model="dood")
        parts.append(kinds[["model", "claim", "paper", "holds"]].assign(where="#clusters"))
    if not parts:
        return None
    every = pd.concat(parts, ignore_index=True)
    every = every[every.paper.astype(bool)]
    rows = []
    for (model, claim), part in every.groupby(["model", "claim"], sort=False):
        held, count = int(part.holds.sum()), len(part)
        kind = GOOD if held == count else BAD if not held else ""
        word = "holds" if held == count else "does not hold" if not held else "holds in part"
        rows.append(
            [Cell(str(claim)), Cell(str(model)), Cell(f"{held} of {count}"), Cell(word, kind)]
        )
    if not rows:
        return None
    return Table(
        "claims", "Claims of the paper that these results can speak to. Each is counted over the "
        "cells or sets that were measured; the sections below have them one by one.",
        ["claim", "model", "holds in", "verdict"], [Group("", rows)], words=True,
    )  # fmt: skip

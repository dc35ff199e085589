"""The map of clusters of strokes (Fig. 5): where they lie, and exemplars as they are drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor

from doodcli.model.drawing import Drawing
from doodcli.model.renderer import bezier

if TYPE_CHECKING:
    from doodcli.experiments.clusters import Clustering, Parts
    from doodcli.model.model import DrawingModel

MAPPED = 3000
"""Strokes at most on a map, for t-SNE takes its time."""

PERPLEXITY = 30.0

ROW = 12
"""Exemplars in the row of a cluster."""

TILES, TILE = 6, 0.085
"""Exemplars of a cluster on the map, at most, and the side of one as a share of the map's."""

CLOSEST = 0.5
"""Share of a cluster's strokes, those closest to its centre, from which the map's are taken."""

FILLED = 0.8
"""Share of a picture's half side within which nearly all points of the strokes lie."""


class Map(NamedTuple):
    """Clusters as a picture: strokes on a plane, and exemplars of each cluster."""

    title: str
    places: np.ndarray
    """`[m, 2]` in 0 to 1: strokes by t-SNE"""
    labels: np.ndarray
    """`[m]`, their clusters"""
    sizes: np.ndarray
    """`[clusters]`, the number of all strokes in each"""
    numbers: np.ndarray
    """`[clusters]`, at which strokes of the plane the clusters' numbers stand"""
    tiles: np.ndarray
    """`[t]`, which strokes of the plane are drawn there"""
    tile: float
    """side of what is drawn there"""
    tile_pictures: Tensor
    """`[t, R, R]` in [0, 1]"""
    row_pictures: Tensor
    """`[clusters, ROW, R, R]`: evenly from the closest to the centre to the farthest; blank where
    there are fewer"""
    tile_starts: Tensor | None
    """`[t, 2]` in [−1, 1], where each stroke starts; None where a network draws it"""
    row_starts: Tensor | None
    """`[clusters, ROW, 2]`, NaN where there is no stroke"""


def chart(model: DrawingModel, parts: Parts, found: Clustering, seed: int, title: str) -> Map:
    """The map of some clusters: a plane by t-SNE, and exemplars as the model draws them."""
    vectors = parts.vectors.flatten(1).double().numpy()
    far = np.linalg.norm(vectors - found.centres[found.labels], axis=1)
    labels, clusters = found.labels[:MAPPED], len(found.centres)
    places = plane(vectors[:MAPPED], seed)
    numbers = np.array([_middle(places, labels == k) for k in range(clusters)])
    tiles = spread_tiles(places, labels, far[:MAPPED], numbers)
    rows = np.stack([exemplars(found.labels == k, far) for k in range(clusters)])
    tile_pictures, tile_starts = portraits(model, parts, torch.from_numpy(tiles))
    row_pictures, row_starts = portraits(model, parts, torch.from_numpy(rows.flatten()))
    return Map(
        title, places, labels, np.bincount(found.labels, minlength=clusters), numbers, tiles,
        TILE, tile_pictures, row_pictures.unflatten(0, rows.shape), tile_starts,
        None if row_starts is None else row_starts.unflatten(0, rows.shape),
    )  # fmt: skip


def plane(vectors: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of `[n, d]`, stretched to the unit square: `[n, 2]`."""
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3), random_state=seed,
        init="pca" if vectors.shape[1] > 1 else "random",
    )  # fmt: skip
    places = tsne.fit_transform(vectors)
    return (places - places.min(0)) / np.maximum(np.ptp(places, 0), 1e-6)


def _middle(places: np.ndarray, members: np.ndarray) -> int:
    """The stroke of a cluster that lies closest to the median of its places; −1 of none."""
    if not members.any():
        return -1
    middle = np.median(places[members], 0)
    return int(np.where(members, ((places - middle) ** 2).sum(1), np.inf).argmin())


def exemplars(members: np.ndarray, far: np.ndarray) -> np.ndarray:
    """ROW strokes of a cluster, evenly from the closest to its centre to the farthest.

    `members` bool `[n]`, `far` `[n]` the distance from the centre → positions `[ROW]`, −1 where
    the cluster has fewer strokes.
    """
    ranked = np.flatnonzero(members)[np.argsort(far[members], kind="stable")]
    row = np.full(ROW, -1)
    if len(ranked) <= ROW:
        row[: len(ranked)] = ranked
    else:
        row[:] = ranked[np.linspace(0, len(ranked) - 1, ROW).round().astype(int)]
    return row


def spread_tiles(
    places: np.ndarray, labels: np.ndarray, far: np.ndarray, taken: np.ndarray
) -> np.ndarray:
    """Strokes to draw over the plane: near their centres and, as tiles, clear of each other.

    Clear also of those that are `taken`.  Clusters take turns, so that a large one leaves room
    for the others.  → positions `[t]`.
    """
    queues = []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(far[members], kind="stable")]
        queues.append(iter(ranked[: math.ceil(CLOSEST * len(ranked))]))
    spots = list(places[taken[taken >= 0]])
    chosen = []
    for _ in range(TILES):
        for queue in queues:
            for one in queue:
                if (np.abs(spots - places[one]).max(1) > TILE).all():
                    chosen.append(one)
                    spots.append(places[one])
                    break
    return np.array(chosen, int)


@torch.no_grad()
def portraits(model: DrawingModel, parts: Parts, which: Tensor) -> tuple[Tensor, Tensor | None]:
    """Strokes as the model draws them in their own frames: `[n, R, R]`, and where they start.

    `which` are positions; −1 is a blank picture.  All have the same pen, and a layout that only
    scales, for curves may leave their frame or fill little of it.  Starts `[n, 2]` are in [−1, 1];
    there are none where a network draws the strokes.
    """
    device, curves = model.scale.device, model.settings.decoder == "spline"
    zoom = 1.0
    if curves:
        reach = bezier(parts.vectors, model.settings.curve_samples).abs().amax((1, 2))
        zoom = FILLED / max(reach.quantile(0.95).item(), 1e-6)
    there = which >= 0
    layout = torch.zeros(len(which), 1, 4)
    layout[..., 0] = zoom
    strokes = parts.vectors[which.clamp_min(0)][:, None]
    drawing = Drawing(there.float()[:, None], layout, strokes, parts.pen.expand(len(which), 3)).map(
        lambda part: part.to(device)
    )
    pictures = model.render(drawing).cpu()
    if not curves:
        return pictures, None
    starts = zoom * strokes[:, 0, 0]
    return pictures, torch.where(there[:, None], starts, torch.nan)

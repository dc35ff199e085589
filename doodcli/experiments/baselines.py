"""Nearest neighbours that know nothing of strokes: what one-shot classification starts from.

Both take pictures uint8 `[n, height, width]`, white ink on black, and give the distance of every
query from every support picture, `[ways, queries]`: the smallest wins.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.neighbors import KDTree

if TYPE_CHECKING:
    from torch import Tensor

INK = 127
"""A pixel that is lighter than this is ink."""


def pixel_distances(support: Tensor, queries: Tensor) -> Tensor:
    """Euclidean distances of the pictures as they are, in units of a pixel's range."""
    near, far = (pictures.flatten(1).double() / 255 for pictures in (support, queries))
    return torch.cdist(near, far)


def hausdorff_distances(support: Tensor, queries: Tensor) -> Tensor:
    """Modified Hausdorff distances (Dubuisson and Jain 1994) of centred ink, in pixels.

    The baseline that is published with the official runs: it errs in 38.8 % of them, which checks
    loader and protocol.  A picture without ink is infinitely far from every other.
    """
    near, far = ([_ink(picture) for picture in pictures] for pictures in (support, queries))
    return torch.tensor([[_modified_hausdorff(a, b) for b in far] for a in near])


class Ink(NamedTuple):
    """Where the ink of a picture is, from its centre."""

    points: np.ndarray
    """`[pixels, 2]`"""
    tree: KDTree | None
    """finds the nearest of them; none without ink"""


def _ink(picture: Tensor) -> Ink:
    points = np.argwhere(picture.numpy() > INK)
    if not len(points):
        return Ink(points, None)
    points = points - points.mean(0)
    return Ink(points, KDTree(points))


def _modified_hausdorff(a: Ink, b: Ink) -> float:
    """The larger of the two mean distances of a point from the nearest of the other set."""
    if a.tree is None or b.tree is None:
        return math.inf
    return float(max(b.tree.query(a.points)[0].mean(), a.tree.query(b.points)[0].mean()))


BASELINES = {
    "pixel nearest neighbour": pixel_distances,
    "modified Hausdorff distance": hausdorff_distances,
}
"""By the name that they have in tables."""

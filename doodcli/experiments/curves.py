"""How near the strokes of a parse are to those that a picture was drawn with.

Distances are between curves, so neither the direction of a stroke nor its parametrisation counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from doodcli.model.layout import place_points
from doodcli.model.renderer import bezier

if TYPE_CHECKING:
    from doodcli.model.drawing import Drawing

PIXELS = 25.0
"""of a 50-pixel canvas, in half a canvas: the unit of all distances, whatever the resolution"""

ALONG, DENSE = 64, 256
"""points of a curve that are compared, evenly spaced; and those that it is measured by"""

FOUND = 2.0
"""Pixels: a true stroke counts as found when the Chamfer distance to its match is at most this,
about half of the width with which scribbles are drawn."""


class Score(NamedTuple):
    """A parse beside the truth; NaN where there is nothing to compare."""

    true_strokes: int
    matched_strokes: int
    """pairs of the best matching that are within FOUND"""
    chamfer_pixels: float
    """between all that was drawn and all that should have been, however it is cut into strokes"""
    matched_chamfer_pixels: float
    """mean over all pairs of the best matching, within FOUND or not"""
    order_agreement: float
    """share of pairs of matched strokes that come in the true order; .5 is chance"""


def score(parsed: Drawing, true: Drawing) -> Score:
    """One parse against one true drawing, both without leading axes.

    Strokes are matched one to one so that the sum of their Chamfer distances is least (Hungarian
    algorithm).
    """
    found, truth = curves(parsed), curves(true)
    if not len(found) or not len(truth):
        return Score(len(truth), 0, np.nan, np.nan, np.nan)
    apart = np.array([[chamfer(one, other) for other in truth] for one in found])
    rows, columns = linear_sum_assignment(apart)
    near = apart[rows, columns] <= FOUND
    return Score(
        len(truth),
        int(near.sum()),
        chamfer(np.concatenate(found), np.concatenate(truth)),
        float(apart[rows, columns].mean()),
        _order(rows[near], columns[near]),
    )


def chamfer(one: np.ndarray, other: np.ndarray) -> float:
    """Symmetric Chamfer distance of two sets of points `[n, 2]` and `[m, 2]`, in their unit.

    The mean of the mean distances from each point of one to the nearest of the other, both ways.
    """
    apart = np.linalg.norm(one[:, None] - other, axis=-1)
    return float(apart.min(0).mean() + apart.min(1).mean()) / 2


def curves(drawing: Drawing) -> list[np.ndarray]:
    """Points on each stroke of a drawing, evenly spaced along it: `[64, 2]` each, in pixels.

    Points that are even in time would give a slow part of a stroke more weight.
    """
    count = int(drawing.present.sum())
    points = place_points(drawing.layout, drawing.strokes)[:count]
    dense = (bezier(points.double(), DENSE) * PIXELS).cpu().numpy()
    return [_even(curve) for curve in dense]


def _even(curve: np.ndarray) -> np.ndarray:
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=-1)
    along = np.concatenate([[0.0], steps.cumsum()])
    wanted = np.linspace(0, along[-1], ALONG)
    return np.stack([np.interp(wanted, along, axis) for axis in curve.T], -1)


def _order(found: np.ndarray, true: np.ndarray) -> float:
    """Share of pairs that both orders put the same way round; positions `[n]` in each."""
    pairs = np.triu_indices(len(found), 1)
    if not len(pairs[0]):
        return float("nan")
    same = np.sign(np.subtract.outer(found, found)) == np.sign(np.subtract.outer(true, true))
    return float(same[pairs].mean())

"""Drawings as curves of one width each: what an editor can take, in place of pixels.

Far from its ends, a straight stroke of a pen (σ, slope a of a stroke, slope b of the canvas) has
the ink tanh(tanh(exp(−d²/2σ²)/a)/b) at the distance d.

**Ink.**  The most of it, tanh(tanh(1/a)/b), is the opacity of the paths: a pen may be grey, and
darker where its strokes cross.

**Width.**  *Half ink* is half of that most, and lies at the distance where exp(−d²/2σ²) =
a·atanh(b·atanh(half)).  Twice that is the pen's width.  But the ink of a curve is denser where its
points lie closer, is divided by its largest pixel, and adds up where strokes meet.  A path with
round caps and joins covers all that is nearer to its curve than half its width, so the coverage of
any width is known from the distances alone: the widths are those, each within half and one and a
half of the pen's, with which the paths together best overlap what the renderer inks above half.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from doodcli.model.canvas import composite
from doodcli.model.decoder import SplineDecoder
from doodcli.model.layout import place_points
from doodcli.model.renderer import bezier, pixel_centres

if TYPE_CHECKING:
    import numpy as np

    from doodcli.model.drawing import Drawing
    from doodcli.settings import ModelSettings

FINE = 3
"""Widths are fitted to the drawing at so many times the model's resolution."""

ALONG = 100
"""Points of a curve from which distances are taken."""

SWEEPS = 2
"""Rounds in which each stroke's width is fitted, given the others'."""


class Stroke(NamedTuple):
    """One stroke: a Bézier curve that is drawn with a round pen."""

    points: np.ndarray
    """`[points, 2]`, its control points on the canvas [−1, 1] × [−1, 1], x to the right, y down"""
    width: float
    """half canvases"""


class Paths(NamedTuple):
    """A drawing as strokes with widths."""

    strokes: list[Stroke]
    """in drawing order"""
    ink: float
    """of one stroke, on the canvas: above .48 for any pen"""
    overlap: float
    """intersection over union of what they cover with the rendered ink above half; 1 of nothing"""


def pen_ink(pen: Tensor) -> float:
    """The most ink that one stroke of a pen `[3]` lays on the canvas, in (0, 1)."""
    _, stroke, canvas = pen.double().tolist()
    return math.tanh(math.tanh(1 / stroke) / canvas)


def pen_width(pen: Tensor) -> float:
    """Where a long straight stroke of a pen `[3]` has half ink: its full width in half canvases."""
    deviation, stroke, canvas = pen.double().tolist()
    level = stroke * math.atanh(canvas * math.atanh(pen_ink(pen) / 2))
    return 2 * deviation * math.sqrt(-2 * math.log(level))


@torch.no_grad()
def as_paths(drawing: Drawing, settings: ModelSettings) -> Paths:
    """The strokes of one drawing, without leading axes, of a model with curves; see above.

    The model may place points or pictures; a picture takes its pen's width along as it is scaled.
    """
    one = drawing.map(lambda part: part.detach().cpu()[None])
    count, ink = int(one.present.sum()), pen_ink(one.pen[0])
    points = place_points(one.layout, one.strokes)[0, :count]
    usual = torch.full((count,), pen_width(one.pen[0]) / 2)
    if settings.place == "image":
        usual = usual * one.layout[0, :count, 0]
    side = FINE * settings.resolution
    inked = _rendered(one, settings, side).flatten() >= ink / 2
    apart = _distances(bezier(points, ALONG), side)
    half = _fitted(apart, inked, usual)
    strokes = [
        Stroke(curve, 2 * width)
        for curve, width in zip(points.double().numpy(), half.tolist(), strict=True)
    ]
    covered = (apart <= half[:, None]).any(0)
    union = int((covered | inked).sum())
    return Paths(strokes, ink, int((covered & inked).sum()) / union if union else 1.0)


def each_as_paths(
    drawing: Drawing, settings: ModelSettings, most: int | None = None
) -> list[Paths]:
    """The first drawings of `[n, ...]`, or all of them; see :func:`as_paths`."""
    count = min(len(drawing.present), most or len(drawing.present))
    each = (drawing.map(lambda part, k=k: part[k]) for k in range(count))
    return [as_paths(one, settings) for one in each]


def _rendered(drawing: Drawing, settings: ModelSettings, side: int) -> Tensor:
    """The canvas of one drawing `[1, ...]` at any resolution, `[side, side]`."""
    decoder = SplineDecoder(dataclasses.replace(settings, resolution=side))
    total = torch.zeros(1, side, side)
    for step in range(int(drawing.present.sum())):
        total = total + decoder(drawing.layout[:, step], drawing.strokes[:, step], drawing.pen)
    return composite(total, drawing.pen)[0]


def _distances(curves: Tensor, side: int) -> Tensor:
    """Of every pixel's centre to each of the curves `[n, samples, 2]`: `[n, side²]`."""
    across = pixel_centres(side, curves)
    pixels = torch.cartesian_prod(across, across).flip(-1)
    return torch.cdist(pixels.expand(len(curves), -1, -1), curves).amin(-1)


def _fitted(apart: Tensor, inked: Tensor, usual: Tensor) -> Tensor:
    """Half widths `[n]` around the usual ones that cover the ink best; `inked` bool `[pixels]`."""
    half = usual.clone()
    for _ in range(SWEEPS if len(half) > 1 else 1):
        for k in range(len(half)):
            others = (apart <= half[:, None]) & (torch.arange(len(half)) != k)[:, None]
            half[k] = _best(apart[k], inked, others.any(0), usual[k])
    return half


def _best(apart: Tensor, inked: Tensor, covered: Tensor, usual: Tensor) -> Tensor:
    """The half width of one stroke that leaves the largest overlap, given what others cover.

    Sorted by distance, the pixels that a width covers are the first ones: running sums have the
    overlap of every width.
    """
    near = apart <= 1.5 * usual
    distance, order = apart[near].sort()
    ink, new = inked[near][order], ~covered[near][order]
    both = (inked & covered).sum() + (ink & new).cumsum(0)
    either = (inked | covered).sum() + (~ink & new).cumsum(0)
    allowed = distance >= 0.5 * usual
    if not (both[allowed] > 0).any():
        return usual  # off the canvas, or too faint to be seen
    overlap = torch.where(allowed, both / either, -1.0)
    return distance[overlap.argmax()]

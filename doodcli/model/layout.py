"""The layout module: where on the canvas a stroke goes (Section 2.1, Eq. 2).

A layout is (scale, shift x, shift y, rotation).  Its densities, in prior and posterior alike,
are with respect to unconstrained coordinates u; this module holds the one bijection between u
and the constrained values, and everything that a layout does to points and to images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from doodcli.settings import ModelSettings


def squash(u: Tensor) -> Tensor:
    """The algebraic sigmoid u/√(1+u²), from ℝ to (−1, 1).

    Unlike tanh it can be undone in float32: at u = 10 it is still .005 away from 1.
    """
    return u / torch.hypot(u, torch.ones_like(u))


def unsquash(x: Tensor) -> Tensor:
    """The inverse of :func:`squash`; values at the ends are taken just inside them."""
    x = x.clamp(-1 + 1e-6, 1 - 1e-6)
    return x * torch.rsqrt((1 - x) * (1 + x))


class Interval(nn.Module):
    """A bijection between ℝ and the open box (low, high), one coordinate each.

    As a part of a model it moves with it: a constant that came from the host would hold up a device
    at every use.
    """

    middle: Tensor
    radius: Tensor

    def __init__(self, low: list[float], high: list[float]) -> None:
        super().__init__()
        ends = list(zip(low, high, strict=True))
        middle, radius = ([(b + sign * a) / 2 for a, b in ends] for sign in (1, -1))
        self.register_buffer("middle", torch.tensor(middle), persistent=False)
        self.register_buffer("radius", torch.tensor(radius), persistent=False)

    def constrain(self, u: Tensor) -> Tensor:
        """Constrained values of unconstrained ones, `[..., len(low)]`."""
        return self.middle.to(u) + self.radius.to(u) * squash(u)

    def free(self, value: Tensor) -> Tensor:
        """Unconstrained values of constrained ones, `[..., len(low)]`."""
        return unsquash((value - self.middle.to(value)) / self.radius.to(value))

    def slope(self, u: Tensor) -> Tensor:
        """The derivative of :meth:`constrain`: how a small deviation in u is stretched."""
        return self.radius.to(u) * (1 + u * u) ** -1.5


def layout_interval(settings: ModelSettings) -> Interval:
    """The box of layouts: scale, shift x, shift y, rotation."""
    shift, turn = settings.shift_most, settings.rotation_most
    return Interval(
        [settings.scale_least, -shift, -shift, -turn], [settings.scale_most, shift, shift, turn]
    )


def place_points(layout: Tensor, points: Tensor) -> Tensor:
    """Points of a stroke's own frame moved to the canvas: s̃ = l ⊙ s (Rendering module).

    `layout` `[..., 4]`, `points` `[..., count, 2]` → `[..., count, 2]`.
    """
    scale, shift_x, shift_y, turn = layout[..., None, :].unbind(-1)
    cos, sin = scale * torch.cos(turn), scale * torch.sin(turn)
    x, y = points.unbind(-1)
    return torch.stack([cos * x - sin * y + shift_x, sin * x + cos * y + shift_y], -1)


def glimpse(layout: Tensor, images: Tensor, size: int, margin: float) -> Tensor:
    """What a layout frames: the spatial transformer of Eqs. 2 and 7.

    `layout` `[n, 4]`, `images` `[n, height, width]` → `[n, size, size]`.  `margin` is how far
    the glimpse sees, in half frames of the stroke.  Differentiable in the layout.
    """
    scale, shift_x, shift_y, turn = layout.unbind(-1)
    cos, sin = margin * scale * torch.cos(turn), margin * scale * torch.sin(turn)
    affine = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], -1).unflatten(-1, (2, 3))
    grid = F.affine_grid(affine, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def place_image(layout: Tensor, pictures: Tensor, affine: Tensor | None = None) -> Tensor:
    """Pictures of strokes in their own frames, put on the canvas by the inverse transformer.

    `layout` `[n, 4]`, `pictures` `[n, height, width]` → `[n, height, width]`; `affine`
    `[n, 2, 3]` maps the canvas after that.
    """
    scale, shift_x, shift_y, turn = layout.unbind(-1)
    cos, sin = scale * torch.cos(turn), scale * torch.sin(turn)
    place = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], -1).unflatten(-1, (2, 3))
    if affine is not None:
        linear = affine[:, :, :2] @ place[:, :, :2]
        place = torch.cat([linear, affine[:, :, :2] @ place[:, :, 2:] + affine[:, :, 2:]], -1)
    (a, b), (c, d) = (row.unbind(-1) for row in place[:, :, :2].unbind(1))
    back = torch.stack([d, -b, -c, a], -1) / (a * d - b * c)[:, None]
    back = back.unflatten(-1, (2, 2))
    back = torch.cat([back, -back @ place[:, :, 2:]], -1)
    grid = F.affine_grid(back, [len(pictures), 1, *pictures.shape[1:]], align_corners=False)
    return F.grid_sample(pictures[:, None], grid, align_corners=False)[:, 0]

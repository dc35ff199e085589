"""The compositing module's canvas and the likelihood (Section 2.1, Eq. 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from doodcli.model.renderer import saturate

if TYPE_CHECKING:
    from collections.abc import Callable


def composite(total: Tensor, pen: Tensor) -> Tensor:
    """The canvas x_{≤t}: tanh of the sum of the strokes' pictures over the canvas's slope.

    `total` `[n, height, width]` is the sum of the pictures of the strokes so far, `pen` `[n, 3]`.
    """
    return saturate(total, pen[:, 2])


def uncomposite(canvas: Tensor, pen: Tensor) -> Tensor:
    """The sum of strokes whose composite is `canvas`: a given picture, ready to be drawn on."""
    return torch.atanh(canvas.clamp(0, 1 - 1e-6)) * pen[:, 2, None, None]


def laplace_log_density(images: Tensor, canvas: Tensor, scale: Tensor) -> Tensor:
    """log Laplace(x | canvas, diag σ) of Eq. 5, summed over pixels: `[n]`, in nats.

    `images`, `canvas` `[n, height, width]`; `scale` `[height, width]`.
    """
    apart = ((images - canvas).abs() / scale).sum((-2, -1))
    return -apart - torch.log(2 * scale).sum()


def normal_log_density(images: Tensor, canvas: Tensor, scale: Tensor) -> Tensor:
    """log N(x | canvas, diag σ²), summed over pixels: `[n]`, in nats; shapes as above."""
    apart = ((images - canvas) / scale).square().sum((-2, -1))
    return -0.5 * apart - torch.log(math.sqrt(2 * math.pi) * scale).sum()


class Likelihood(NamedTuple):
    """A family of likelihoods of a pixel around the canvas, with one scale for each pixel.

    Of all scales, `scale_of(mean of moment(image − canvas))` has the largest likelihood.
    """

    log_density: Callable[[Tensor, Tensor, Tensor], Tensor]
    moment: Callable[[Tensor], Tensor]
    scale_of: Callable[[Tensor], Tensor]
    centre: Callable[[Tensor], Tensor]
    """of `[n, pixels]`, the constant picture of greatest likelihood, `[pixels]`"""

    def best_scale(self, mean_moment: Tensor, floor: float | Tensor) -> Tensor:
        """The scale of greatest likelihood, bounded to [floor, 1] (Eq. 5)."""
        return self.scale_of(mean_moment).clamp_min(floor).clamp_max(1.0)


LIKELIHOODS = {
    "laplace": Likelihood(
        laplace_log_density, torch.abs, torch.Tensor.clone, lambda x: x.median(0).values
    ),
    "normal": Likelihood(normal_log_density, torch.square, torch.sqrt, lambda x: x.mean(0)),
}

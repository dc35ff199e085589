"""The compositing module's canvas and the likelihood (Section 2.1, Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor


def composite(total: Tensor, pen: Tensor) -> Tensor:
    """The canvas x_{≤t}: tanh of the sum of the strokes' pictures over the canvas's slope.

    `total` `[n, height, width]` is the sum of the pictures of the strokes so far, `pen` `[n, 3]`.
    """
    return torch.tanh(total / pen[:, 2, None, None])


def uncomposite(canvas: Tensor, pen: Tensor) -> Tensor:
    """The sum of strokes whose composite is `canvas`: a given picture, ready to be drawn on."""
    return torch.atanh(canvas.clamp(0, 1 - 1e-6)) * pen[:, 2, None, None]


def laplace_log_density(images: Tensor, canvas: Tensor, scale: Tensor) -> Tensor:
    """log Laplace(x | canvas, diag σ) of Eq. 5, summed over pixels: `[n]`, in nats.

    `images`, `canvas` `[n, height, width]`; `scale` `[height, width]`.
    """
    apart = ((images - canvas).abs() / scale).sum((-2, -1))
    return -apart - torch.log(2 * scale).sum()

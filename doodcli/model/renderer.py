"""The rendering module: a differentiable pen (Section 2.1; Appendix B.1).

The ink of a curve c at a pixel p is Σ_s exp(−‖p − c_s‖²/2σ²) over evenly spaced samples s.  The
Gaussian is separable, so the whole picture is one product of two thin matrices, G_yᵀ G_x, of
shape `[samples, height]` and `[samples, width]`; no `[height, width, samples]` tensor exists.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

FAINT = 1e-4  # a stroke whose largest pixel is below this lies off the canvas: not normalised


@functools.cache
def bernstein(points: int, samples: int) -> Tensor:
    """What weighs control points at evenly spaced times: float64 `[samples, points]`."""
    time = torch.linspace(0, 1, samples, dtype=torch.float64)[:, None]
    power = torch.arange(points, dtype=torch.float64)
    choose = torch.tensor([math.comb(points - 1, k) for k in range(points)], dtype=torch.float64)
    return choose * time**power * (1 - time) ** (points - 1 - power)


def bezier(points: Tensor, samples: int | Tensor) -> Tensor:
    """Points of Bézier curves at evenly spaced times: `[..., points, 2]` → `[..., samples, 2]`.

    `samples` is their number, or the :func:`bernstein` of them where that is at hand.
    """
    basis = bernstein(points.shape[-2], samples) if isinstance(samples, int) else samples
    return basis.to(points) @ points


def pixel_centres(resolution: int, like: Tensor) -> Tensor:
    """Coordinates of the pixels' centres along one side of the canvas [−1, 1]: `[resolution]`."""
    return (torch.arange(resolution, device=like.device, dtype=like.dtype) + 0.5) * (
        2 / resolution
    ) - 1


def ink(curve: Tensor, width: Tensor, resolution: int) -> Tensor:
    """Ink of curves before normalisation: Σ_s exp(−‖p − c_s‖²/2σ²).

    `curve` `[n, samples, 2]` in canvas coordinates, `width` σ `[n]` in half canvases →
    `[n, resolution, resolution]`, rows top to bottom.
    """
    # Powers of 2, because exp is ten times slower than exp2 in some builds of PyTorch for the CPU;
    # and scaled before they are taken apart, which spares a pass over the thin matrices.
    sharpness = math.sqrt(math.log2(math.e)) * torch.rsqrt(2 * width * width)[:, None]
    samples = curve.shape[1]
    position = curve.transpose(1, 2).flatten(1) * sharpness
    centre = pixel_centres(resolution, curve) * sharpness
    apart = position[..., None] - centre[:, None]
    thin = torch.exp2(-(apart * apart)).unflatten(1, (2, samples))
    return torch.bmm(thin[:, 1].transpose(1, 2), thin[:, 0])


def normalise(picture: Tensor) -> Tensor:
    """Ink divided by its largest pixel, which is held fixed; faint pictures are left alone."""
    largest = picture.detach().amax((-2, -1), keepdim=True)
    return picture / torch.where(largest > FAINT, largest, torch.ones_like(largest))


def saturate(picture: Tensor, slope: Tensor) -> Tensor:
    """tanh(picture / slope) of pictures `[n, ...]` with a slope each, `[n]`.

    As 2 sigmoid(2 x) − 1, which is tanh to rounding: the sigmoid is vectorised in every build of
    PyTorch for the CPU, tanh is not and takes four times as long.
    """
    steepness = (2 / slope).view(-1, *[1] * (picture.dim() - 1))
    return 2 * torch.sigmoid(picture * steepness) - 1


def stroke_picture(points: Tensor, pen: Tensor, samples: int | Tensor, resolution: int) -> Tensor:
    """The rendered stroke x_t = δR(s̃_t), in [0, 1): tanh(normalised ink / slope).

    `points` `[n, points, 2]` in canvas coordinates, `pen` `[n, 3]`, `samples` as of :func:`bezier`
    → `[n, resolution, resolution]`.
    """
    picture = normalise(ink(bezier(points, samples), pen[:, 0], resolution))
    return saturate(picture, pen[:, 1])

"""Importance weighted bounds of log p(x) (IWAE, Burda et al. 2015; Section 3.1)."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

ROWS = {"cpu": 2048, "cuda": 16_384}
"""Drawings that are made at once, by the kind of device: bounds the memory, changes nothing but
rounding."""


class Estimate(NamedTuple):
    """Per image, `[n]`."""

    iwae: Tensor
    """nats, a lower bound of log p(x)"""
    elbo: Tensor
    """nats, the mean log weight"""
    strokes: Tensor
    """mean over samples"""
    error: Tensor
    """mean absolute error of a pixel, mean over samples"""


def iwae(log_weight: Tensor) -> Tensor:
    """log of the mean weight, stably: `[samples, batch]` → `[batch]`, in nats."""
    return torch.logsumexp(log_weight, 0) - math.log(len(log_weight))


class Weighed(NamedTuple):
    """Some samples of some images, `[count, n]` each."""

    log_weight: Tensor
    """log p(x, z) − log q(z), in nats"""
    strokes: Tensor
    error: Tensor
    """mean absolute error of a pixel"""


class Weigh(Protocol):
    """Draws and weighs samples."""

    def __call__(self, rows: slice, first: int, count: int) -> Weighed:
        """Samples number `first` to `first + count` of the images `rows`."""
        ...


@torch.no_grad()
def bounds(weigh: Weigh, images: int, samples: int, device: str = "cpu") -> Estimate:
    """Bounds of so many images by so many samples each, as many at a time as there is room for."""
    rows = ROWS.get(device, ROWS["cpu"])
    at_once = max(1, rows // samples)
    most = min(samples, rows)
    parts = []
    for start in range(0, images, at_once):
        some = slice(start, min(start + at_once, images))
        chunks = [
            torch.stack([*weigh(some, first, min(most, samples - first))])
            for first in range(0, samples, most)
        ]
        weight, strokes, error = torch.cat(chunks, 1)
        parts.append(torch.stack([iwae(weight), weight.mean(0), strokes.mean(0), error.mean(0)]))
    return Estimate(*torch.cat(parts, 1).cpu())

"""Log marginal likelihood by importance weighting (IWAE, Burda et al. 2015; Section 3.1)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from doodcli.model.canvas import laplace_log_density
from doodcli.model.model import as_input
from doodcli.model.noise import noise_for

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel

VERSION = 1
"""Raised when the same settings would give other numbers."""

ROWS = 2048
"""Drawings that are made at once: bounds the memory, changes nothing but rounding."""


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


@torch.no_grad()
def estimate(
    model: DrawingModel, images: Tensor, index: Tensor, samples: int, seed: int = 0
) -> Estimate:
    """Bounds of log p(x) for `images` `[n, R, R]` (uint8 or [0, 1]), named by `index` `[n]`.

    The noise is a function of (seed, image, sample); every image is encoded once for all its
    samples that are made at a time.
    """
    device = model.scale.device
    at_once = max(1, ROWS // samples)
    most = min(samples, ROWS)
    parts = []
    for some, which in zip(images.split(at_once), index.split(at_once), strict=True):
        targets, names = as_input(some.to(device)), which.to(device)
        chunks = []
        for first in range(0, samples, most):
            count = min(most, samples - first)
            scored = model.score(targets, noise_for(names, count, seed, first=first))
            canvas = scored.canvas.unflatten(0, (count, len(targets)))
            error = (targets - canvas).abs().mean((-2, -1))
            chunks.append(torch.stack([scored.log_weight, scored.drawing.stroke_count, error]))
        weight, strokes, error = torch.cat(chunks, 1)
        parts.append(torch.stack([iwae(weight), weight.mean(0), strokes.mean(0), error.mean(0)]))
    return Estimate(*torch.cat(parts, 1).cpu())


def likelihood(run: Run, target: ImageSet, samples: int, seed: int, device: str) -> pd.DataFrame:
    """One row: what `run` gives to `target`, with everything that made the number."""
    began = time.monotonic()
    found = estimate(run.model(device), target.images, target.index, samples, seed)
    bound = run.settings.model.pen != "amortised"
    row = {
        **run.provenance(),
        **_of_target(target),
        "samples": samples,
        "evaluation_seed": seed,
        **_numbers(found.iwae),
        "elbo_nats": found.elbo.mean().item(),
        "mean_abs_error": found.error.mean().item(),
        "mean_strokes": found.strokes.mean().item(),
        "kind": "bound" if bound else "not a bound",
        "device": device,
        "seconds": round(time.monotonic() - began, 1),
    }
    return pd.DataFrame([row])


def blank(source: ImageSet, target: ImageSet) -> pd.DataFrame:
    """The `blank` row: no strokes, but each pixel's median and scale as `source` has them.

    With a scale for each pixel this knows nothing of strokes and still has thousands of nats on
    sparse images, so no number should be read without it.
    """
    images = as_input(source.images).flatten(1)
    median = images.median(0).values
    scale = (images - median).abs().mean(0).clamp(0.01, 1.0)
    side = source.images.shape[1:]
    median, scale = median.unflatten(0, side), scale.unflatten(0, side)
    targets = as_input(target.images)
    nats = laplace_log_density(targets, median, scale)
    row = {
        "run": "blank", "model": "blank", "source": source.name,
        "source_fingerprint": source.fingerprint, **_of_target(target), **_numbers(nats),
        "elbo_nats": nats.mean().item(),
        "mean_abs_error": (targets - median).abs().mean().item(), "mean_strokes": 0.0,
        "kind": "exact",
    }  # fmt: skip
    return pd.DataFrame([row])


def _of_target(target: ImageSet) -> dict[str, object]:
    return {
        "target": target.name,
        "part": target.part,
        "target_fingerprint": target.fingerprint,
        "remark": target.remark,
        "images": len(target.images),
        "resolution": target.images.shape[-1],
    }


def _numbers(nats: Tensor) -> dict[str, float]:
    return {
        "iwae_nats": nats.mean().item(),
        "iwae_se": nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else math.nan,
    }

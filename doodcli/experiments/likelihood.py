"""Log marginal likelihoods of runs and of the page on which nothing is drawn (Section 3.1)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from doodcli.devices import device_name
from doodcli.experiments import semi_amortised
from doodcli.experiments.importance import ROWS, Estimate, Weighed, bounds
from doodcli.model.canvas import LIKELIHOODS, Likelihood
from doodcli.model.model import as_input
from doodcli.model.noise import noise_for
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel
    from doodcli.settings import ModelSettings

VERSION = 1
"""Raised when the same settings would give other numbers."""


def estimate(
    model: DrawingModel, images: Tensor, index: Tensor, samples: int, seed: int = 0
) -> Estimate:
    """Bounds of log p(x) for `images` `[n, R, R]` (uint8 or [0, 1]), named by `index` `[n]`.

    The noise is a function of (seed, image, sample); every image is encoded once for all its
    samples that are made at a time.
    """
    device = model.scale.device

    def weigh(rows: slice, first: int, count: int) -> Weighed:
        targets = as_input(images[rows].to(device))
        scored = model.score(targets, noise_for(index[rows].to(device), count, seed, first=first))
        canvas = scored.canvas.unflatten(0, (count, len(targets)))
        error = (targets - canvas).abs().mean((-2, -1))
        return Weighed(scored.log_weight, scored.drawing.stroke_count, error)

    return bounds(weigh, len(images), samples, device.type)


class Effort(NamedTuple):
    """How tight a bound is to be."""

    samples: int = 200
    """of an image's posterior"""
    refine: int = 0
    """gradient steps by which each image gets a posterior of its own; 0: the amortised one"""
    scale_images: int = 0
    """training images from whose own posteriors the likelihood's scales are learned anew"""
    seed: int = 0


def likelihoods(
    run: Run, source: ImageSet, targets: list[ImageSet], effort: Effort, device: str
) -> pd.DataFrame:
    """Rows of each target: what `run` gives to it, and the blank page of its `source`.

    With steps of refinement a row of refined posteriors stands beside that of the amortised one,
    and with images for the scales another.
    """
    model = run.model(device)
    refined = effort._replace(scale_images=0)
    efforts = dict.fromkeys((refined._replace(refine=0), refined), model)
    if effort.scale_images:
        efforts[effort] = run.model(device)
        efforts[effort].scale.copy_(learned_scale(model, source, effort))
    page = BlankPage.fitted(source, run.settings.model)
    rows = []
    for target in targets:
        rows += [row_of_run(run, model, target, one) for one, model in efforts.items()]
        rows.append(page.row(target))
    whole = ("samples", "images", "steps", "refine_steps", "scale_images")
    return pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64"))


def learned_scale(model: DrawingModel, source: ImageSet, effort: Effort) -> Tensor:
    """Scales `[R, R]` for posteriors of an image's own, learned on some training images."""
    some = source.some(effort.scale_images, effort.seed)
    return semi_amortised.learned_scale(model, some.images, some.index, effort.refine, effort.seed)


def row_of_run(
    run: Run, model: DrawingModel, target: ImageSet, effort: Effort
) -> dict[str, object]:
    """What a run gives to a target, with everything that made the number.

    A pen that is read off the target makes the weights no bound: such numbers have columns of
    their own, so that nobody compares them with bounds.
    """
    began = time.monotonic()
    samples, steps, scale_images, seed = effort
    found = (
        semi_amortised.estimate(model, target.images, target.index, samples, seed, steps)
        if steps
        else estimate(model, target.images, target.index, samples, seed)
    )
    bound = run.settings.model.pen != "amortised"
    numbers = {**_numbers(found.iwae, model.scale.numel()), "elbo_nats": found.elbo.mean().item()}
    return {
        **run.provenance(),
        **_of_target(target),
        "samples": samples,
        "refine_steps": steps,
        "scale_images": scale_images,
        "evaluation_seed": seed,
        "kind": "bound" if bound else "not a bound",
        **{name if bound else f"leaky_{name}": value for name, value in numbers.items()},
        "mean_abs_error": found.error.mean().item(),
        "mean_strokes": found.strokes.mean().item(),
        "device": device_name(str(model.scale.device)),
        "seconds": round(time.monotonic() - began, 1),
    }


class BlankPage(NamedTuple):
    """The `blank` row: no strokes, but each pixel's centre and scale as the source has them.

    With a scale for each pixel this knows nothing of strokes and still has thousands of nats on
    sparse images, so no number should be read without it.
    """

    source: ImageSet
    likelihood: Likelihood
    centre: Tensor
    """`[R, R]`, for a Laplace likelihood the median"""
    scale: Tensor
    """`[R, R]`, that of greatest likelihood, at least the model's floor"""

    @staticmethod
    def fitted(source: ImageSet, settings: ModelSettings) -> BlankPage:
        """The page of greatest likelihood on the source; some pixels at a time, for the memory."""
        family = LIKELIHOODS[settings.likelihood]
        parts = []
        for pixels in source.images.flatten(1).split(100, 1):
            values = as_input(pixels)
            centre = family.centre(values)
            mean_moment = family.moment(values - centre).mean(0)
            parts.append(
                torch.stack([centre, family.best_scale(mean_moment, settings.scale_floor)])
            )
        centre, scale = torch.cat(parts, 1).unflatten(1, source.images.shape[1:])
        return BlankPage(source, family, centre, scale)

    def row(self, target: ImageSet) -> dict[str, object]:
        """What the page gives to a target; exact, for it has no latents."""
        nats, errors = [], []
        for some in target.images.split(ROWS["cpu"]):
            images = as_input(some)
            nats.append(self.likelihood.log_density(images, self.centre, self.scale))
            errors.append((images - self.centre).abs().mean((1, 2)))
        found = torch.cat(nats)
        return {
            "run": "blank",
            "model": "blank",
            "source": self.source.name,
            "source_fingerprint": self.source.fingerprint,
            **_of_target(target),
            "kind": "exact",
            **_numbers(found, self.scale.numel()),
            "elbo_nats": found.mean().item(),
            "mean_abs_error": torch.cat(errors).mean().item(),
            "mean_strokes": 0.0,
            "version": __version__,
            "git": git_version(),
        }


def _of_target(target: ImageSet) -> dict[str, object]:
    return {
        "target": target.name,
        "part": target.part,
        "target_fingerprint": target.fingerprint,
        "remark": target.remark,
        "images": len(target.images),
        "resolution": target.images.shape[-1],
    }


def _numbers(nats: Tensor, pixels: int) -> dict[str, float]:
    return {
        "iwae_nats": nats.mean().item(),
        "iwae_se": nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else math.nan,
        "nats_per_pixel": nats.mean().item() / pixels,
    }

"""Bounds of log p(x) with a posterior of each image's own: semi-amortised inference.

The posterior of Section 2.2 is what a network can say of an image in one pass.  How far that is
from the best of its kind is the amortisation gap (Cremer et al. 2018, "Inference suboptimality in
variational autoencoders").  Here it is only where each image starts: Gaussians around its best
parse climb the image's own ELBO (Kim et al. 2018, "Semi-amortized variational autoencoders").  The
model is not touched, so the bound is one of the same log p(x), and what it gains was the
posterior's fault alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from doodcli.experiments.importance import Estimate, Weighed, bounds
from doodcli.experiments.parses import ParseSettings, parse
from doodcli.model.drawing import Drawing
from doodcli.model.mixtures import Gaussian
from doodcli.model.model import as_input
from doodcli.model.noise import Draw, Noise, noise_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doodcli.model.model import DrawingModel

VERSION = 1
"""Raised when the same settings would give other numbers."""

IMAGES = 128
"""Images whose posteriors are fitted at once: bounds the memory, changes nothing but rounding."""

CANDIDATES, PARSE_RATE = 20, 0.03
"""Samples of the amortised posterior of which the best is where an image starts, and Adam's rate
for its parse."""

RATE, DEVIATION = 0.04, 0.003
"""Adam's rate for a posterior at first, falling to 0, and the deviations with which it starts.  On
validation images of KMNIST there was little between rates of .02, .04 and .08 and deviations of
.001 to .015; with .05, a hundred steps go by before the ELBO is where the parse was."""

SCALE_SAMPLES = 4
"""Drawings of a training image from which the scales are learned."""

FITTING, DRAWING = (5, 6), (7, 8)
"""Purposes of the noise of marks and of pens (see noise.py): the bound's samples are not those that
were climbed on."""


class OwnPosterior(NamedTuple):
    """q(z) of each of n images: independent Gaussians in unconstrained coordinates.

    Which strokes are there is that of `parse` and no choice: what this leaves out of p(x) makes
    the bound lower, not wrong.
    """

    parse: Drawing
    """`[n, ...]`; a pen that is no latent stays as it is here"""
    marks: Gaussian
    """`[n, strokes, 4 + part_size]`, of layouts and parts"""
    pen: Gaussian
    """`[n, 3]`, read only where the pen is latent"""

    def sample(
        self, model: DrawingModel, noise: Noise, purposes: tuple[int, int]
    ) -> tuple[Drawing, Tensor]:
        """Drawings `[samples, n, ...]` and their log q `[samples, n]`, in nats."""
        strokes, size = self.marks.mean.shape[-2:]
        normal, of_pen = noise.draw(
            [
                Draw(strokes * size, normal=True, purpose=purposes[0]),
                Draw(3, normal=True, purpose=purposes[1]),
            ]
        )
        free = self.marks.sample(normal.unflatten(-1, (strokes, size)))
        present = self.parse.present.expand(*noise.shape, strokes)
        log_q = (present * self.marks.log_density(free)).sum(-1)
        pen = self.parse.pen.expand(*noise.shape, 3)
        if model.settings.pen == "latent":
            pen = self.pen.sample(of_pen)
            log_q = log_q + self.pen.log_density(pen)
            pen = model.pen_interval.constrain(pen)
        layout, parts = free[..., :4], free[..., 4:]
        shape = self.parse.strokes.shape[2:]
        return Drawing(
            present, model.interval.constrain(layout), parts.unflatten(-1, shape), pen
        ), log_q


@torch.enable_grad()
def fit(
    model: DrawingModel, images: Tensor, index: Tensor, steps: int, seed: int = 0
) -> OwnPosterior:
    """A posterior for each of the images `[n, R, R]` in [0, 1], named by `index` `[n]`.

    The best of some parses climbs log p(x | z) for so many steps, and then the Gaussians around
    it their ELBO, one sample a step.  Images do not hear of each other.
    """
    settings = ParseSettings(1, CANDIDATES, steps, PARSE_RATE)
    found = parse(model, images, index, settings, seed).map(lambda part: part[0])
    marks = torch.cat([model.interval.free(found.layout), found.strokes.flatten(2)], -1)
    pen = model.free_pen(found.pen)
    means = [part.clone().requires_grad_() for part in (marks, pen)]
    scales = [torch.full_like(part, math.log(DEVIATION)).requires_grad_() for part in (marks, pen)]

    def present() -> OwnPosterior:
        return OwnPosterior(
            found,
            *(
                Gaussian(mean, scale.exp(), torch.zeros_like(mean))
                for mean, scale in zip(means, scales, strict=True)
            ),
        )

    latent = slice(None) if model.settings.pen == "latent" else slice(1)
    moving = [*means[latent], *scales[latent]]
    adam = torch.optim.Adam(moving, betas=(0.9, 0.99))
    for step in range(steps):
        drawing, log_q = present().sample(model, noise_for(index, 1, seed, first=step), FITTING)
        elbo = model.log_joint(images, drawing) - log_q
        # Of the posterior alone: the model's weights get no gradients.
        gradients = torch.autograd.grad(-elbo.sum(), moving)
        for part, gradient in zip(moving, gradients, strict=True):
            part.grad = gradient
        adam.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        adam.step()
    with torch.no_grad():
        return present()


def estimate(
    model: DrawingModel, images: Tensor, index: Tensor, samples: int, seed: int, steps: int
) -> Estimate:
    """As :func:`doodcli.experiments.likelihood.estimate`, by posteriors of so many steps."""
    parts = [
        bounds(one, len(one.targets), samples, one.targets.device.type)
        for one in _proposals(model, images, index, steps, seed)
    ]
    return Estimate(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Proposal(NamedTuple):
    """Weighs samples of the images' own posteriors."""

    model: DrawingModel
    targets: Tensor
    names: Tensor
    own: OwnPosterior
    seed: int

    def __call__(self, rows: slice, first: int, count: int) -> Weighed:
        """Samples number `first` to `first + count` of some of the images."""
        targets = self.targets[rows]
        drawing, log_q, canvas = self.drawn(rows, first, count)
        # log_joint would draw it again.
        log_joint = self.model.log_prior(drawing) + self.model.log_likelihood(targets, canvas)
        error = (targets - canvas).abs().mean((-2, -1))
        return Weighed(log_joint - log_q, drawing.stroke_count, error)

    def drawn(self, rows: slice, first: int, count: int) -> tuple[Drawing, Tensor, Tensor]:
        """Those samples, their log q, and their canvases `[count, n, R, R]`."""
        own = OwnPosterior(
            self.own.parse.map(lambda part: part[rows]),
            *(Gaussian(*(part[rows] for part in q)) for q in (self.own.marks, self.own.pen)),
        )
        noise = noise_for(self.names[rows], count, self.seed, first=first)
        drawing, log_q = own.sample(self.model, noise, DRAWING)
        return drawing, log_q, self.model.render(drawing)


def _proposals(
    model: DrawingModel, images: Tensor, index: Tensor, steps: int, seed: int
) -> Iterator[Proposal]:
    """Posteriors of images uint8 or in [0, 1], some at a time."""
    for some, which in zip(images.split(IMAGES), index.split(IMAGES), strict=True):
        targets = as_input(some.to(model.scale.device))
        names = which.to(targets.device)
        yield Proposal(model, targets, names, fit(model, targets, names, steps, seed), seed)


def learned_scale(
    model: DrawingModel, images: Tensor, index: Tensor, steps: int, seed: int = 0
) -> Tensor:
    """The scale of each pixel, `[R, R]`, that is best for such posteriors of training images.

    The model learned its scales in closed form from the errors of amortised drawings, and they are
    as wide as those were: where a drawing is closer than they expect, it is worth little more.
    This is that closed form once more, over `SCALE_SAMPLES` drawings of each image's own posterior.
    """
    moments = []
    for one in _proposals(model, images, index, steps, seed):
        with torch.no_grad():
            _, _, canvas = one.drawn(slice(None), 0, SCALE_SAMPLES)
            moments.append(model.likelihood.moment(one.targets - canvas).mean(0))
    return model.likelihood.best_scale(torch.cat(moments).mean(0), model.settings.scale_floor)

"""Good parses of pictures: the best of many posterior samples, then refined by gradient."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from doodcli.errors import InputError
from doodcli.model.drawing import Drawing
from doodcli.model.model import as_input
from doodcli.model.prior import PEN

if TYPE_CHECKING:
    from doodcli.model.model import DrawingModel

ROWS = 1024
"""Drawings that are made at once: bounds the memory, changes nothing but rounding."""

MEMORY = (0.8, 0.95)
"""Adam's: shorter than usual, for so few steps."""


@dataclass(frozen=True)
class ParseSettings:
    """How a picture is parsed."""

    count: int = dataclasses.field(default=4, metadata={"help": "parses of each picture"})
    candidates: int = dataclasses.field(
        default=10, metadata={"help": "posterior samples of which a parse is the best"}
    )
    refine_steps: int = dataclasses.field(
        default=80, metadata={"help": "gradient steps by which a parse is refined; 0: none"}
    )
    refine_rate: float = dataclasses.field(
        default=0.03, metadata={"help": "Adam's rate at the first of these, falling to 0"}
    )


def check(settings: ParseSettings) -> ParseSettings:
    """The settings, if pictures can be parsed with them; else InputError."""
    least = {"count": 1, "candidates": 1, "refine_steps": 0, "refine_rate": 1e-6}
    for name, smallest in least.items():
        value = getattr(settings, name)
        if value < smallest:
            raise InputError(f"parse.{name}={value}: must be at least {smallest:g}")
    return settings


def parse(
    model: DrawingModel, images: Tensor, index: Tensor, settings: ParseSettings, seed: int = 0
) -> Drawing:
    """Several parses of each image, `[count, n, ...]`.

    Each is the one with the greatest log p(x, z) of samples of its own, then refined.
    `images` `[n, R, R]` in [0, 1] or uint8; `index` int64 `[n]` names them for their noise.
    """
    images = as_input(images)
    at_once = max(1, ROWS // (settings.count * settings.candidates))
    parts = []
    for some, names in zip(images.split(at_once), index.split(at_once), strict=True):
        parts.append(refine(model, some, _best(model, some, names, settings, seed), settings))
    return Drawing(*(torch.cat(same, 1) for same in zip(*parts, strict=True)))


@torch.no_grad()
def _best(
    model: DrawingModel, images: Tensor, index: Tensor, settings: ParseSettings, seed: int
) -> Drawing:
    """The best of each block of samples, `[count, n, ...]`."""
    count, candidates = settings.count, settings.candidates
    drawing, _ = model.infer(images, count * candidates, seed, index)
    joint = model.log_joint(images, drawing).unflatten(0, (count, candidates))
    first = torch.arange(count, device=images.device)[:, None] * candidates
    rows, columns = first + joint.argmax(1), torch.arange(len(images), device=images.device)
    return drawing.map(lambda part: part[rows, columns])


def refine(
    model: DrawingModel, images: Tensor, drawing: Drawing, settings: ParseSettings
) -> Drawing:
    """Parses `[count, n, ...]` of images `[n, R, R]` whose layouts, strokes and pens fit better.

    Adam climbs log p(x | z) in unconstrained coordinates: log p(z), which is small beside it and
    needs the networks at every step, decides in the end.  A parse whose log p(x, z) did not grow
    stays as it was, and so does a pen that is no latent.
    """
    if not settings.refine_steps:
        return drawing
    free = (model.interval.free(drawing.layout), drawing.strokes, PEN.free(drawing.pen))
    parts = [part.clone().requires_grad_() for part in free]

    def present() -> Drawing:
        layout, strokes, pen = parts
        return drawing._replace(
            layout=model.interval.constrain(layout), strokes=strokes, pen=PEN.constrain(pen)
        )

    moving = parts if model.settings.pen == "latent" else parts[:2]
    optimiser = torch.optim.Adam(moving, betas=MEMORY)
    for step in range(settings.refine_steps):
        left = math.cos(math.pi / 2 * step / settings.refine_steps)
        optimiser.param_groups[0]["lr"] = settings.refine_rate * left
        optimiser.zero_grad()
        loss = -model.log_likelihood(images, model.render(present())).sum()
        loss.backward(inputs=moving)
        optimiser.step()
    with torch.no_grad():
        refined = present().map(torch.Tensor.detach)
        better = model.log_joint(images, refined) > model.log_joint(images, drawing)
        return Drawing(
            *(
                torch.where(better.reshape(better.shape + (1,) * (new.dim() - 2)), new, old)
                for new, old in zip(refined, drawing, strict=True)
            )
        )

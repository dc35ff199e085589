"""From a picture to strokes: the best of several parses, refined by gradient (Section 2.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from doodcli.errors import InputError
from doodcli.experiments.curves import score
from doodcli.model.drawing import Drawing
from doodcli.model.model import as_input
from doodcli.model.prior import PEN
from doodcli.variants import VARIANTS, slots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from doodcli.data.pages import Pages
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel
    from doodcli.settings import ModelSettings

VERSION = 1
"""Raised when the same settings would give other drawings or numbers."""

ROWS, PICTURES = 2048, 128
"""Drawings that are parsed, and pictures that are refined, at once: bound the memory, and change
nothing but rounding."""

RATE = 0.04
"""of Adam at the first step of a refinement, falling to 0: half frames of a control point.  Of .01,
.02, .04 and .08 the best on validation images of MNIST and Omniglot, at 50 and at 200 steps."""


class Effort(NamedTuple):
    """How hard to look for the strokes of a picture."""

    samples: int = 20
    """parses of each picture, of which the best is kept"""
    refine: int = 0
    """gradient steps on it"""
    seed: int = 0


class Traces(NamedTuple):
    """What was found in n pictures; on the CPU."""

    drawing: Drawing
    """`[n, ...]`"""
    parsed: Tensor
    """`[n]`, log p(x, z) of the best parse, in nats"""
    log_joint: Tensor
    """`[n]`, log p(x, z) of what was kept: never below `parsed`"""
    error: Tensor
    """`[n]`, mean absolute error of a pixel"""


def with_curves() -> list[str]:
    """The models whose strokes are curves."""
    wanted = ("points", "spline")
    return [
        name for name in VARIANTS
        if (slots(name)["model.latent"], slots(name)["model.decoder"]) == wanted
    ]  # fmt: skip


def why_no_curves(model: ModelSettings) -> str:
    """Why the parts of a model are no curves that could be drawn again; "" if they are."""
    if model.latent == "code":
        return f"{model.name} has no strokes, its parts are appearance codes"
    if model.decoder != "spline":
        return f"the control points of {model.name} are a code for its network and lie on no curve"
    return ""


def refuse_without_curves(run: Run) -> None:
    """InputError for a run whose parts are no curves that could be drawn again."""
    if why := why_no_curves(run.settings.model):
        others = f"trace with a run of {', '.join(with_curves())}"
        raise InputError(f"{run.path}: {why}; {others}")


def trace(
    model: DrawingModel, images: Tensor, index: Tensor, effort: Effort,
    tell: Callable[[str], None] = lambda _: None,
) -> Traces:  # fmt: skip
    """The strokes of images uint8 `[n, R, R]`, named by `index` `[n]` for their noise.

    Of each image the parse of highest log p(x, z) among the samples, then refined.  An image
    without ink has no strokes.  `tell` hears how many are done.
    """
    device = model.scale.device
    at_once = max(1, min(ROWS // effort.samples, PICTURES))
    parts = []
    for some, which in zip(images.split(at_once), index.split(at_once), strict=True):
        targets = as_input(some.to(device))
        drawing, parsed = best_parse(model, targets, which.to(device), effort)
        kept, log_joint = refine(model, targets, drawing, parsed, effort.refine)
        with torch.no_grad():
            error = (targets - model.render(kept)).abs().mean((1, 2))
        parts.append(Traces(kept.map(Tensor.cpu), parsed.cpu(), log_joint.cpu(), error.cpu()))
        tell(f"{sum(len(part.error) for part in parts)} of {len(images)} pictures")
    drawings, *numbers = zip(*parts, strict=True)
    return Traces(
        Drawing(*(torch.cat(field) for field in zip(*drawings, strict=True))),
        *(torch.cat(part) for part in numbers),
    )


@torch.no_grad()
def best_parse(
    model: DrawingModel, images: Tensor, index: Tensor, effort: Effort
) -> tuple[Drawing, Tensor]:
    """Of several parses of each image the one of highest log p(x, z), and that: `[n]`."""
    drawings, _ = model.infer(images, effort.samples, effort.seed, index)
    inked = (images.amax((1, 2)) > 0)[:, None]
    drawings = drawings._replace(present=drawings.present * inked)
    log_joint, best = model.log_joint(images, drawings).max(0)
    rows = torch.arange(len(images), device=images.device)
    return drawings.map(lambda part: part[best, rows]), log_joint


def refine(
    model: DrawingModel, images: Tensor, drawing: Drawing, log_joint: Tensor, steps: int
) -> tuple[Drawing, Tensor]:
    """Drawings `[n, ...]` improved by Adam on log p(x, z), and their log p(x, z), `[n]`.

    Layouts, control points and a latent pen move, in unconstrained coordinates; which strokes are
    there does not.  The likelihood pulls and the prior holds.  Of each image the best drawing on
    the way is kept, the first one (whose `log_joint` is given) included.
    """
    if not steps:
        return drawing, log_joint
    best = drawing
    free = [model.interval.free(drawing.layout), drawing.strokes, PEN.free(drawing.pen)]
    moving = [part.clone().requires_grad_() for part in free]
    pen_moves = model.settings.pen == "latent"
    parameters = moving if pen_moves else moving[:2]
    adam = torch.optim.Adam(parameters, lr=RATE)
    for step in range(steps + 1):
        layout, strokes, pen = moving
        new = Drawing(
            drawing.present,
            model.interval.constrain(layout),
            strokes,
            PEN.constrain(pen) if pen_moves else drawing.pen,
        )
        value = model.log_joint(images, new.map(lambda part: part[None]))[0]
        better = value.detach() > log_joint
        log_joint = torch.where(better, value.detach(), log_joint)
        best = Drawing(*(_chosen(better, *both) for both in zip(new, best, strict=True)))
        if step < steps:
            # Of the drawings alone: the model's weights get no gradients.
            gradients = torch.autograd.grad(-value.sum(), parameters)
            for part, gradient in zip(parameters, gradients, strict=True):
                part.grad = gradient
            adam.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
            adam.step()
    return best, log_joint


def _chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Rows of one where `which` `[n]` says so, else of the other."""
    return torch.where(which.reshape(-1, *[1] * (one.dim() - 1)), one.detach(), other)


def table(
    run: Run, pages: Pages, traces: Traces, overlaps: Sequence[float], effort: Effort
) -> pd.DataFrame:
    """A row a picture, with its scores where the true strokes are known.

    `overlaps` says how well the paths that were written cover each rendering (see `report.paths`).
    """
    # An amortised pen has no prior: such a sum is of another kind.
    leaky = "leaky_" if run.settings.model.pen == "amortised" else ""
    rows = [
        {
            **run.provenance(),
            **facts,
            "width": sheet.width,
            "height": sheet.height,
            "samples": effort.samples,
            "refine_steps": effort.refine,
            "evaluation_seed": effort.seed,
            "strokes": int(strokes),
            f"{leaky}parsed_log_joint_nats": parsed,
            f"{leaky}log_joint_nats": kept,
            "mean_abs_error": error,
            "svg_overlap": overlap,
        }
        for facts, sheet, strokes, parsed, kept, error, overlap in zip(
            pages.facts, pages.sheets, traces.drawing.stroke_count.tolist(),
            traces.parsed.tolist(), traces.log_joint.tolist(), traces.error.tolist(), overlaps,
            strict=True,
        )
    ]  # fmt: skip
    if pages.truth is not None:
        for k, row in enumerate(rows):
            found, true = (part.map(lambda x, k=k: x[k]) for part in (traces.drawing, pages.truth))
            row.update(score(found, true)._asdict())
    return pd.DataFrame(rows)


def means(scored: pd.DataFrame) -> pd.DataFrame:
    """What a run made of the pictures whose true strokes are known, a row a run and its effort.

    `found` is the share of the true strokes that were matched, `needless` that of the drawn ones
    that were not; distances and order are means over the pictures that have them.
    """
    known = scored[scored["true_strokes"].notna()]
    groups = known.groupby(["run", "refine_steps"], sort=False)
    rows = [
        {
            "model": part.model.iloc[0], "source": part.source.iloc[0],
            "refine_steps": steps, "images": len(part),
            "true_strokes": part.true_strokes.mean(), "strokes": part.strokes.mean(),
            "found": part.matched_strokes.sum() / part.true_strokes.sum(),
            "needless": 1 - part.matched_strokes.sum() / max(part.strokes.sum(), 1),
            "chamfer_pixels": part.chamfer_pixels.mean(),
            "matched_chamfer_pixels": part.matched_chamfer_pixels.mean(),
            "order_agreement": part.order_agreement.mean(),
        }
        for (_, steps), part in groups
    ]  # fmt: skip
    return pd.DataFrame(rows)

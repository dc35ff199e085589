"""Step-by-step reconstructions (Figs. 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from doodcli.experiments import semi_amortised
from doodcli.model.model import as_input
from doodcli.model.noise import noise_for

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.drawing import Drawing
    from doodcli.model.model import DrawingModel


class Reconstruction(NamedTuple):
    """What a run made of a few images."""

    label: str
    """the model and what it was trained on"""
    dataset: str
    """what it draws"""
    targets: Tensor
    """`[n, R, R]` in [0, 1]"""
    drawing: Drawing
    """`[n, ...]`"""
    canvases: Tensor
    """`[strokes, n, R, R]`, the canvas after each stroke"""
    strokes: Tensor
    """`[strokes, n, R, R]`, each stroke alone"""
    table: pd.DataFrame
    """a row an image"""


@torch.no_grad()
def reconstruct(
    run: Run, images: ImageSet, seed: int, device: str, refine: int = 0
) -> Reconstruction:
    """One parse of each image, as the posterior draws it.

    With steps of refinement that is a posterior of the image's own.
    """
    model = run.model(device)
    targets, index = as_input(images.images.to(device)), images.index.to(device)
    if refine:
        own = semi_amortised.fit(model, targets, index, refine, seed)
        drawings, log_q = own.sample(model, noise_for(index, 1, seed), semi_amortised.DRAWING)
    else:
        drawings, log_q = model.infer(targets, 1, seed, index)
    drawing = drawings.map(lambda part: part[0])
    most = run.settings.model.strokes
    canvases = torch.stack([model.render(drawing, upto=step + 1) for step in range(most)])
    elbo = "elbo_nats" if run.settings.model.pen != "amortised" else "leaky_elbo_nats"
    table = pd.DataFrame(
        {
            **run.provenance(),
            "dataset": images.name,
            "part": images.part,
            "index": images.index.tolist(),
            "strokes": drawing.stroke_count.int().tolist(),
            "mean_abs_error": (targets - canvases[-1]).abs().mean((1, 2)).tolist(),
            "log_likelihood_nats": model.log_likelihood(targets, canvases[-1]).tolist(),
            elbo: (model.log_joint(targets, drawings) - log_q)[0].tolist(),
            "fingerprint": images.fingerprint,
            "refine_steps": refine,
            "evaluation_seed": seed,
        }
    )
    strokes = strokes_alone(model, drawing)
    how = ", refined" if refine else ""
    return Reconstruction(
        label(run) + how, title(images), targets, drawing, canvases, strokes, table
    )  # fmt: skip


def label(run: Run) -> str:
    """The model and what it was trained on, for a picture."""
    return f"{run.settings.model.name}, trained on {run.record['data']['name']}"


def title(images: ImageSet) -> str:
    """The set, and whether it is not the canonical one, for a picture."""
    return images.name + (f" ({images.remark.split(':')[0]})" if images.remark else "")


def strokes_alone(model: DrawingModel, drawing: Drawing) -> Tensor:
    """Each stroke of drawings `[n, ...]` on a page of its own: `[strokes, n, R, R]`."""
    most = drawing.present.shape[-1]
    alone = [drawing._replace(present=_only(drawing.present, step)) for step in range(most)]
    return torch.stack([model.render(one) for one in alone])


def _only(present: Tensor, step: int) -> Tensor:
    """The presence of one stroke alone; not a drawing that the model could make, but a picture."""
    mask = torch.zeros_like(present)
    mask[:, step] = present[:, step]
    return mask

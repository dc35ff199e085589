"""How many strokes a model uses, and what the paper says of it (Section 3.1, Fig. 3 b to d)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.drawing import Drawing
    from doodcli.model.model import DrawingModel

VERSION = 2
"""Raised when the same settings would give other numbers."""

ROWS = 1024
"""Images that are parsed at once: bounds the memory, changes nothing but rounding."""

ALWAYS = 0.9
"""Share of the drawings that counts as always.  More than .96 cannot be: the logit of going on
stays within ±5, so that six strokes have at most the chance .9933⁶; and a few hundred images of
each of five sets have some hundredths less by chance."""

GROWS = 0.25
"""Strokes by which the mean of a harder set must pass the training set's to count as more."""


@torch.no_grad()
def parses(
    model: DrawingModel, images: ImageSet, seed: int, order: Tensor | None = None
) -> Iterator[Drawing]:
    """One posterior sample of each image, some images at a time: drawings `[n, ...]`.

    `order`, positions among the images `[n]`, says which come, and in which order.
    """
    device = model.scale.device
    order = torch.arange(len(images)) if order is None else order
    for which in order.split(ROWS):
        some, index = images.images[which].to(device), images.index[which].to(device)
        drawing, _ = model.infer(some, 1, seed, index)
        yield drawing.map(lambda part: part[0])


def count(run: Run, images: ImageSet, seed: int, device: str) -> pd.DataFrame:
    """The distribution of the number of strokes: one row for each number, from 0 to the most.

    One posterior sample of each image.
    """
    most = run.settings.model.strokes
    found = torch.zeros(most + 1, dtype=torch.int64)
    for drawing in parses(run.model(device), images, seed):
        found += torch.bincount(drawing.stroke_count.long().cpu(), minlength=most + 1)
    return pd.DataFrame(
        {
            **run.provenance(),
            "dataset": images.name,
            "part": images.part,
            "fingerprint": images.fingerprint,
            "remark": images.remark,
            "images": len(images.images),
            "evaluation_seed": seed,
            "strokes": range(most + 1),
            "drawings": found.tolist(),
            "share": (found / len(images.images)).tolist(),
        }
    )


def means(counts: pd.DataFrame) -> pd.DataFrame:
    """Mean number of strokes of each run on each set, its standard error, and what is at most."""
    rows = []
    for (run, dataset, _), part in counts.groupby(["run", "dataset", "fingerprint"], sort=False):
        mean = (part.strokes * part.share).sum()
        variance = ((part.strokes - mean) ** 2 * part.share).sum()
        first = part.iloc[0]
        rows.append(
            {
                "run": run, "model": first.model, "source": first.source, "dataset": dataset,
                "images": first.images, "mean_strokes": mean,
                "mean_strokes_se": math.sqrt(variance / first.images),
                "share_at_most": part.share[part.strokes == part.strokes.max()].item(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


class Claim(NamedTuple):
    """What the paper says of the number of strokes of some models."""

    text: str
    models: tuple[str, ...]
    measure: str
    least: float = -math.inf
    most: float = math.inf


CLAIMS = (
    Claim("always uses the most strokes", ("dood-eg",), "least share at most", least=ALWAYS),
    Claim(
        "is parsimonious: half its drawings of its own set or more use fewer than the most",
        ("dood", "dood-dr"), "share at most on its own set", most=0.5,
    ),
    Claim(
        "uses more strokes on every other set", ("dood", "air-difference"), "least growth",
        least=GROWS,
    ),
    Claim("uses no more strokes on other sets", ("air",), "largest growth", most=GROWS),
)  # fmt: skip


def claims(counts: pd.DataFrame) -> pd.DataFrame:
    """Every claim for every run: the number measured, its limit, and whether it holds.

    The paper speaks of some models and of trainings on MNIST, to which its other sets are harder:
    where it does not make the claim `paper` is False, and the row says how the run compares.
    Growth is the mean number of strokes on another set less that on the set of
    the training: a run whose own set, or every other, is not among the counts has no rows.
    """
    rows: list[dict[str, object]] = []
    for run, part in means(counts).groupby("run", sort=False):
        model, source = part.model.iloc[0], part.source.iloc[0]
        at_home, abroad = part[part.dataset == source], part[part.dataset != source]
        if at_home.empty or abroad.empty:
            continue
        growth = abroad.mean_strokes - at_home.mean_strokes.mean()
        measures = {
            "least share at most": part.share_at_most.min(),
            "share at most on its own set": at_home.share_at_most.mean(),
            "least growth": growth.min(),
            "largest growth": growth.max(),
        }
        for claim in CLAIMS:
            value = measures[claim.measure]
            rows.append(
                {
                    "run": run, "model": model, "source": source, "claim": claim.text,
                    "paper": model in claim.models and source == "mnist", "measure": claim.measure,
                    "value": value,
                    "limit": claim.least if math.isfinite(claim.least) else claim.most,
                    "holds": claim.least <= value <= claim.most,
                }
            )  # fmt: skip
    columns = ["run", "model", "source", "claim", "paper", "measure", "value", "limit", "holds"]
    return pd.DataFrame(rows, columns=columns)


def of_their_models(claims: pd.DataFrame) -> pd.DataFrame:
    """The claims about the models that the paper makes them of, for people: yes and no.

    `paper` is no where such a model was trained on another set than the paper's.
    """
    models = {claim.text: claim.models for claim in CLAIMS}
    about = claims.apply(lambda row: row.model in models[row.claim], axis=1).astype(bool)
    said = claims[about].drop(columns="run")
    words = {True: "yes", False: "no"}
    return said.assign(paper=said.paper.map(words), holds=said.holds.map(words))

"""Linear probes: how much of an image's class can be read off its latents by a linear map."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from doodcli.experiments.fits import noted, recipe
from doodcli.experiments.strokes import parses
from doodcli.report import paper

if TYPE_CHECKING:
    import pandas as pd

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel

VERSION = 1
"""Raised when the same settings would give other numbers."""

ITERATIONS = 1000
"""At most, of the regression (L-BFGS); a row says whether it converged."""

STRENGTH = 1.0
"""C of the regression, the inverse strength of its L2 penalty: scikit-learn's own, not tuned."""


def features(model: DrawingModel, images: ImageSet, seed: int) -> np.ndarray:
    """The flattened latents of one posterior sample of each image, `[n, d]`.

    As in the authors' code: of all steps the control points in the stroke's own frame (AIR: the
    codes), then of all steps the layouts; zeros where there is no stroke, which is how the number
    of strokes shows.  The pen is left out.
    """
    rows = []
    for drawing in parses(model, images, seed):
        here = drawing.present[..., None]
        strokes = drawing.strokes.flatten(2) * here
        rows.append(torch.cat([strokes.flatten(1), (drawing.layout * here).flatten(1)], 1).cpu())
    return torch.cat(rows).double().numpy()


def obstacle(learn: ImageSet, test: ImageSet) -> str:
    """Why a data set cannot be probed; "" where nothing speaks against it."""
    known = set(learn.labels.tolist())
    if len(known) < 2:
        return f"{learn.name}: all its training images have one label"
    if not known & set(test.labels.tolist()):
        return f"{learn.name}: its test classes are others than its training classes"
    return ""


def probe(
    run: Run, model: DrawingModel, learn: ImageSet, test: ImageSet, seed: int
) -> dict[str, object]:
    """The accuracy on `test` of a logistic regression fitted to the latents of `learn`.

    `chance` is the accuracy of always giving the commonest class of `learn`.
    """
    began = time.monotonic()
    machine = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=ITERATIONS))
    latents, labels, answers = (
        features(model, learn, seed),
        learn.labels.numpy(),
        test.labels.numpy(),
    )
    with noted() as notes:
        machine.fit(latents, labels)
    accuracy = float(machine.score(features(model, test, seed), answers))
    iterations = int(machine[-1].n_iter_.max())
    return {
        **run.provenance(),
        "recipe": recipe(run),
        "target": learn.name,
        "target_fingerprint": learn.fingerprint,
        "remark": learn.remark,
        "train_images": len(learn),
        "test_images": len(test),
        "classes": len(set(labels.tolist())),
        "evaluation_seed": seed,
        "features": latents.shape[1],
        "accuracy": accuracy,
        "accuracy_se": math.sqrt(accuracy * (1 - accuracy) / len(test)),
        "train_accuracy": float(machine.score(latents, labels)),
        "chance": float((answers == np.bincount(labels).argmax()).mean()),
        "strength": STRENGTH,
        "iterations": iterations,
        "converged": not notes,
        "note": "; ".join(notes),
        "seconds": round(time.monotonic() - began, 1),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of runs that nothing else tells apart, on each target; the paper's beside.

    `std` is over seeds, missing where there is one; `se` is the standard error over test images,
    mean over seeds.
    """
    keys = ["model", "source", "recipe", "target", "target_fingerprint", "remark"]
    found = (
        table.groupby(keys, sort=False)
        .agg(
            accuracy=("accuracy", "mean"),
            std=("accuracy", "std"),
            se=("accuracy_se", "mean"),
            seeds=("seed", "nunique"),
            train_images=("train_images", "first"),
            test_images=("test_images", "first"),
            chance=("chance", "first"),
        )
        .reset_index()
    )
    reported = [
        paper.PROBE.get(model, {}).get(source, {}).get(target, math.nan)
        for model, source, target in zip(found.model, found.source, found.target, strict=True)
    ]
    return found.assign(paper_accuracy=reported)

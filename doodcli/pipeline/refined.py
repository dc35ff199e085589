"""The tasks of the amortisation gap: cells of the grid with posteriors of each image's own."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from doodcli.errors import RunFailed
from doodcli.experiments import likelihood, semi_amortised, transfer
from doodcli.learning.train import training_images
from doodcli.pipeline import grid
from doodcli.pipeline.engine import Size, Task
from doodcli.report.tables import write_csv, write_lines, write_tex

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.pipeline.graph import Suite, Training

MODELS = ("dood",)
"""Whose cells are refined: the model that the paper is about."""

POSTERIORS = {
    grid.AMORTISED: "amortised", grid.REFINED: "refined", grid.SCALED: "refined with scales",
}  # fmt: skip
"""Kinds of cells, as the table calls them."""

VERSION = 1
"""Raised when the same cells would give other tables."""


def tasks(suite: Suite) -> list[Task]:
    """A task a cell, and the tables of all of them; none where nothing is refined."""
    runs = [what for what in suite.trainings if what.model in MODELS and _has_bounds(suite, what)]
    if not suite.profile.refine or not runs:
        return []
    cells = {
        kind: [
            grid.cell(suite, what, target, kind)
            for what in runs
            for target in grid.targets(suite.profile.targets)
        ]
        for kind in POSTERIORS
    }
    made = [task for kind in (grid.REFINED, grid.SCALED) for task in cells[kind]]
    return [*(_scale(suite, what) for what in runs), *made, _tables(suite, cells)]


def _has_bounds(suite: Suite, what: Training) -> bool:
    """Whether a run's numbers are bounds: with a pen that is read off the target they are none."""
    return suite.settings(*what).model.pen != "amortised"


def _scale(suite: Suite, what: Training) -> Task:
    """The scales of a run's likelihood, learned on posteriors of training images' own."""
    path = grid.scale_file(suite, what)
    effort = grid.efforts(suite)[grid.SCALED]

    def source() -> ImageSet:
        return training_images(suite.run(what).settings, suite.plan.data_root)

    def key() -> dict[str, Any]:
        return {
            "version": semi_amortised.VERSION,
            "weights": suite.run(what).weights,
            "source": source().fingerprint,
            "effort": [effort.refine, effort.scale_images, effort.seed],
        }

    def work() -> list[Path]:
        model = suite.run(what).model(suite.plan.device)
        scale = likelihood.learned_scale(model, source(), effort)
        text = io.StringIO()
        np.savetxt(text, scale.cpu().numpy(), fmt="%.9g", delimiter=",")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(text.getvalue(), path)
        return [path]

    size = Size(f"scale-{what.model}", effort.refine * effort.scale_images)
    command = f"dood reproduce --profile {suite.name}{suite.no_train()} --only scale-{what.name}"
    return Task(f"scale-{what.name}", key, work, command, (what.task,), size=size)


def _tables(suite: Suite, cells: dict[str, list[Task]]) -> Task:
    """`refined.csv`, every cell, and `amortisation_gap.*`, beside the grid's and the paper's."""

    @functools.cache  # every key is of whole sets of images
    def done() -> dict[str, list[Path]]:
        return {kind: grid.done_files(suite, tasks, kind) for kind, tasks in cells.items()}

    def key() -> dict[str, Any]:
        texts = {str(path.relative_to(suite.out)): path.read_text("utf-8")
                 for paths in done().values() for path in paths}  # fmt: skip
        return {"versions": [VERSION, transfer.VERSION], "cells": texts}

    def work() -> list[Path]:
        found = {
            POSTERIORS[kind]: pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
            for kind, paths in done().items() if paths
        }  # fmt: skip
        own = [part for name, part in found.items() if name != POSTERIORS[grid.AMORTISED]]
        if len(own) == len(found) or not own:
            raise RunFailed(f"{suite.out}: no cell of both kinds is there, so there is no table")
        write_csv(pd.concat(own, ignore_index=True), suite.out / "refined.csv")
        gaps = transfer.amortisation_gap(found)
        write_csv(gaps, suite.out / "amortisation_gap.csv")
        return [
            suite.out / "refined.csv", suite.out / "amortisation_gap.csv", _tex(suite, gaps)
        ]  # fmt: skip

    needs = tuple(task.name for tasks in cells.values() for task in tasks)
    command = f"dood reproduce --profile {suite.name}{suite.no_train()} --only refined"
    return Task("refined", key, work, command, soft=needs)


def _tex(suite: Suite, gaps: pd.DataFrame) -> Path:
    path = suite.out / "amortisation_gap.tex"
    numbers = ["iwae_nats", "se", "gained", "paper_nats"]
    shown = gaps[["source", "target", "posterior"]].assign(
        **{name: gaps[name].map("{:,.1f}".format).replace("nan", "--") for name in numbers},
        error=gaps.mean_abs_error.map("{:.3f}".format),
    )
    effort = grid.efforts(suite)[grid.SCALED]
    text = (
        f"The amortisation gap of {', '.join(MODELS)}: IWAE with {effort.samples} samples, nats an "
        f"image, and the mean absolute error of a pixel. refined: posteriors fitted to each image "
        f"by {effort.refine} steps; with scales: and the likelihood's scales learned anew on such "
        f"posteriors of {effort.scale_images} training images. The paper's numbers are of its "
        "amortised posterior."
    )
    write_tex(shown, path, text, f"tab:{suite.name}-amortisation-gap")
    return path

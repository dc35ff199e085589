"""The tasks of the amortisation gap: cells of the grid with posteriors of each image's own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.errors import RunFailed
from doodcli.experiments import transfer
from doodcli.pipeline import grid
from doodcli.pipeline.engine import LEDGER, Ledger, Task
from doodcli.report.tables import write_csv, write_tex

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.pipeline.graph import Suite

MODELS = ("dood",)
"""Whose cells are refined: the model that the paper is about."""

VERSION = 1
"""Raised when the same cells would give other tables."""


def tasks(suite: Suite) -> list[Task]:
    """A task a cell, and the tables of all of them; none where nothing is refined."""
    if not suite.profile.refine:
        return []
    pairs = [
        [grid.cell(suite, what, target, steps) for steps in (0, suite.profile.refine)]
        for what in suite.trainings if what.model in MODELS
        for target in grid.targets(suite.profile.targets)
    ]  # fmt: skip
    refined = [own for _, own in pairs]
    return [*refined, _tables(suite, pairs)] if pairs else []


def _tables(suite: Suite, pairs: list[list[Task]]) -> Task:
    """`refined.csv`, every cell, and `amortisation_gap.*`, beside the grid's and the paper's."""

    @functools.cache  # every key is of whole sets of images
    def done() -> list[list[Path]]:
        ledger = Ledger(suite.out / LEDGER)
        kept = [pair for pair in pairs if all(map(ledger.is_done, pair))]
        folders = ("cells", grid.REFINED)
        return [
            [suite.out / folder / f"{task.name.partition('-')[2]}.csv"
             for folder, task in zip(folders, pair, strict=True)]
            for pair in kept
        ]  # fmt: skip

    def key() -> dict[str, Any]:
        cells = {str(path.relative_to(suite.out)): path.read_text("utf-8")
                 for pair in done() for path in pair}  # fmt: skip
        return {"versions": [VERSION, transfer.VERSION], "cells": cells}

    def work() -> list[Path]:
        if not done():
            raise RunFailed(f"{suite.out / grid.REFINED}: no cell is there, so there is no table")
        amortised, own = (
            pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
            for paths in zip(*done(), strict=True)
        )
        write_csv(own, suite.out / "refined.csv")
        gaps = transfer.amortisation_gap(amortised, own)
        write_csv(gaps, suite.out / "amortisation_gap.csv")
        return [
            suite.out / "refined.csv", suite.out / "amortisation_gap.csv", _tex(suite, gaps)
        ]  # fmt: skip

    needs = tuple(task.name for pair in pairs for task in pair)
    command = f"dood reproduce --profile {suite.name}{suite.no_train()} --only refined"
    return Task("refined", key, work, command, soft=needs)


def _tex(suite: Suite, gaps: pd.DataFrame) -> Path:
    path = suite.out / "amortisation_gap.tex"
    columns = ["source", "target"]
    numbers = ["amortised_nats", "refined_nats", "se", "gap", "paper_nats"]
    errors = ["amortised_error", "refined_error"]
    shown = gaps[columns].assign(
        **{name: gaps[name].map("{:,.1f}".format).replace("nan", "--") for name in numbers},
        **{name: gaps[name].map("{:.3f}".format) for name in errors},
    )
    first = gaps.iloc[0]
    text = (
        f"The amortisation gap of {', '.join(MODELS)}: IWAE with {first.samples:.0f} samples of "
        f"the amortised posterior, and of posteriors fitted to each of {first.images:.0f} images "
        f"by {first.refine_steps:.0f} steps; nats an image, and the mean absolute error of a "
        "pixel. The paper's numbers are of its amortised posterior."
    )
    write_tex(shown, path, text, f"tab:{suite.name}-amortisation-gap")
    return path

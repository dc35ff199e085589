"""How the cost of a training step grows: linear in images, in strokes and in curve samples.

Every size is measured in turn, round after round, so that a machine that is busy with something
else slows all alike; medians are fitted by a straight line.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from doodcli.devices import MEBIBYTE
from doodcli.experiments.bench import (
    Sizes,
    environment,
    ink_images,
    peak_live_bytes,
    seconds_of,
    training_settings,
)
from doodcli.learning.trainer import Trainer
from doodcli.settings import change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from doodcli.settings import Settings

ALWAYS = 10.0
"""Logit of going on with which every drawing has all its strokes."""

AXES: dict[str, Sequence[int]] = {
    "learning.batch_size": (16, 32, 64, 128, 192),
    "model.strokes": (1, 2, 4, 6, 8),
    "model.curve_samples": (32, 64, 128, 256, 512),
}
"""The settings whose cost should be linear, and the values at which it is measured."""

QUICK_AXES: dict[str, Sequence[int]] = {
    "learning.batch_size": (2, 4, 8),
    "model.strokes": (1, 2, 3),
    "model.curve_samples": (16, 32, 64),
}


def scaling(
    sizes: Sizes, device: str = "cpu", axes: Mapping[str, Sequence[int]] = AXES
) -> pd.DataFrame:
    """A row for each value of each setting, all else as preset `laptop` has it.

    `milliseconds` are the median of a training step in which every drawing has all its strokes,
    `line_milliseconds` those of the straight line that fits the setting's values best, and
    `mebibytes` the peak of live tensors of a step, parameters and optimiser apart.
    """
    images = ink_images(sizes.images, device)
    index = torch.arange(len(images))
    points = [(name, value) for name, values in axes.items() for value in values]
    # As they come: steps that are recorded do not show what they allocate.
    steps = [
        Trainer(_settings(sizes, name, value), images, index, device, graphed=False).steps()
        for name, value in points
    ]
    took: list[list[float]] = [[] for _ in points]
    for turn in range(1 + sizes.eval_rounds):
        for training, seconds in zip(steps, took, strict=True):
            passed = seconds_of(lambda training=training: next(training), device)  # type: ignore[misc]
            if turn:  # the first is a warm-up
                seconds.append(passed)
    rows = [
        {
            "setting": name,
            "value": value,
            "milliseconds": 1000 * statistics.median(seconds),
            "mebibytes": peak_live_bytes(lambda training=training: next(training)) / MEBIBYTE,  # type: ignore[misc]
        }
        for (name, value), training, seconds in zip(points, steps, took, strict=True)
    ]
    table = pd.DataFrame(rows)
    table["line_milliseconds"] = np.nan
    for _, part in table.groupby("setting"):
        line = np.polyfit(part.value, part.milliseconds, 1)
        table.loc[part.index, "line_milliseconds"] = np.polyval(line, part.value)
    return table.assign(batch=sizes.batch, rounds=sizes.eval_rounds, **environment(device))


def lines(table: pd.DataFrame) -> pd.DataFrame:
    """How straight each line is: R² of the fit, what one more costs, what is paid in any case."""
    rows: list[dict[str, Any]] = []
    for name, part in table.groupby("setting", sort=False):
        slope, intercept = np.polyfit(part.value, part.milliseconds, 1)
        apart = part.milliseconds - part.line_milliseconds
        spread = part.milliseconds - part.milliseconds.mean()
        rows.append(
            {
                "setting": name,
                "milliseconds_each": slope,
                "milliseconds_fixed": intercept,
                "r_squared": 1 - (apart**2).sum() / (spread**2).sum(),
                "farthest": (apart.abs() / part.milliseconds).max(),
            }
        )
    return pd.DataFrame(rows)


def _settings(sizes: Sizes, name: str, value: int) -> Settings:
    return change(training_settings(sizes), {"learning.draw_bias": ALWAYS, name: value})

"""Numbers and provenance as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.report.document import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUS = "−"


def number(value: Any, digits: int = 0) -> str:
    """With commas and a real minus; – where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 0) -> str:
    """With its sign."""
    return f"{value:+,.{digits}f}".replace("-", MINUS)


def around(mean: float, apart: float | None, digits: int = 0) -> str:
    """A mean and how sure it is, if that is known."""
    text = number(mean, digits)
    return text if apart is None or pd.isna(apart) else f"{text} ± {number(apart, digits)}"


def percent(share: float) -> str:
    """A share of 1."""
    return f"{number(100 * share, 1)} %"


def significant(value: float) -> str:
    """Four digits at least, whatever its size."""
    if not value or not math.isfinite(value):
        return number(value)
    return number(value, max(1, 3 - math.floor(math.log10(abs(value)))))


def span(values: Iterable[Any], digits: int = 0) -> str:
    """The least and the largest of some numbers, one where they print the same."""
    known = [value for value in values if not pd.isna(value)]
    ends = dict.fromkeys(number(value, digits) for value in (min(known), max(known)))
    return " to ".join(ends)


def listed(frame: pd.DataFrame, column: str) -> str:
    """The different values of a column, in order; "" without such a column."""
    if column not in frame:
        return ""
    values = frame[column].dropna()
    if pd.api.types.is_float_dtype(values):  # whole numbers of a column that lacks some
        values = values.map("{:g}".format)
    return ", ".join(dict.fromkeys(map(str, values)))


def facts(frame: pd.DataFrame) -> Facts:
    """How the rows of a result were made: budget, seeds, device, versions, data."""
    items: list[tuple[str, str]] = []

    def say(label: str, text: str) -> None:
        if text:
            items.append((label, text))

    runs = listed(frame, "run").split(", ") if "run" in frame else []
    say("runs", ", ".join(name for name in runs if name))
    say("training seeds", listed(frame, "seed"))
    if "training_minutes" in frame and frame.training_minutes.notna().any():
        say("minutes of training", span(frame.training_minutes, 1))
        say("images of training", span(frame.training_images))
    say("trained on", listed(frame, "training_device"))
    say("preset", listed(frame, "preset"))
    say("pen", listed(frame, "pen"))
    say("images", listed(frame, "images"))
    say("samples", listed(frame, "samples"))
    say("evaluation seed", listed(frame, "evaluation_seed"))
    say("measured on", listed(frame, "device"))
    say("dood", listed(frame, "version"))
    say("commit of training", listed(frame, "training_git"))
    say("commit of measurement", listed(frame, "git"))
    return Facts(items)

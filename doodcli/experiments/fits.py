"""What the fits of scikit-learn have in common: their warnings, and which runs differ by seed."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sklearn.exceptions import ConvergenceWarning

from doodcli.settings import change, settings_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doodcli.learning.runs import Run


@contextmanager
def noted() -> Iterator[list[str]]:
    """Warnings of a fit become lines of its row: they neither break it nor get lost.

    The list that this yields is filled in the end.
    """
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield notes
    notes += dict.fromkeys(str(warning.message).strip().splitlines()[0] for warning in caught)


def recipe(run: Run) -> str:
    """A hash of all that made a run but its seed: runs that share it are averaged."""
    return settings_hash(change(run.settings, {"seed": 0}), run.record["data"]["fingerprint"])

"""What an export keeps of its run: the bound on validation images before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.errors import RunFailed
from doodcli.experiments.likelihood import Effort, row_of_run
from doodcli.learning.export import export

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run

MOST_LOST = 2.0
"""Nats an image that half precision may cost."""


class Exported(NamedTuple):
    """An export, and what was measured of it."""

    run: Run
    table: pd.DataFrame
    """two rows: the run and its export, on the same validation images with the same noise"""

    @property
    def lost(self) -> float:
        """Nats an image, negative if the export is the better one."""
        before, after = self.table.iwae_nats
        return float(before - after)


def exported(
    run: Run, folder: Path, held_out: ImageSet, samples: int, seed: int, device: str
) -> Exported:
    """Export a run and measure both on `held_out`, images of its validation split.

    RunFailed when the export lost more than MOST_LOST nats an image: it is there to be looked at.
    """
    small = export(run, folder)
    rows = [
        row_of_run(which, which.model(device), held_out, Effort(samples, seed=seed))
        for which in (run, small)
    ]
    found = Exported(small, pd.DataFrame(rows))
    if not found.lost <= MOST_LOST:
        raise RunFailed(
            f"{folder}: half precision cost {found.lost:.2f} nats an image on {held_out.name}, "
            f"more than {MOST_LOST:g}; use the run itself"
        )
    return found

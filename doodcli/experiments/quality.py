"""Time to quality: what settings reach on validation images, in an equal time or equal steps.

A faster step that learns worse shows here, so presets are chosen by this table, never on test
images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from doodcli.data.load import load_images
from doodcli.experiments import likelihood
from doodcli.learning.train import train, training_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from doodcli.learning.train import Listener, Plan
    from doodcli.settings import Settings


class Candidate(NamedTuple):
    """Settings that are tried, and what is said of them."""

    settings: Settings
    changes: str
    """of the preset, as in --set; "" for the preset itself"""


class Sizes(NamedTuple):
    """How much is measured of each candidate."""

    samples: int = 50
    """posterior samples an image"""
    limit: int | None = 500
    """validation images"""


def quality(
    candidates: list[Candidate],
    plan: Plan,
    sizes: Sizes,
    seed: int = 0,
    listener: Listener | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """A row for each candidate: its training, and what it gives to its own validation images.

    Candidates that were trained before are not trained again.
    """
    rows = []
    for settings, changes in candidates:
        name = settings.data.dataset
        tell(f"training on {name}: {changes or 'the preset itself'}")
        run = train(settings, plan, listener)
        target = load_images(
            name, "validation", data_root=plan.data_root, resolution=settings.model.resolution,
            transpose=settings.data.transpose, limit=sizes.limit, seed=seed,
        )  # fmt: skip
        source = training_images(settings, plan.data_root)
        effort = likelihood.Effort(sizes.samples, seed=seed)
        found = likelihood.row_of_run(run, run.model(plan.device), target, effort)
        blank = likelihood.BlankPage.fitted(source, settings.model).row(target)
        facts = run.checkpoint.facts
        rows.append(
            {
                "changes": changes,
                **found,
                "blank_nats": blank["iwae_nats"],
                "blank_error": blank["mean_abs_error"],
                "training_seconds": facts["seconds"],
                "images_per_s": facts["images"] / max(1e-9, facts["seconds"]),
            }
        )
    return pd.DataFrame(rows)

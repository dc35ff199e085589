"""dood: Drawing out of Distribution, a neuro-symbolic generative model that learns to draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from doodcli.version import __version__

if TYPE_CHECKING:
    from doodcli.model.model import DrawingModel

__all__ = ["__version__", "load"]


def load(run: str | Path, device: str = "cpu") -> DrawingModel:
    """The model of a run folder, ready to use.

    >>> model = doodcli.load("runs/dood-mnist-s0-1234abcd")
    >>> drawing, log_q = model.infer(images)

    InputError when the folder is no run.
    """
    # torch takes seconds to import: `dood --help` should not wait for it.
    from doodcli.learning.runs import open_run  # noqa: PLC0415

    return open_run(Path(run)).model(device)

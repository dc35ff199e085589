"""How training is shown: a live bar on a terminal, plain lines otherwise, or nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from doodcli.learning.train import Listener
from doodcli.report.figures import save_progress

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.learning.trainer import Trainer
    from doodcli.model.model import DrawingModel


def summary(row: dict[str, float]) -> str:
    """The terms of a row of the log, in nats, on one line."""
    return (
        f"elbo {row['elbo']:.0f}  likelihood {row['likelihood']:.0f}  "
        f"kl strokes {row['kl_marks']:.1f} stop {row['kl_on']:.2f} pen {row['kl_pen']:.1f}  "
        f"strokes {row['strokes']:.2f}  error {row['error']:.4f}  "
        f"{row['images_per_s']:.0f} images/s"
    )


class SilentProgress(Listener):
    """Writes the pictures of a run, says only what must be known."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def started(self, path: Path, trainer: Trainer) -> None:
        """Keep a few images to draw at each checkpoint."""
        # Evenly over the set, since files may be sorted by class.
        self.images = trainer.images[:: max(1, len(trainer.images) // 8)][:8]

    def checkpoint(self, path: Path, model: DrawingModel) -> None:
        """The picture of what the model draws now."""
        try:
            save_progress(path / "progress.png", model, self.images)
        except OSError as error:
            self.warn(f"{path / 'progress.png'}: cannot be written ({error})")

    def warn(self, text: str) -> None:
        """A line that must not be missed."""
        self.console.print(f"warning: {text}", markup=False)


class PlainProgress(SilentProgress):
    """A line now and then."""

    def __init__(self, seconds: float, before: str = "") -> None:
        """`before` every line."""
        super().__init__()
        self.seconds, self.last, self.before = seconds, 0.0, before

    def warn(self, text: str) -> None:
        """A line that must not be missed."""
        super().warn(f"{self.before}{text}")

    def started(self, path: Path, trainer: Trainer) -> None:
        """Where the run lives and where it stands."""
        super().started(path, trainer)
        self.console.print(f"{self.before}{_standing(path, trainer)}", markup=False)

    def row(self, row: dict[str, float], trainer: Trainer) -> None:
        """A line, if the last one is long enough ago."""
        if time.monotonic() - self.last >= self.seconds or trainer.done >= 1:
            self.last = time.monotonic()
            share = f"{100 * min(1, trainer.done):.0f}%"
            left = trainer.seconds * (1 / min(1.0, trainer.done) - 1) / 60
            text = f"{share} step {row['step']:.0f}  {summary(row)}  {left:.1f} min left"
            self.console.print(f"{self.before}{text}", markup=False)


class LiveProgress(SilentProgress):
    """A bar with the terms of the bound beside it."""

    def started(self, path: Path, trainer: Trainer) -> None:
        """Start the bar where the run stands."""
        super().started(path, trainer)
        self.console.print(_standing(path, trainer), markup=False)
        self.bar = Progress(
            BarColumn(20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=1.0)
        self.bar.update(self.task, completed=trainer.done)
        self.bar.start()

    def row(self, row: dict[str, float], trainer: Trainer) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=min(1.0, trainer.done), description=summary(row))
        if trainer.done >= 1:
            self.console.print(f"step {row['step']:.0f}  {summary(row)}", markup=False)

    def ended(self) -> None:
        """Give the terminal back."""
        self.bar.stop()


def _standing(path: Path, trainer: Trainer) -> str:
    if trainer.done >= 1:
        return f"{path}: finished, {trainer.step} steps"
    where = f"goes on at step {trainer.step}" if trainer.step else "starts"
    return f"{path}: {where}, {len(trainer.images)} images, on {trainer.device}"

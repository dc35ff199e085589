"""`dood train`: a run from its settings to its last checkpoint, resumed where it was cut."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from doodcli.data.load import load_images
from doodcli.devices import device_name
from doodcli.errors import InputError, RunFailed
from doodcli.learning import schedule
from doodcli.learning.checkpoints import (
    drop_drafts,
    newest_checkpoint,
    save_checkpoint,
    set_damaged_aside,
)
from doodcli.learning.runs import (
    LOCK,
    LOG,
    RECORD,
    Log,
    Run,
    locked,
    open_run,
    read_record,
    refuse_other_settings,
    run_name,
    write_record,
)
from doodcli.learning.team import SOLO, Team
from doodcli.learning.trainer import COLLAPSED, Trainer
from doodcli.settings import change, check
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from doodcli.data.load import ImageSet
    from doodcli.model.model import DrawingModel
    from doodcli.settings import Settings


OF_A_PART = ("step", "seconds", "device", "threads", "models_together", "torch", "git")
"""What a checkpoint keeps of the part of its training before an export, from which it went on."""


@dataclass(frozen=True)
class Plan:
    """Where and how a run is made; nothing here changes what it computes, but for rounding."""

    runs: Path
    """folder of the run folders"""
    run_dir: Path | None = None
    """a folder of this name instead"""
    data_root: Path | None = None
    device: str = "cpu"
    resume: bool = True
    extend: bool = False
    """go on with a finished run to the new length"""
    checkpoint_minutes: float = 3.0
    team: Team = SOLO
    """the processes that train together; the first of them writes"""
    compiled: bool = False
    """fuse the pass over the strokes: the same numbers to rounding"""


class Listener:
    """Who is told how a run goes.  The command line shows it; the default keeps still."""

    def started(self, path: Path, trainer: Trainer) -> None:
        """The run's folder is ready; `trainer` stands where it will go on."""

    def row(self, row: dict[str, float], trainer: Trainer) -> None:
        """A row of the log."""

    def checkpoint(self, path: Path, model: DrawingModel) -> None:
        """A checkpoint was written into the run's folder."""

    def warn(self, text: str) -> None:
        """Something the user should know, a line."""

    def ended(self) -> None:
        """Training is over, or broke: nothing more will come."""


class Stopped(BaseException):
    """SIGTERM or SIGINT came, and the run was saved; `code` is the exit code that says so."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def training_images(settings: Settings, data_root: Path | None) -> ImageSet:
    """The images that a run of these settings learns from."""
    return load_images(
        settings.data.dataset,
        "train",
        data_root=data_root,
        resolution=settings.model.resolution,
        transpose=settings.data.transpose,
        limit=settings.data.limit,
        seed=settings.seed,
    )


def train(settings: Settings, plan: Plan, listener: Listener | None = None) -> Run:
    """Train a model, or go on with its training; returns the finished run.

    InputError for settings or folders that cannot be used; RunFailed when training broke, with
    the last good checkpoint left in place; Stopped after a signal.
    """
    return train_together([settings], plan, [listener or Listener()])[0]


def train_together(
    every: Sequence[Settings], plan: Plan, listeners: Sequence[Listener]
) -> list[Run]:
    """Train several models in turns, a step of each, on one device; returns the finished runs.

    A step leaves most of a large accelerator idle, and those of other models fill it.  A model
    learns what it would learn alone.  Errors as of :func:`train`; where the training of one breaks,
    the others go on, and the first error is raised at the end.
    """
    if len(every) > 1 and (plan.run_dir is not None or plan.team.size > 1):
        raise InputError("several models: go without --run-dir and --devices; train one at a time")
    with ExitStack() as stack:
        begun = [
            _begin(stack, settings, plan, listener)
            for settings, listener in zip(every, listeners, strict=True)
        ]
        plan.team.wait()  # until the folders are ready
        with _signals() as caught:
            runs = [
                _train(path, settings, images, plan, listener, caught, len(every))
                for (path, images), settings, listener in zip(begun, every, listeners, strict=True)
            ]
            _in_turns(runs, plan)
    return [open_run(path) for path, _ in begun]


def _begin(
    stack: ExitStack, settings: Settings, plan: Plan, listener: Listener
) -> tuple[Path, ImageSet]:
    """The folder of a run, ready and locked while the stack is open, and what it learns from."""
    check(settings)
    images = training_images(settings, plan.data_root)
    if plan.extend and plan.run_dir is None:
        raise InputError("--extend: goes with --run-dir, which names the run to go on with")
    path = plan.run_dir.resolve() if plan.run_dir else plan.runs / run_name(settings, images)
    if path.is_dir() and any(path.iterdir()) and not (path / RECORD).exists():
        _refuse_foreign(path)
    if settings.learning.batch_size % plan.team.size:
        raise InputError(
            f"learning.batch_size={settings.learning.batch_size}: {plan.team.size} processes "
            "cannot share it evenly; give a multiple (--batch-size)"
        )
    if plan.compiled and plan.team.size > 1:
        raise InputError("--compile: goes with one process; leave out --devices, or --compile")
    if plan.team.leads:
        stack.enter_context(locked(path))
        _prepare(path, settings, images, plan, listener)
    return path, images


def _in_turns(runs: list[Generator[None, None, int]], plan: Plan) -> None:
    """A step of each until all are done; then what broke one, or stopped them, is raised."""
    failures: list[RunFailed] = []
    signalled = 0
    try:
        while runs:
            for run in list(runs):
                try:
                    next(run)
                except StopIteration as end:
                    runs.remove(run)
                    signalled = signalled or end.value
                except RunFailed as error:
                    runs.remove(run)
                    failures.append(error)
    finally:
        for run in runs:
            run.close()
    plan.team.wait()  # until the last checkpoint is written
    if signalled:
        raise Stopped(128 + signalled)
    if failures:
        raise failures[0]


def _prepare(
    path: Path, settings: Settings, images: ImageSet, plan: Plan, listener: Listener
) -> None:
    """A folder with the record of these settings, whose newest checkpoint, if any, is whole."""
    drop_drafts(path)
    if not plan.resume:
        _set_aside(path, listener)
    extended: list[Any] = []
    if (path / RECORD).exists():
        extended = _check_record(path, settings, images, plan)
    found, refused = newest_checkpoint(path)
    for line in refused:
        listener.warn(line)
    if found is None and refused:
        raise InputError(f"{path}: no checkpoint of it is whole; --no-resume starts again")
    set_damaged_aside(path, found)
    write_record(path, settings, images, extended)


def _train(
    path: Path,
    settings: Settings,
    images: ImageSet,
    plan: Plan,
    listener: Listener,
    caught: list[int],
    together: int,
) -> Generator[None, None, int]:
    """Yields after every step; returns the signal that ended it, or 0."""
    trainer = Trainer(settings, images.images, images.index, plan.device, plan.team, plan.compiled)
    found, _ = newest_checkpoint(path)
    before: list[dict[str, Any]] = []
    if found is not None:
        before = found.facts.get("before", [])
        if found.exported is None:
            trainer.restore(found.weights(), found.training(), found.facts)
        else:
            trainer.start_from(found.weights(), found.facts)
            before = [*before, {name: found.facts[name] for name in OF_A_PART}]
            listener.warn(
                f"{path}: is an export at step {trainer.step}: goes on from its weights, with the "
                "optimiser and the baseline as at the start"
            )
    trainer.together = together > 1
    listener.started(path, trainer)
    try:
        if trainer.done < 1:
            facts = {"models_together": together, "before": before}
            return (yield from _loop(path, trainer, plan, listener, caught, facts))
    finally:
        listener.ended()
    return 0


def _loop(
    path: Path,
    trainer: Trainer,
    plan: Plan,
    listener: Listener,
    caught: list[int],
    facts: dict[str, Any],
) -> Generator[None, None, int]:
    """Steps, log, checkpoints with `facts`; a signal ends it after a checkpoint."""
    team = plan.team
    log = Log(path / LOG, trainer.step) if team.leads else None
    saved = time.monotonic()
    warned = False
    for made in trainer.steps():
        late = time.monotonic() - saved >= 60 * plan.checkpoint_minutes
        # A signal goes to all processes of a team, but not between the same two steps.
        due, signalled = team.agreed([late, caught[0] if caught else 0], trainer.device)
        over = trainer.done >= 1
        row = trainer.row() if made is None and (due or signalled) else made
        if row is not None and log is not None:
            log.write(row)
            listener.row(row, trainer)
            warned = warned or _warn_of_collapse(row, trainer, listener)
        if due or over or signalled:
            if team.leads:
                _save(path, trainer, plan, facts)
                listener.checkpoint(path, trainer.model)
            saved = time.monotonic()
        if signalled:
            return int(signalled)
        yield
    learning = trainer.settings.learning
    if schedule.kl_weight(learning, trainer.step) < 1:
        listener.warn(
            f"{path}: ended at step {trainer.step}, while the weight of the KL was still rising "
            f"(learning.kl_steps={learning.kl_steps}); train longer, or make it smaller"
        )
    return 0


def _save(path: Path, trainer: Trainer, plan: Plan, more: dict[str, Any]) -> None:
    facts = {
        "step": trainer.step,
        "images": trainer.step * trainer.settings.learning.batch_size,
        "seconds": trainer.seconds,
        "finished": trainer.done >= 1,
        "device": device_name(plan.device),
        "threads": torch.get_num_threads(),
        "processes": plan.team.size,
        "torch": torch.__version__,
        "version": __version__,
        "git": git_version(),
        **more,
    }
    weights = trainer.weights()
    broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise RunFailed(f"step {trainer.step}: {broken[0]} is not finite, so it was not saved")
    try:
        save_checkpoint(path, weights, trainer.training_state(), facts)
    except (OSError, SafetensorError) as error:
        raise RunFailed(f"{path}: the checkpoint cannot be written ({error})") from None


def _check_record(path: Path, settings: Settings, images: ImageSet, plan: Plan) -> list[Any]:
    """Refuse other settings; with --extend a new length is no other setting, and is recorded."""
    stored, record = read_record(path)
    extended: list[Any] = record["extended"]
    if not plan.extend:
        refuse_other_settings(path, settings, images)
        return extended
    length = {"learning.steps": stored.learning.steps, "learning.minutes": stored.learning.minutes}
    refuse_other_settings(path, change(settings, length), images)
    if settings.learning == stored.learning:  # an extension that was cut goes on
        return extended
    _refuse_too_short(path, stored, settings)
    return [*extended, {"was": length}]


def _refuse_too_short(path: Path, stored: Settings, asked: Settings) -> None:
    """InputError for a length of another kind, or one that is done already."""
    found, _ = newest_checkpoint(path)
    done = (
        {"steps": 0, "minutes": 0}
        if found is None
        else {"steps": found.facts["step"], "minutes": found.facts["seconds"] / 60}
    )
    for name, least in done.items():
        old, new = getattr(stored.learning, name), getattr(asked.learning, name)
        if (old is None) != (new is None) or (new is not None and new <= least):
            raise InputError(
                f"{path}: --extend goes from {name} {old} to another number of them, above the "
                f"{least:g} that are done, not to {new}"
            )


def _refuse_foreign(path: Path) -> None:
    """A folder that holds something else is not ours to write into."""
    ours = {LOCK} | {item.name for item in path.glob(".*.part")}
    if {item.name for item in path.iterdir()} - ours:
        raise InputError(f"{path}: holds something that is no run; choose another --run-dir")


def _set_aside(path: Path, listener: Listener) -> None:
    """--no-resume: what was there moves aside, since nothing that existed may be lost."""
    if not (path / RECORD).exists():
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.old{number}")).exists():
        number += 1
    aside.mkdir()
    for item in path.iterdir():
        if item.name != LOCK:
            item.replace(aside / item.name)
    listener.warn(f"{path}: the run that was there is now {aside}")


def _warn_of_collapse(row: dict[str, float], trainer: Trainer, listener: Listener) -> bool:
    if row["strokes"] >= COLLAPSED or trainer.step <= trainer.settings.learning.stop_delay:
        return False
    listener.warn(
        f"step {trainer.step}: {row['strokes']:.2f} strokes a drawing, the model is about to stop "
        "drawing; try --set learning.stop_delay=2000 or --set learning.draw_bias=4"
    )
    return True


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The list of signals that came, instead of their default; a second one kills."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, signal.SIG_DFL)

    kinds = (signal.SIGTERM, signal.SIGINT)
    try:
        before = {kind: signal.signal(kind, note) for kind in kinds}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield caught
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

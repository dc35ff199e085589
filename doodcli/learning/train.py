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
    CARD,
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
    from doodcli.learning.checkpoints import Checkpoint
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
    """go on to another length, longer than what is done"""
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
    learns what it would learn alone in as many steps; a length in minutes is of all together.
    Errors as of :func:`train`; where the training of one breaks, it says so, the others go on, and
    RunFailed comes at the end.
    """
    if len(every) > 1 and (plan.run_dir is not None or plan.team.size > 1):
        raise InputError("several models: go without --run-dir and --devices; train one at a time")
    runs = [
        _checked(settings, plan, listener)
        for settings, listener in zip(every, listeners, strict=True)
    ]
    with ExitStack() as stack:
        if plan.team.leads:
            for run in runs:
                stack.enter_context(locked(run.path))
            for run in runs:
                _prepare(run, plan)
        plan.team.wait()  # until the folders are ready
        with _signals() as caught:
            # Looked at once: whether a checkpoint is whole takes reading all of it.
            stands = [newest_checkpoint(run.path)[0] for run in runs]
            together = sum(map(_has_work, runs, stands))
            steps = {
                run.path: _train(run, found, plan, caught, together)
                for run, found in zip(runs, stands, strict=True)
            }
            _in_turns(steps, runs, plan)
    return [open_run(run.path) for run in runs]


@dataclass(frozen=True)
class _Begun:
    """A run that is to be trained."""

    path: Path
    settings: Settings
    images: ImageSet
    listener: Listener


def _checked(settings: Settings, plan: Plan, listener: Listener) -> _Begun:
    """The run of these settings.  InputError, with nothing changed, when it cannot be."""
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
    return _Begun(path, settings, images, listener)


def _has_work(run: _Begun, found: Checkpoint | None) -> bool:
    """Whether a run that stands at `found` is not at its end."""
    if found is None:
        return True
    facts = found.facts
    return schedule.progress(run.settings.learning, facts["step"], facts["seconds"]) < 1


def _in_turns(
    steps: dict[Path, Generator[None, None, int]], runs: list[_Begun], plan: Plan
) -> None:
    """A step of each run until all are done; then what broke some, or stopped them, is raised."""
    failures: list[str] = []
    signalled = 0
    try:
        while steps:
            for run in runs:
                if run.path not in steps:
                    continue
                try:
                    _take_step(steps[run.path])
                except StopIteration as end:
                    signalled = signalled or end.value
                    del steps[run.path]
                except RunFailed as error:
                    if len(runs) == 1:
                        raise
                    failures.append(f"{run.path}: {error}")
                    run.listener.warn(failures[-1])
                    del steps[run.path]
    finally:
        for left in steps.values():
            left.close()
    plan.team.wait()  # until the last checkpoint is written
    if signalled:
        raise Stopped(128 + signalled)
    if failures:
        raise RunFailed("; ".join(failures))


def _prepare(run: _Begun, plan: Plan) -> None:
    """A folder with the record of these settings, whose newest checkpoint, if any, is whole."""
    drop_drafts(run.path)
    if not plan.resume:
        _set_aside(run.path, run.listener)
    extended: list[Any] = []
    if (run.path / RECORD).exists():
        extended = _check_record(run.path, run.settings, run.images, plan)
    found, refused = newest_checkpoint(run.path)
    for line in refused:
        run.listener.warn(line)
    if found is None and refused:
        raise InputError(f"{run.path}: no checkpoint of it is whole; --no-resume starts again")
    set_damaged_aside(run.path, found)
    write_record(run.path, run.settings, run.images, extended)


def _take_step(steps: Iterator[None]) -> None:
    """The next step.  RunFailed where the device has no room for it."""
    try:
        next(steps)
    except torch.OutOfMemoryError:
        raise RunFailed(
            "the device is out of memory; train fewer models at once, or --batch-size of fewer"
        ) from None


def _train(
    run: _Begun, found: Checkpoint | None, plan: Plan, caught: list[int], together: int
) -> Generator[None, None, int]:
    """Goes on from `found`; yields after every step, and returns the signal that ended it, or 0."""
    images = run.images
    trainer = Trainer(
        run.settings, images.images, images.index, plan.device, plan.team, plan.compiled
    )
    facts: dict[str, Any] = {"models_together": together}
    if found is not None:
        facts["before"] = found.facts.get("before", [])
        if found.exported is None:
            trainer.restore(found.weights(), found.training(), found.facts)
        else:
            trainer.start_from(found.weights(), found.facts)
            part = {name: found.facts[name] for name in OF_A_PART if name in found.facts}
            facts["before"] = [*facts["before"], part]
    trainer.together = together > 1
    run.listener.started(run.path, trainer)
    try:
        if trainer.done < 1:
            if found is not None and found.exported is not None:
                _say_anew(run, trainer.step)
            return (yield from _loop(run, trainer, plan, caught, facts))
    finally:
        run.listener.ended()
    return 0


def _say_anew(run: _Begun, step: int) -> None:
    """An export goes on: its card is no longer that of the newest weights."""
    card = run.path / CARD
    if card.exists():
        card.replace(run.path / f"export-{CARD}")
    run.listener.warn(
        f"{run.path}: is an export at step {step}: goes on from its weights, with the optimiser "
        "and the baseline as at the start"
    )


def _loop(
    run: _Begun, trainer: Trainer, plan: Plan, caught: list[int], facts: dict[str, Any]
) -> Generator[None, None, int]:
    """Steps, log, checkpoints with `facts`; a signal ends it after a checkpoint."""
    team, path, listener = plan.team, run.path, run.listener
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

"""Where the tasks of `reproduce` run: engines that others wrote, behind one interface.

A task is made of closures, which do not travel; a suite does.  So another process gets a `Job`, and
builds the graph again.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import torch

from doodcli.data.files import data_root_or_default
from doodcli.devices import usable
from doodcli.errors import InputError
from doodcli.learning.train import Stopped
from doodcli.pipeline.engine import FAILED, LEDGER, Here, Ledger, Result, Task, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from doodcli.learning.train import Listener
    from doodcli.pipeline.engine import Executor
    from doodcli.pipeline.graph import Suite

LOCAL, RAY, SLURM = "local", "ray", "slurm"
PACKAGES = {RAY: "ray", SLURM: "submitit"}
"""What an executor needs beside the project."""

PATIENCE = 60.0
"""Seconds in which a training that is stopped may save."""


class Resources(NamedTuple):
    """What was asked for: see :func:`checked`."""

    executor: str = LOCAL
    jobs: int | None = None
    """tasks at once; None is one here, and as many as there is room for elsewhere"""
    cpus: int | None = None
    """of a task, elsewhere"""
    gpus: float | None = None
    """of a task, elsewhere"""

    @property
    def room(self) -> float:
        """Tasks at once."""
        return self.jobs or (1 if self.executor == LOCAL else math.inf)


@dataclass(frozen=True)
class Job:
    """A task, as it is sent to another process."""

    suite: Suite
    task: str
    folder: Path
    """where the command was given: paths mean the same there"""
    threads: int
    listener: Callable[[str], Listener]
    """who is told how a training of this name goes"""

    def __call__(self) -> Result:
        """Do the task there, and record it in the ledger, which is on a disk that all share."""
        os.chdir(self.folder)
        torch.set_num_threads(self.threads)
        try:
            plan = replace(self.suite.plan, device=usable(self.suite.plan.device))
            suite = replace(self.suite, plan=plan, listener=self.listener(self.task))
            (task,) = [task for task in suite.tasks() if task.name == self.task]
            return attempt(task, Ledger(suite.out / LEDGER))
        except Exception as error:  # no such device there, or other code
            return Result(FAILED, f"{type(error).__name__}: {error}")
        except Stopped:
            return Result(FAILED, "was stopped by a signal, and saved")


@dataclass(frozen=True)
class Jobs:
    """What all jobs of a suite have in common."""

    suite: Suite
    folder: Path
    listener: Callable[[str], Listener]

    def of(self, task: Task, threads: int) -> Job:
        """The job of a task."""
        plan = self.suite.plan
        # An environment variable of this machine is none of another's.
        plan = replace(plan, data_root=data_root_or_default(plan.data_root))
        suite = replace(self.suite, plan=plan, listener=None)
        return Job(suite, task.name, self.folder, threads, self.listener)


def checked(asked: Resources) -> Resources:
    """What was asked for, if it makes sense.  InputError where it does not."""
    name, _, cpus, gpus = asked
    if name not in (LOCAL, RAY, SLURM):
        raise InputError(f"--executor {name}: choose from {LOCAL}, {RAY}, {SLURM}")
    if name == LOCAL:
        for option, value in (("--cpus-per-task", cpus), ("--gpus-per-task", gpus)):
            if value is not None:
                raise InputError(
                    f"{option} {value:g}: goes with --executor ray or slurm; here --jobs shares "
                    "the cores out"
                )
    elif find_spec(PACKAGES[name]) is None:
        raise InputError(
            f"--executor {name}: needs the package {PACKAGES[name]}, which is not installed; "
            "`make setup` installs it, or pip install '.[cluster]'"
        )
    if gpus is not None:
        if not 0 < gpus < math.inf:
            raise InputError(f"--gpus-per-task {gpus:g}: must be more than 0")
        if gpus != int(gpus) and (name == SLURM or gpus > 1):
            raise InputError(
                f"--gpus-per-task {gpus:g}: must be a whole number; --executor ray takes a part of "
                "one too"
            )
    return asked


@contextmanager
def opened(asked: Resources, jobs: Jobs) -> Iterator[Executor]:
    """The executor that was asked for, while it is needed; what still runs in the end is stopped.

    InputError when there is none, as where no cluster runs.
    """
    executor = _opened(asked, jobs)
    try:
        yield executor
    finally:
        executor.close()


def _opened(asked: Resources, jobs: Jobs) -> Executor:
    # What one executor needs is not loaded, and may not be there, for another.
    if asked.executor == RAY:
        from doodcli.pipeline.executors.on_ray import OnRay  # noqa: PLC0415

        return OnRay(asked, jobs)
    if asked.executor == SLURM:
        from doodcli.pipeline.executors.on_slurm import OnSlurm  # noqa: PLC0415

        return OnSlurm(asked, jobs)
    if asked.room > 1:
        from doodcli.pipeline.executors.pool import Pool  # noqa: PLC0415

        return Pool(asked, jobs)
    return Here(Ledger(jobs.suite.out / LEDGER))

"""A queue of jobs: Slurm, through submitit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import submitit

from doodcli.errors import InputError
from doodcli.pipeline.engine import FAILED, Result

if TYPE_CHECKING:
    from doodcli.pipeline.engine import Task
    from doodcli.pipeline.executors import Job, Jobs, Resources

MINUTES = 24 * 60
"""Of a job, before Slurm asks it to make room; $SBATCH_TIMELIMIT says otherwise."""

LOGS = "slurm"
"""Folder of the jobs' output, in that of the runs."""


class Requeued:
    """A job that is put into the queue again when its time is over or another takes its place.

    It goes on then: a training at its last checkpoint.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Result:
        """What the job does."""
        return self.job()

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit puts into the queue."""
        return submitit.helpers.DelayedSubmission(self)


class OnSlurm:
    """The queue of the machine where the command is given."""

    def __init__(self, asked: Resources, jobs: Jobs, cluster: str = "slurm") -> None:
        self.room, self.jobs = asked.room, jobs
        self.cpus = asked.cpus or 1
        try:
            self.queue = submitit.AutoExecutor(
                folder=jobs.folder / jobs.suite.plan.runs / LOGS, cluster=cluster
            )
        except RuntimeError as error:  # no srun
            raise InputError(
                f"--executor slurm: there is no Slurm here ({error}); give the command where "
                "sbatch works, or choose --executor local or ray"
            ) from None
        gpus = {} if asked.gpus is None else {"gpus_per_node": int(asked.gpus)}
        self.queue.update_parameters(timeout_min=MINUTES, cpus_per_task=self.cpus, **gpus)
        self.running: dict[submitit.Job[Result], str] = {}

    def submit(self, task: Task) -> None:
        """Put it into the queue."""
        self.queue.update_parameters(name=f"dood-{task.name}")
        job = self.queue.submit(Requeued(self.jobs.of(task, self.cpus)))
        self.running[job] = task.name

    def finished(self) -> dict[str, Result]:
        """Wait until one is over, and ask for all."""
        while not (over := [job for job in self.running if job.done()]):
            time.sleep(1)
        return {self.running.pop(job): _result(job) for job in over}

    def close(self) -> None:
        """Take out of the queue what is there, and stop what runs."""
        for job in self.running:
            job.cancel()


def _result(job: submitit.Job[Result]) -> Result:
    try:
        return job.result()
    except (submitit.core.utils.UncompletedJobError, OSError) as error:
        return Result(FAILED, f"{type(error).__name__}; its log is {job.paths.stderr}")

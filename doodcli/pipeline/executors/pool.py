"""Several processes on this machine: joblib's executor, loky."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import active_children
from typing import TYPE_CHECKING

import joblib
import torch
from joblib.externals.loky import ProcessPoolExecutor

from doodcli.orphans import follow
from doodcli.pipeline.engine import FAILED, Result
from doodcli.pipeline.executors import PATIENCE

if TYPE_CHECKING:
    from doodcli.pipeline.engine import Task
    from doodcli.pipeline.executors import Jobs, Resources


class Pool:
    """As many processes as tasks at once, each with its share of the cores.

    Each is alone in an executor of its own: if it dies, it takes no other task with it.
    """

    def __init__(self, asked: Resources, jobs: Jobs) -> None:
        self.room, self.jobs = asked.room, jobs
        # torch knows of $OMP_NUM_THREADS, joblib of the limits of a container.
        share = joblib.cpu_count() // int(asked.room)
        self.threads = max(1, min(torch.get_num_threads(), share))
        self.idle: list[ProcessPoolExecutor] = []
        self.running: dict[Future[Result], tuple[str, ProcessPoolExecutor]] = {}

    def submit(self, task: Task) -> None:
        """Give it to a process that is idle, or to a new one."""
        process = self.idle.pop() if self.idle else self._process()
        future = process.submit(self.jobs.of(task, self.threads))
        self.running[future] = task.name, process

    def finished(self) -> dict[str, Result]:
        """Wait for the first that is over."""
        results = {}
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            name, process = self.running.pop(future)
            try:
                results[name] = future.result()
                self.idle.append(process)
            except Exception as error:  # it was killed, or out of memory: the others go on
                results[name] = Result(FAILED, f"its process died ({type(error).__name__})")
                process.shutdown(wait=False, kill_workers=True)
        return results

    def close(self) -> None:
        """Stop what runs; a training saves first."""
        if self.running:
            for process in active_children():
                process.terminate()
            wait(self.running, PATIENCE)
        for pool in [*self.idle, *(pool for _, pool in self.running.values())]:
            pool.shutdown(kill_workers=True)

    def _process(self) -> ProcessPoolExecutor:
        # Libraries read the number of their threads when they are loaded.
        env = {"OMP_NUM_THREADS": str(self.threads)}
        return ProcessPoolExecutor(1, env=env, initializer=follow, initargs=(os.getpid(),))

"""Several processes on this machine: joblib's executor, loky."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import joblib
import torch
from joblib.externals.loky import ProcessPoolExecutor

from doodcli.pipeline.engine import FAILED, Result

if TYPE_CHECKING:
    from doodcli.pipeline.engine import Task
    from doodcli.pipeline.executors import Jobs, Resources

PATIENCE = 60.0
"""Seconds in which a training that is stopped may save."""


class Worker:
    """One process, alone in its pool: if it dies, it takes no other task with it."""

    def __init__(self, threads: int) -> None:
        # The threads of libraries that read this when they are loaded.
        env = {"OMP_NUM_THREADS": str(threads)}
        self.pool = ProcessPoolExecutor(1, env=env, initializer=_follow, initargs=(os.getpid(),))
        self.pid = self.pool.submit(os.getpid).result()


class Pool:
    """As many processes as tasks at once, each with its share of the cores."""

    def __init__(self, asked: Resources, jobs: Jobs) -> None:
        self.room, self.jobs = asked.room, jobs
        # torch knows of $OMP_NUM_THREADS, joblib of the limits of a container.
        share = joblib.cpu_count() // int(asked.room)
        self.threads = max(1, min(torch.get_num_threads(), share))
        self.idle: list[Worker] = []
        self.running: dict[Future[Result], tuple[str, Worker]] = {}

    def submit(self, task: Task) -> None:
        """Give it to a process that is idle, or to a new one."""
        worker = self.idle.pop() if self.idle else Worker(self.threads)
        future = worker.pool.submit(self.jobs.of(task, self.threads))
        self.running[future] = task.name, worker

    def finished(self) -> dict[str, Result]:
        """Wait for the first that is over."""
        results = {}
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            name, worker = self.running.pop(future)
            try:
                results[name] = future.result()
                self.idle.append(worker)
            except Exception as error:  # it was killed, or out of memory: the others go on
                results[name] = Result(FAILED, f"its process died ({type(error).__name__})")
                worker.pool.shutdown(wait=False, kill_workers=True)
        return results

    def close(self) -> None:
        """Stop what runs; a training saves first."""
        for _, worker in self.running.values():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
        wait(self.running, PATIENCE)
        for worker in [*self.idle, *(worker for _, worker in self.running.values())]:
            worker.pool.shutdown(kill_workers=True)


def _follow(parent: int) -> None:
    """Make this process end when its parent is killed: an orphan would hold what it trains."""

    def watch() -> Any:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

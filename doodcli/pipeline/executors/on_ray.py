"""Many machines as one: Ray.  Placement and retries are Ray's."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import ray

from doodcli.errors import InputError
from doodcli.pipeline.engine import FAILED, Result
from doodcli.pipeline.executors import PATIENCE

if TYPE_CHECKING:
    from doodcli.pipeline.engine import Task
    from doodcli.pipeline.executors import Job, Jobs, Resources

RETRIES = 3
"""Of a task whose process or node died; one that failed on its own is not tried again."""

SECONDS = 10.0
"""For the head of a cluster to answer."""


class OnRay:
    """The cluster that runs here, or that $RAY_ADDRESS names."""

    def __init__(self, asked: Resources, jobs: Jobs) -> None:
        _refuse_silence(os.environ.get("RAY_ADDRESS", ""))
        try:
            # "auto" joins a cluster, and never starts one.
            ray.init(address="auto", logging_level=logging.WARNING)
        except ConnectionError as error:
            raise InputError(
                f"--executor ray: there is no cluster to join ({_line(error)}); start one with "
                "`ray start --head`, or name it in $RAY_ADDRESS"
            ) from None
        self.room, self.jobs = asked.room, jobs
        self.cpus, self.gpus = asked.cpus or 1, asked.gpus or 0
        self._refuse_what_no_node_has()
        self.running: dict[Any, str] = {}

    def submit(self, task: Task) -> None:
        """Ray finds a node for it; trainings are spread over the nodes."""
        remote = _do.options(
            name=task.name, num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )  # fmt: skip
        self.running[remote.remote(self.jobs.of(task, self.cpus))] = task.name

    def finished(self) -> dict[str, Result]:
        """Wait for the first that is over."""
        ready, _ = ray.wait(list(self.running), num_returns=1)
        return {self.running.pop(one): _result(one) for one in ready}

    def close(self) -> None:
        """Interrupt what runs, so that a training saves, and leave the cluster."""
        running = list(self.running)
        for one in running:
            ray.cancel(one)
        if running:
            ray.wait(running, num_returns=len(running), timeout=PATIENCE)
        ray.shutdown()

    def _refuse_what_no_node_has(self) -> None:
        """InputError where Ray would wait for ever."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for option, kind, least in (
            ("--cpus-per-task", "CPU", self.cpus),
            ("--gpus-per-task", "GPU", self.gpus),
        ):
            most = max((node.get(kind, 0) for node in nodes), default=0)
            if most < least:
                ray.shutdown()
                raise InputError(
                    f"{option} {least:g}: no node of the cluster has so many; the most is {most:g}"
                )


def _refuse_silence(address: str) -> None:
    """InputError where nothing answers: Ray itself would ask for many minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"$RAY_ADDRESS {address}: there is no cluster to join ({error}); start one with "
            "`ray start --head`, or unset it"
        ) from None


@ray.remote
def _do(job: Job) -> Result:
    return job()


def _result(one: Any) -> Result:
    try:
        return ray.get(one)
    except ray.exceptions.RayError as error:  # its nodes died too often, or it could not start
        return Result(FAILED, f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

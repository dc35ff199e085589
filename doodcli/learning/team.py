"""Processes that train one model together, each on its share of every batch.

`torchrun` starts them and says who they are.  A team of one does nothing of this.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from doodcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class Team(NamedTuple):
    """Who this process is among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, `[batch / size, ...]`."""
        return batch[self.rank :: self.size]

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes, without gradients."""
        if self.size == 1:
            return value
        summed = value.detach().clone()
        dist.all_reduce(summed)
        return summed

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, without gradients."""
        return value if self.size == 1 else self.total(value) / self.size

    def agreed(self, values: list[float], device: torch.device) -> list[float]:
        """What the first process says, for all of them."""
        if self.size == 1:
            return values
        said = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(said, 0)
        return said.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def joined(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes."""
        if self.size == 1:
            return module
        # A batch whose drawings all stop at once leaves the heads of strokes without gradients.
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


SOLO = Team()


def is_worker() -> bool:
    """Whether `torchrun` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


@contextmanager
def gathered(device: str) -> Iterator[tuple[Team, str]]:
    """The team of this process and its own device; of one where nobody else was started.

    InputError when the machine has fewer accelerators than processes.
    """
    if not is_worker():
        yield SOLO, device
        return
    if torch.device(device).type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(
                f"--devices {os.environ['LOCAL_WORLD_SIZE']}: this machine has "
                f"{torch.cuda.device_count()} CUDA devices; give no more, or --device cpu"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


def launch(count: int, arguments: list[str]) -> int:
    """Run `dood ARGUMENTS` in `count` processes on this machine; returns the exit code."""
    import sys  # noqa: PLC0415
    import uuid  # noqa: PLC0415

    # These import slowly, and only a launch needs them.
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import (  # noqa: PLC0415
        ChildFailedError,
    )
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.2,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "doodcli", *arguments)
    except ChildFailedError as error:
        return next(iter(error.failures.values())).exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0

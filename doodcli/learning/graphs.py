"""CUDA graphs of a training step: thousands of small kernels, launched at once.

A step of this model is some thousands of operations of microseconds each, so that on a card the
host that launches them is the limit.  Recorded once, they are launched by one call.  A graph
computes again what was recorded, so whatever differs from step to step comes in a tensor: the
positions of the images, the number of the step and the numbers of its schedule.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from doodcli.learning.schedule import Numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from doodcli.learning.schedule import Phase

AS_THEY_COME = 3
"""Steps of each phase that are not recorded, in which libraries and the optimiser set up."""


class GraphedUpdate:
    """An update that is recorded for each phase of the schedule, and then replayed.

    The first steps of a phase run operation by operation, on the stream of the graphs.
    """

    def __init__(
        self,
        update: Callable[[Tensor, Any, Numbers, Phase], None],
        batch: int,
        device: torch.device,
    ) -> None:
        """`update` takes positions, number, numbers and phase of a step, and asks nothing of the
        device.  `batch` is the number of positions."""
        self.update, self.batch = update, batch
        self.stream = torch.cuda.Stream(device)
        self.given = torch.zeros(
            batch + 1 + len(Numbers._fields), dtype=torch.float64, device=device
        )
        self.graphs: dict[Phase, torch.cuda.CUDAGraph] = {}
        self.seen: Counter[Phase] = Counter()

    def __call__(self, where: Tensor, step: int, numbers: Numbers, phase: Phase) -> None:
        """One step; `where` int64 `[batch]`, on the host.  Returns before it is done."""
        values = torch.tensor([step, *numbers], dtype=torch.float64)
        # In float64 positions are exact, and all travels in one copy, which nothing waits for.
        given = torch.cat([where.double(), values]).pin_memory()
        # Whatever was done to the weights elsewhere comes first.
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        with torch.cuda.stream(self.stream):
            self.given.copy_(given, non_blocking=True)
            self.seen[phase] += 1
            if self.seen[phase] <= AS_THEY_COME:
                self._run(phase)
                return
            if phase not in self.graphs:
                self.graphs[phase] = graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                    self._run(phase)
            self.graphs[phase].replay()

    def wait(self) -> None:
        """Until all steps that were begun are done."""
        self.stream.synchronize()

    def _run(self, phase: Phase) -> None:
        where, step, numbers = self.given.split([self.batch, 1, len(Numbers._fields)])
        self.update(where.long(), step.long(), Numbers(*numbers.float().unbind()), phase)

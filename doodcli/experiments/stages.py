"""Where the time of a training step and of an IWAE evaluation goes, and how far that is from the
machine's limits.

The profiler sees every operation.  A stage is a few modules and functions of the model, labelled
while it looks; an operation of the backward pass belongs to the stage of the forward operation
whose gradient it computes, which autograd's sequence numbers tell.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import pandas as pd
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from doodcli.experiments.bench import environment, ink_images, median_seconds, training_settings
from doodcli.learning import trainer as training
from doodcli.learning.trainer import Trainer
from doodcli.model import model as core
from doodcli.model import posterior, prior
from doodcli.model.mixtures import Gaussian, Mixture
from doodcli.model.model import DrawingModel, as_input
from doodcli.model.networks import Encoder
from doodcli.model.noise import noise_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from doodcli.experiments.bench import Sizes

REST = "the rest"
"""What no stage claims: sampling, bookkeeping, the host."""

PREFIX = "stage: "


class Limits(NamedTuple):
    """What the machine does at best, measured."""

    gflop_per_s: float
    """of a product of large float32 matrices"""
    gigabytes_per_s: float
    """read and written by a copy of a large tensor"""


def stages(sizes: Sizes, device: str = "cpu", rounds: int = 5) -> pd.DataFrame:
    """Every stage of a training step and of an evaluation, and the floor of each work.

    One row for each `work` (training, likelihood) and `stage`: `milliseconds`, forward and
    backward together, and `share` of the work's total.  Columns of the whole work: `gflop` of its
    products and convolutions, `gigabytes` that its operations read and write as they are written,
    and the milliseconds that each would take at the machine's limits.  Preset `laptop` with
    nearly all strokes drawn, on synthetic ink.
    """
    settings = training_settings(sizes)
    images = ink_images(sizes.images, device)
    # A step that is launched at once does not say what it is made of.
    trainer = Trainer(settings, images, torch.arange(len(images)), device, graphed=False)
    steps = trainer.steps()
    few = as_input(images[: sizes.batch])
    noise = noise_for(torch.arange(len(few), device=few.device), sizes.samples, settings.seed)

    def step() -> None:
        next(steps)

    @torch.no_grad()
    def likelihood() -> None:
        trainer.model.score(few, noise)

    best = limits(device)
    rows = []
    for name, work in (("training", step), ("likelihood", likelihood)):
        seconds = stage_seconds(work, trainer, rounds, device)
        gflop, gigabytes = _amounts(work)
        total = sum(seconds.values())
        rows += [
            {
                "work": name,
                "stage": stage,
                "milliseconds": 1000 * seconds[stage],
                "share": seconds[stage] / total,
                "gflop": gflop,
                "gigabytes": gigabytes,
                "floor_of_gflop": 1000 * gflop / best.gflop_per_s,
                "floor_of_gigabytes": 1000 * gigabytes / best.gigabytes_per_s,
                "batch": sizes.batch,
                "samples": sizes.samples if name == "likelihood" else 1,
                **best._asdict(),
                **environment(device),
            }
            for stage in sorted(seconds, key=lambda stage: -seconds[stage])
        ]
    return pd.DataFrame(rows)


def stage_seconds(
    work: Callable[[], None], trainer: Trainer, rounds: int, device: str
) -> dict[str, float]:
    """Mean seconds of `work` that each stage's operations take by themselves."""
    on_gpu = torch.device(device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _labelled(trainer):
        work()  # warm-up
        with profile(activities=activities) as seen:
            for _ in range(rounds):
                work()
    events = [event for event in seen.events() if event.device_type.name == "CPU"]
    of_sequence: dict[int, str] = {}
    for event in events:
        stage = _around(event)
        if stage is not None and event.sequence_nr >= 0:
            # Operations without a gradient bear the number of the next one that has one.
            of_sequence[event.sequence_nr] = stage
    times: dict[str, float] = defaultdict(float)
    for event in events:
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[_around(event) or _behind(event, of_sequence) or REST] += own / 1e6 / rounds
    return dict(times)


def limits(device: str) -> Limits:
    """The rates of a large matrix product and of a large copy, medians of some."""
    side, size = 2048, 2**26
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    source = torch.zeros(size, device=device)
    copy = torch.empty_like(source)

    def multiply() -> None:
        torch.mm(a, b)

    def copy_over() -> None:
        copy.copy_(source)

    product, copying = median_seconds(multiply, copy_over, 7, 1, device)
    return Limits(2 * side**3 / product / 1e9, 2 * source.nbytes / copying / 1e9)


def _labelled(trainer: Trainer) -> ExitStack:
    """While this is open the profiler sees which stage an operation belongs to."""
    heads = [
        module
        for name, module in [*trainer.model.named_modules(), ("head", trainer.baseline.network)]
        if name.endswith("head")
    ]
    stack = ExitStack()
    for owner, names, stage in (
        (Encoder, ("forward",), "encoders"),
        (nn.GRUCell, ("forward",), "recurrent states"),
        *((head, ("forward",), "heads") for head in heads),
        (type(trainer.model.decoder), ("forward",), "renderer"),
        (core, ("glimpse",), "glimpses"),
        (posterior, ("glimpse",), "glimpses"),
        (core, ("composite",), "canvas and likelihood"),
        (DrawingModel, ("log_likelihood",), "canvas and likelihood"),
        (Trainer, ("_as_compared", "_remember"), "canvas and likelihood"),
        (Gaussian, ("log_density", "sample"), "densities"),
        (Mixture, ("log_density",), "densities"),
        (posterior, ("layout_gaussian", "point_gaussian"), "densities"),
        (prior, ("layout_gaussian", "point_gaussian"), "densities"),
        (training, ("nvil_surrogate", "learning_signal", "pathwise", "bound"), "objective"),
        (trainer.optimiser, ("step", "zero_grad"), "optimiser"),
        (torch.nn.utils, ("clip_grad_norm_",), "optimiser"),
    ):
        for name in names:
            stack.enter_context(patch.object(owner, name, _marked(getattr(owner, name), stage)))
    return stack


def _marked(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with record_function(PREFIX + stage):
            return function(*arguments, **options)

    return run


def _around(event: Any) -> str | None:
    """The innermost label around an event."""
    while event is not None:
        if event.name.startswith(PREFIX):
            return event.name.removeprefix(PREFIX)
        event = event.cpu_parent
    return None


def _behind(event: Any, of_sequence: dict[int, str]) -> str | None:
    """The stage of the forward operation whose gradient an event computes."""
    while event is not None:
        if event.name.startswith("autograd::engine") and event.sequence_nr in of_sequence:
            return of_sequence[event.sequence_nr]
        event = event.cpu_parent
    return None


class BytesMoved(TorchDispatchMode):
    """Sums the bytes of the tensors that operations are given and give back, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            moved = tree_leaves((args, kwargs, result))
            self.bytes += sum(item.nbytes for item in moved if isinstance(item, Tensor))
        return result


def _amounts(work: Callable[[], None]) -> tuple[float, float]:
    """GFLOP of products and convolutions, and gigabytes read and written, of one call."""
    with FlopCounterMode(display=False) as flops:
        work()
    with BytesMoved() as moved:
        work()
    return flops.get_total_flops() / 1e9, moved.bytes / 1e9

"""The benchmark: what rendering, training and inference cost, beside the yardstick `reference`.

Every function measures one thing and returns plain nested values.  Ours and the yardstick take
turns (A B A B …) after a warm-up, and medians are compared, so that a machine that is busy with
something else slows both alike.
"""

from __future__ import annotations

import os
import statistics
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from doodcli.devices import MEBIBYTE, device_name
from doodcli.experiments.reference import Reference, ReferenceTrainer, dense_stroke_picture
from doodcli.learning.graphs import AS_THEY_COME
from doodcli.learning.trainer import Trainer
from doodcli.model.canvas import composite
from doodcli.model.layout import place_points
from doodcli.model.model import DrawingModel, as_input
from doodcli.model.noise import noise_for
from doodcli.model.prior import PEN
from doodcli.model.renderer import stroke_picture
from doodcli.settings import change, preset
from doodcli.variants import VARIANTS
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from doodcli.settings import Settings

RESOLUTION, POINTS, CURVE_SAMPLES = 50, 5, 100


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    batch: int = 64
    """images of a training step and of the yardstick's likelihood, strokes of a rendering"""
    infer_batch: int = 256
    likelihood_batch: int = 16
    samples: int = 200
    """posterior samples of each of these, for the likelihood"""
    images: int = 512
    render_rounds: int = 15
    train_rounds: int = 3
    ours_a_round: int = 5
    """our training steps beside one of the yardstick's, which takes far longer"""
    eval_rounds: int = 5


FULL = Sizes()
QUICK = Sizes(
    batch=4,
    infer_batch=16,
    likelihood_batch=2,
    samples=2,
    images=32,
    render_rounds=3,
    train_rounds=1,
    ours_a_round=2,
    eval_rounds=2,
)


def benchmark(
    device: str = "cpu", *, quick: bool = False, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """All measurements; `tell` hears what is being measured."""
    sizes = QUICK if quick else FULL
    tell("renderer: forward and backward, beside the dense definition")
    result: dict[str, Any] = {"renderer": bench_renderer(sizes, device)}
    tell("training: steps of preset laptop, beside the reference")
    result["train"] = bench_train(sizes, device)
    tell("inference and likelihood: preset laptop")
    result |= bench_evaluation(sizes, device)
    tell("models: a training step of every variant")
    result["models"] = bench_models(sizes, device)
    return {**result, "quick": quick, "environment": environment(device)}


def bench_renderer(sizes: Sizes, device: str) -> dict[str, Any]:
    """From control points to strokes' pictures and back to gradients of points and pen.

    Ours is :func:`stroke_picture`, `dense` the same with one exponential per pixel and sample.
    `max_abs_diff` is ours in float32 against dense in float64, over pixels in [0, 1].
    """
    points, pen, weight = _random_strokes(sizes.batch, device)
    points.requires_grad_()
    pen.requires_grad_()

    def run(draw: Callable[[Tensor, Tensor, int, int], Tensor]) -> None:
        picture = draw(points, pen, CURVE_SAMPLES, RESOLUTION)
        torch.autograd.grad(picture, [points, pen], weight)

    def ours() -> None:
        run(stroke_picture)

    def dense() -> None:
        run(dense_stroke_picture)

    seconds, dense_seconds = median_seconds(ours, dense, sizes.render_rounds, 1, device)
    peak, dense_peak = peak_live_bytes(ours), peak_live_bytes(dense)
    with torch.no_grad():
        exact = dense_stroke_picture(points.double(), pen.double(), CURVE_SAMPLES, RESOLUTION)
        apart = stroke_picture(points, pen, CURVE_SAMPLES, RESOLUTION) - exact
    return {
        "time_ratio": dense_seconds / seconds,
        "memory_ratio": dense_peak / peak,
        "max_abs_diff": apart.abs().max().item(),
        "milliseconds": 1000 * seconds,
        "dense_milliseconds": 1000 * dense_seconds,
        "mebibytes": peak / MEBIBYTE,
        "dense_mebibytes": dense_peak / MEBIBYTE,
        "batch": sizes.batch,
    }


def bench_train(sizes: Sizes, device: str) -> dict[str, Any]:
    """Training steps at the same batch size on the same images.

    Ours is :class:`Trainer`'s own step with preset `laptop`, on :func:`ink_images`, with the
    stopping posterior learning from the start so that nothing of the step is left out.  How fast
    it is depends on how many strokes are drawn: it is measured at the model's first steps, with
    a posterior that starts with more strokes than a trained one draws; `strokes` says how many.
    Memory is the peak of one step without parameters and the optimiser's state, which are there
    before the step begins.
    """
    settings = training_settings(sizes)
    images = ink_images(sizes.images, device)
    index = torch.arange(len(images))
    trainer = Trainer(settings, images, index, device)
    reference = ReferenceTrainer(images, sizes.batch, settings.seed, device)
    steps = trainer.steps()
    for _ in range(untimed(trainer) - 1):
        next(steps)

    def ours() -> None:
        next(steps)

    def theirs() -> None:
        reference.step()

    seconds, reference_seconds = median_seconds(
        ours, theirs, sizes.train_rounds, sizes.ours_a_round, device
    )
    # What is replayed does not show what it allocates.
    plain = steps if trainer.graphed is None else _plain_steps(settings, images, device)
    peak, reference_peak = peak_live_bytes(lambda: next(plain)), peak_live_bytes(theirs)
    return {
        "images_per_s": sizes.batch / seconds,
        "reference_images_per_s": sizes.batch / reference_seconds,
        "ratio": reference_seconds / seconds,
        "memory_ratio": reference_peak / peak,
        "mebibytes": peak / MEBIBYTE,
        "reference_mebibytes": reference_peak / MEBIBYTE,
        "strokes": _mean_strokes(trainer.model, images),
        "batch": sizes.batch,
    }


def untimed(trainer: Trainer) -> int:
    """Steps before those that are timed: on a CUDA device those until one is replayed."""
    return 1 if trainer.graphed is None else AS_THEY_COME + 3


def _plain_steps(settings: Settings, images: Tensor, device: str) -> Iterator[Any]:
    """Steps that run as they come, after the first."""
    steps = Trainer(settings, images, torch.arange(len(images)), device, graphed=False).steps()
    next(steps)
    return steps


@torch.no_grad()
def bench_evaluation(sizes: Sizes, device: str) -> dict[str, Any]:
    """Drawings a second of untrained models: `infer`, and `score` as IWAE needs it.

    Ours is preset `laptop`, which encodes an image once for all its samples; the reference draws
    one sample of every image at a time, densely, and encodes the image each time anew: so its
    cost of a drawing does not depend on the samples, and is measured on one of each image.
    """
    settings = training_settings(sizes)
    model = DrawingModel(settings.model, settings.learning.draw_bias).to(device).eval()
    reference = Reference().to(device).eval()
    images = as_input(ink_images(sizes.infer_batch, device))
    few, fewer = images[: sizes.batch], images[: sizes.likelihood_batch]
    noise = noise_for(torch.arange(len(fewer), device=device), sizes.samples, settings.seed)
    once = noise_for(torch.arange(len(few), device=device), 1, settings.seed)

    def infer() -> None:
        model.infer(images)

    def score() -> None:
        model.score(fewer, noise)

    def theirs() -> None:
        reference.score(few, once)

    of_infer, _ = median_seconds(infer, lambda: None, sizes.eval_rounds, 1, device)
    of_score, of_theirs = median_seconds(score, theirs, sizes.eval_rounds, 1, device)
    ours, others = noise.shape.numel() / of_score, len(few) / of_theirs
    return {
        "infer": {
            "drawings_per_s": len(images) / of_infer,
            "batch": len(images),
            "strokes": _mean_strokes(model, images),
        },
        "likelihood": {
            "drawings_per_s": ours,
            "reference_drawings_per_s": others,
            "ratio": ours / others,
            "strokes": _mean_strokes(model, fewer),
            "batch": len(fewer),
            "samples": sizes.samples,
        },
    }


def bench_models(sizes: Sizes, device: str) -> list[dict[str, Any]]:
    """Parameters of every variant, and images a second of its training step, in turns."""
    images = ink_images(sizes.images, device)
    index = torch.arange(len(images))
    trainers = {
        name: Trainer(training_settings(sizes, name), images, index, device) for name in VARIANTS
    }
    steps = {name: trainer.steps() for name, trainer in trainers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    before = untimed(next(iter(trainers.values())))
    for turn in range(before + sizes.eval_rounds):
        for name in VARIANTS:
            took = seconds_of(lambda training=steps[name]: next(training), device)  # type: ignore[misc]
            if turn >= before:
                seconds[name].append(took)
    return [
        {
            "model": name,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "images_per_s": sizes.batch / statistics.median(seconds[name]),
            "strokes": _mean_strokes(trainer.model, images),
            "batch": sizes.batch,
        }
        for name, trainer in trainers.items()
    ]


def environment(device: str) -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "version": __version__,
        "git": git_version(),
    }


def ink_images(count: int, device: str = "cpu", seed: int = 0) -> Tensor:
    """Synthetic ink: one to four random strokes an image, uint8 `[count, 50, 50]`.

    Large smooth curves drawn by our own renderer: like handwritten characters in their number of
    strokes and amount of ink, and there on any machine.
    """
    generator = torch.Generator().manual_seed(seed)
    most = 4
    strokes = torch.rand(count, most, POINTS, 2, generator=generator) * 2 - 1
    spread = torch.rand(count, most, 4, generator=generator) - 0.5
    middle = torch.tensor([0.5, 0, 0, 0])
    layout = middle + spread * torch.tensor([0.4, 0.8, 0.8, 1.0])
    drawn = torch.arange(most) < torch.randint(1, most + 1, (count, 1), generator=generator)
    pen = torch.tensor([0.05, 0.4, 0.7])
    points = place_points(layout, strokes).flatten(0, 1)
    pictures = stroke_picture(points, pen.expand(len(points), 3), CURVE_SAMPLES, RESOLUTION)
    total = (pictures.unflatten(0, (count, most)) * drawn[..., None, None]).sum(1)
    return (composite(total, pen.expand(count, 3)) * 255).byte().to(device)


# ------------------------------------------------------------------ measuring


def median_seconds(
    one: Callable[[], None],
    other: Callable[[], None],
    rounds: int,
    ones_a_round: int,
    device: str,
) -> tuple[float, float]:
    """Median seconds of a call of each: a warm-up of both, then in turns, `rounds` times."""
    seconds_of(one, device)
    seconds_of(other, device)
    of_one, of_other = [], []
    for _ in range(rounds):
        of_one += [seconds_of(one, device) for _ in range(ones_a_round)]
        of_other.append(seconds_of(other, device))
    return statistics.median(of_one), statistics.median(of_other)


def seconds_of(run: Callable[[], None], device: str) -> float:
    _synchronise(device)
    began = time.perf_counter()
    run()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, and their peak, on any device.

    Every operation, backward passes included, hands its results to this mode.  A storage that
    appears first as a result was born there and counts until it is freed, which a weak reference
    tells: whatever autograd has saved keeps its storage alive and so counts.  Views share their
    storage and add nothing; a storage that appears first as an argument was there before the
    mode was entered (parameters, data, the optimiser's state) and never counts.  What a kernel
    allocates and frees within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then look at what came out."""
        del types
        tree_map_only(Tensor, self._was_there, (args, kwargs))
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._came_out, result)
        return result

    def _was_there(self, tensor: Tensor) -> None:
        self._watch(tensor.untyped_storage(), 0)

    def _came_out(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._watch(storage, storage.nbytes())

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._known:
            return

        def gone(_: object) -> None:
            del self._known[key]
            self.live -= size

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


def peak_live_bytes(run: Callable[[], object]) -> int:
    """Most bytes of tensors born in `run` that were alive at once (see :class:`LiveBytes`)."""
    with LiveBytes() as counter:
        run()
    return counter.peak


# -------------------------------------------------------------------- helpers


def training_settings(sizes: Sizes, model: str = "dood") -> Settings:
    """Preset `laptop` at the batch size of the comparison, drawing as many strokes as it ever does.

    The preset itself starts with one stroke a drawing; to time that would flatter it.
    """
    return change(
        preset("laptop", model=model),
        {
            "learning.batch_size": sizes.batch,
            "learning.stop_delay": 0,
            "learning.draw_bias": 2.0,
        },
    )


def _random_strokes(count: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Control points over the canvas and a little beyond, pens, and a gradient of pictures."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, POINTS, 2, generator=generator) * 2.2 - 1.1
    pen = PEN.constrain(torch.randn(count, 3, generator=generator))
    weight = torch.randn(count, RESOLUTION, RESOLUTION, generator=generator)
    return points.to(device), pen.to(device), weight.to(device)


@torch.no_grad()
def _mean_strokes(model: DrawingModel, images: Tensor) -> float:
    drawing, _ = model.infer(images)
    return drawing.stroke_count.mean().item()

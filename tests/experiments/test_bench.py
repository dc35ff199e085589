"""The benchmark: its counter of bytes, its yardstick, and the command from end to end."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from doodcli.experiments.bench import (
    LiveBytes,
    ink_images,
    median_seconds,
    peak_live_bytes,
)
from doodcli.experiments.reference import (
    REFERENCE,
    Reference,
    ReferenceTrainer,
    dense_ink,
    dense_stroke_picture,
)
from doodcli.model.noise import noise_for
from doodcli.model.renderer import bezier, ink, stroke_picture
from doodcli.settings import PAPER_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024


def of_bytes(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.uint8)


# ------------------------------------------------------------------ live bytes


def test_peak_counts_what_is_alive_at_once() -> None:
    def run() -> None:
        a = of_bytes(4 * KIB)
        b = of_bytes(2 * KIB)
        del a
        c = of_bytes(3 * KIB)
        del b, c
        of_bytes(KIB)

    assert peak_live_bytes(run) == 6 * KIB


def test_nothing_is_left_when_all_is_freed_and_views_and_arguments_do_not_count() -> None:
    before = of_bytes(8 * KIB)
    with LiveBytes() as counter:
        view = before[:KIB].reshape(2, -1)
        view.add_(1)
        assert counter.peak == 0
        fresh = before + 1
        part = fresh[: KIB // 2]
        del fresh  # the view keeps the whole storage alive
        assert counter.live == 8 * KIB
        del part
        assert counter.live == 0
    assert counter.peak == 8 * KIB


def test_what_autograd_saved_counts_until_the_backward_pass() -> None:
    x = torch.zeros(256, requires_grad=True)  # 1 KiB
    with LiveBytes() as counter:
        y = x.exp()  # saves its result
        z = y.sin()  # saves y, which is that result
        del y
        assert counter.live == 2 * KIB
        (gradient,) = torch.autograd.grad(z, x, torch.ones(256))
        del z
        assert counter.live == KIB  # the gradient alone
        del gradient
        assert counter.live == 0
    assert 3 * KIB <= counter.peak <= 5 * KIB


def test_the_dense_renderer_holds_at_least_its_dense_tensor() -> None:
    points, pen = torch.zeros(2, 5, 2, requires_grad=True), torch.full((2, 3), 0.1)
    dense = 4 * 2 * 50 * 50 * 100

    def run(draw: object) -> int:
        return peak_live_bytes(lambda: draw(points, pen, 100, 50).sum().backward())  # type: ignore[operator]

    assert run(dense_stroke_picture) > 2 * dense
    assert run(stroke_picture) < dense / 4


def test_median_seconds_takes_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    seconds = median_seconds(
        lambda: calls.append("a"), lambda: calls.append("b"), 2, 3, device="cpu"
    )
    assert "".join(calls) == "ab" + "aaab" * 2
    assert all(0 <= s < 1 for s in seconds)


# --------------------------------------------------------------- the yardstick


def test_dense_ink_of_the_reference_equals_ours() -> None:
    generator = torch.Generator().manual_seed(0)
    curve = bezier(torch.randn(8, 5, 2, generator=generator), 100)
    width = 0.02 + 0.06 * torch.rand(8, generator=generator)
    torch.testing.assert_close(dense_ink(curve, width, 50), ink(curve, width, 50))


def test_the_reference_has_the_sizes_of_the_protocol() -> None:
    model = Reference()
    linear = [part.in_features for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert linear.count(33_856) == 2
    encoders = [*model.image_encoder.parameters(), *model.glimpse_encoder.parameters()]
    assert sum(p.numel() for p in encoders) == pytest.approx(17.5e6, rel=0.01)
    assert REFERENCE.components == 40
    assert REFERENCE.curve_samples == 100
    assert REFERENCE.points == 5
    assert REFERENCE.strokes == PAPER_PROTOCOL["strokes"]
    assert REFERENCE.resolution == PAPER_PROTOCOL["resolution"]


def test_a_reference_step_is_finite_and_moves_every_weight() -> None:
    trainer = ReferenceTrainer(ink_images(8), 2, seed=0, device="cpu")
    named = [*trainer.model.named_parameters(), *trainer.baseline.named_parameters()]
    before = [p.detach().clone() for _, p in named]
    terms = trainer.step()
    assert all(math.isfinite(value) for value in terms)
    assert 0 < terms.strokes <= 6
    still = [n for (n, p), old in zip(named, before, strict=True) if torch.equal(p, old)]
    assert not still


def test_the_reference_counts_no_step_after_a_stop() -> None:
    images = ink_images(16).float() / 255
    with torch.no_grad():
        scored = Reference().score(images, noise_for(torch.arange(16), 1, seed=0))
    present, alive = scored.drawing.present[0], scored.alive
    assert bool((present[:, 1:] <= present[:, :-1]).all())
    assert torch.equal(alive[:, 1:], present[:, :-1])
    assert bool((alive[:, 0] == 1).all())
    assert 0 < present.mean() < 1
    assert bool((scored.marks[present == 0] == 0).all())
    assert bool((scored.on[alive == 0] == 0).all())


def test_images_of_the_benchmark_are_like_ink() -> None:
    images = ink_images(64)
    assert images.shape == (64, 50, 50)
    assert images.dtype == torch.uint8
    assert torch.equal(images, ink_images(64))
    assert bool((images.amax((1, 2)) > 128).all())
    assert 0.03 < images.float().mean() / 255 < 0.2


# ----------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def outputs() -> tuple[str, str]:
    """stdout and stderr of `bench --quick --json`."""
    result = run("--quick", "--json", "--device", "cpu")
    return result.stdout, result.stderr


def run(*arguments: str) -> Any:
    from doodcli.cli.bench import bench

    app = typer.Typer()
    app.command()(bench)
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result


def test_quick_bench_reports_every_number(outputs: tuple[str, str]) -> None:
    result = json.loads(outputs[0])
    for room, names in {
        "renderer": ("time_ratio", "memory_ratio", "max_abs_diff"),
        "train": ("images_per_s", "reference_images_per_s", "ratio", "memory_ratio", "strokes"),
        "infer": ("drawings_per_s",),
        "likelihood": ("drawings_per_s", "reference_drawings_per_s", "ratio"),
    }.items():
        for name in names:
            assert result[room][name] > 0, (room, name)
    assert set(result["environment"]) >= {"device", "threads", "torch", "version"}


def test_quick_bench_is_faster_and_smaller_than_the_yardstick(outputs: tuple[str, str]) -> None:
    result = json.loads(outputs[0])
    renderer, train = result["renderer"], result["train"]
    assert renderer["time_ratio"] > 1
    assert renderer["memory_ratio"] > 10
    assert renderer["max_abs_diff"] < 1e-5
    assert train["ratio"] > 1
    assert train["memory_ratio"] > 1
    assert train["ratio"] == pytest.approx(train["images_per_s"] / train["reference_images_per_s"])
    assert 1 < train["strokes"] <= 6


def test_progress_goes_to_stderr(outputs: tuple[str, str]) -> None:
    assert "training" in outputs[1]
    assert outputs[0].startswith("{")


def test_the_table_has_units_and_quiet_is_quiet(
    outputs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(device: str, *, quick: bool, tell: Callable[[str], None]) -> dict[str, Any]:
        tell("measuring")
        return json.loads(outputs[0])

    monkeypatch.setattr("doodcli.experiments.bench.benchmark", again)
    result = run("--device", "cpu")
    assert result.stderr == "measuring\n"
    for text in ("images/s", "drawings/s", "MiB", "ms", "×", "torch"):
        assert text in result.stdout
    assert not run("--quiet").stderr

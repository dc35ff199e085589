"""What the likelihood compares while it is learned from: blurred pictures, then plain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributions as D
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from doodcli.learning import schedule
from doodcli.learning.batches import batch_of_step
from doodcli.learning.objective import blur_kernel
from doodcli.learning.trainer import Trainer
from doodcli.model.drawing import Drawing
from doodcli.model.model import DrawingModel
from doodcli.settings import change, preset
from tests.model.test_model import pictures

if TYPE_CHECKING:
    from doodcli.model.model import Scored


def trainer(images: Tensor, **changes: object) -> Trainer:
    """Of uint8 pictures, each in every batch."""
    values = {"learning.batch_size": len(images), "learning.steps": 30, **changes}
    settings = change(preset("tiny"), values)
    return Trainer(settings, images, torch.arange(len(images)), "cpu")


def as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().byte()


def batch(one: Trainer, step: int) -> Tensor:
    """The images of a step, in [0, 1]."""
    count = len(one.images)
    return one.images[batch_of_step(count, count, one.settings.seed, step)].float() / 255


def take(one: Trainer, count: int) -> None:
    for _ in zip(range(count), one.steps(), strict=False):
        pass


def compared(one: Trainer, given: Tensor) -> Tensor:
    """Pictures as the likelihood compares them at the trainer's step."""
    s = one.settings
    numbers = schedule.numbers(s.model, s.learning, one.step, one.done)
    return one._as_compared(given, numbers, schedule.phase(s.learning, one.step))


# --------------------------------------------------------------------------------- the blur


@pytest.mark.parametrize("deviation", [1.0, 1.7, 4.0])
def test_the_kernel_keeps_all_ink_but_what_leaves_the_page(deviation: float) -> None:
    kernel = blur_kernel(50, deviation)
    assert kernel.shape == (50, 50)
    assert kernel.equal(kernel.mT)
    assert (kernel >= 0).all()
    middle = kernel[round(5 * deviation) : -round(5 * deviation)]
    torch.testing.assert_close(middle.sum(1), torch.ones(len(middle)))
    # Half of what lies on the border leaves, but for its own pixel.
    own = kernel[25, 25]
    torch.testing.assert_close(kernel[0].sum(), 0.5 * (1 + own), rtol=1e-4, atol=0)
    spread = (kernel[25] * (torch.arange(50) - 25) ** 2).sum().sqrt().item()
    assert spread == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("deviation", [0.8, 2.5])
def test_the_blur_is_the_usual_one_away_from_the_border(deviation: float) -> None:
    images = pictures(3)
    kernel = blur_kernel(50, deviation)
    ours = kernel @ images @ kernel
    theirs = gaussian_blur(images[:, None], [31, 31], [deviation, deviation])[:, 0]
    inner = (slice(None), slice(15, -15), slice(15, -15))
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=0, atol=1e-5)
    assert (ours - images)[inner].abs().max() > 0.05


@pytest.mark.parametrize(("start", "steps"), [(4.0, 500), (1.0, 20), (0.0, 10), (4.0, 0)])
def test_the_blur_falls_in_a_line_to_nothing_and_stays_there(start: float, steps: int) -> None:
    values = {"learning.blur_start": start, "learning.blur_steps": steps}
    learning = change(preset("tiny"), values).learning
    found = [schedule.blur(learning, step) for step in range(2 * steps + 2)]
    assert found[0] == (start if steps else 0)
    assert all(value == 0 for value in found[steps:])
    seen = [value for value in found if value]
    line = [start * (1 - step / max(1, steps)) for step in range(len(seen))]
    assert seen == pytest.approx(line)
    # What is left out at the end could not be seen: a third of a pixel.
    assert all(value == 0 for value in found[len(seen) :])
    assert len(seen) >= (1 - 0.34 / max(start, 0.34)) * steps


def upright(at: float) -> tuple[Drawing, Tensor]:
    """A thin line so many pixels to the right of the middle, and its picture, `[1, 50, 50]`."""
    points = torch.stack([torch.zeros(5), torch.linspace(-0.6, 0.6, 5)], -1)
    layout = torch.tensor([[[0.9, at * 2 / 50, 0.0, 0.0]]]).requires_grad_()
    pen = torch.tensor([[0.03, 0.3, 0.5]])
    drawing = Drawing(torch.ones(1, 1), layout, points[None, None], pen)
    return drawing, DrawingModel(preset("tiny").model).render(drawing)


@pytest.mark.parametrize("away", [-6.0, 6.0])
@pytest.mark.parametrize("likelihood", ["laplace", "normal"])
def test_a_blurred_stroke_is_drawn_to_the_line_that_it_missed(likelihood: str, away: float) -> None:
    target = upright(0)[1].detach()
    pull = {}
    for start in (4.0, 0.0):
        one = trainer(
            as_bytes(target.repeat(2, 1, 1)),
            **{"learning.blur_start": start, "model.likelihood": likelihood},
        )
        drawing, canvas = upright(away)
        seen, drawn = compared(one, target), compared(one, canvas)
        value = one.model.log_likelihood(seen, drawn).sum()
        (gradient,) = torch.autograd.grad(value, drawing.layout)
        pull[start] = gradient[0, 0, 1].item()
    assert pull[4.0] * away < 0  # towards the line
    assert abs(pull[4.0]) > 20 * abs(pull[0.0])


# -------------------------------------------------------------------------- the trainer


def scored_by(one: Trainer, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[Scored]:
    """The passes of some steps."""
    passes: list[Scored] = []
    score = one.model.score

    def listening(*arguments: object) -> Scored:
        passes.append(score(*arguments))  # type: ignore[arg-type]
        return passes[-1]

    monkeypatch.setattr(one.model, "score", listening)
    take(one, steps)
    return passes


def test_what_is_logged_is_of_plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    images = as_bytes(pictures(8))
    blurred, plain = (trainer(images, **{"learning.blur_start": b}) for b in (4.0, 0.0))
    (scored,) = scored_by(blurred, 1, monkeypatch)
    take(plain, 1)
    logged, expected = blurred.row(), plain.row()
    assert logged["elbo"] == pytest.approx(scored.log_weight.mean().item())
    for name in ("elbo", "likelihood", "error", "kl_marks", "kl_on", "kl_pen", "strokes"):
        assert logged[name] == expected[name]
    # Yet another objective was learned from.
    assert logged["gradient_norm"] != pytest.approx(expected["gradient_norm"], rel=1e-3)
    weights = [one.model.posterior.layout_head[-1].bias for one in (blurred, plain)]
    assert not weights[0].equal(weights[1])  # type: ignore[arg-type]


def test_when_the_blur_is_over_the_pictures_themselves_are_compared() -> None:
    images = as_bytes(pictures(4))
    one = trainer(images, **{"learning.blur_start": 4.0, "learning.blur_steps": 2})
    assert not compared(one, pictures(4)).equal(pictures(4))
    take(one, 2)
    assert compared(one, pictures(4)).equal(pictures(4))


@pytest.mark.parametrize("likelihood", ["laplace", "normal"])
def test_the_next_steps_scale_is_that_of_the_errors_so_far(
    likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(
        as_bytes(pictures(8)),
        **{
            "model.likelihood": likelihood, "learning.blur_start": 0.0,
            "learning.scale_start": 0.02, "learning.scale_steps": 1,
            "learning.scale_memory": 0.9,
        },
    )  # fmt: skip
    passes = scored_by(one, 3, monkeypatch)
    # When the third is scored the first two are known.
    errors = []
    for step, scored in enumerate(passes[:2]):
        apart = batch(one, step) - scored.canvas.detach()
        errors.append((apart.square() if likelihood == "normal" else apart.abs()).mean(0))
    mean = (0.9 * errors[0] + errors[1]) / 1.9
    expected = (mean.sqrt() if likelihood == "normal" else mean).clamp(0.01, 1)
    torch.testing.assert_close(one.model.scale, expected)
    assert expected.unique().numel() > 100
    assert expected.min().item() == pytest.approx(0.01)  # the blank border
    known = D.Normal if likelihood == "normal" else D.Laplace
    third = passes[2]
    log_p = known(third.canvas, expected).log_prob(batch(one, 2)).sum((1, 2))
    torch.testing.assert_close(third.log_likelihood, log_p, rtol=1e-4, atol=0.1)

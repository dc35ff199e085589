"""The one bijection between unconstrained coordinates and the ranges of a drawing."""

from __future__ import annotations

import pytest
import torch

from doodcli.model.layout import Interval, layout_interval, place_image, squash, unsquash
from doodcli.model.prior import PEN, FixedPrior
from doodcli.settings import ModelSettings

LAYOUT = layout_interval(ModelSettings())
INTERVALS = pytest.mark.parametrize("interval", [LAYOUT, PEN], ids=["layout", "pen"])


def ends(interval: Interval) -> tuple[torch.Tensor, torch.Tensor]:
    return interval.middle - interval.radius, interval.middle + interval.radius


def test_the_box_of_layouts_is_the_one_of_the_settings() -> None:
    low, high = ends(LAYOUT)
    turn = torch.pi / 4
    torch.testing.assert_close(low, torch.tensor([0.2, -0.8, -0.8, -turn]))
    torch.testing.assert_close(high, torch.tensor([1.0, 0.8, 0.8, turn]))


@pytest.mark.parametrize(("reach", "relative"), [(1.0, 1e-6), (10.0, 3e-5), (100.0, 3e-3)])
def test_squashing_is_undone_in_float32(reach: float, relative: float) -> None:
    u = torch.cat([torch.linspace(-reach, reach, 999), torch.tensor([-reach, reach])])
    assert squash(u).dtype == torch.float32
    torch.testing.assert_close(unsquash(squash(u)), u, rtol=relative, atol=1e-6)


def test_unsquashing_loses_nothing_near_the_ends() -> None:
    x = 1 - torch.logspace(-5.5, -1, 200)
    exact = x.double() / (1 - x.double() ** 2).sqrt()
    torch.testing.assert_close(unsquash(x).double(), exact, rtol=1e-6, atol=0)


def test_squashing_is_the_algebraic_sigmoid_and_odd() -> None:
    u = torch.linspace(-30, 30, 301, dtype=torch.float64)
    torch.testing.assert_close(squash(u), u / (1 + u * u).sqrt())
    torch.testing.assert_close(squash(-u), -squash(u))
    assert (squash(u).diff() > 0).all()


def test_the_ends_are_taken_just_inside() -> None:
    at_ends = unsquash(torch.tensor([-1.0, 1.0]))
    assert at_ends.isfinite().all()
    assert (at_ends.abs() > 500).all()
    assert at_ends[0] == -at_ends[1]


@INTERVALS
def test_free_and_constrain_undo_each_other_at_the_ends(interval: Interval) -> None:
    low, high = ends(interval)
    for share in (0.0, 1e-7, 1e-6, 1e-4, 0.01, 0.3, 0.5):
        for value in (low + share * (high - low), high - share * (high - low)):
            free = interval.free(value)
            assert free.isfinite().all()
            # A value at an end comes back from just inside, at most 1e-6 half widths away.
            torch.testing.assert_close(interval.constrain(free), value, rtol=0, atol=2e-6)


@INTERVALS
def test_free_has_finite_gradients_just_inside_the_ends(interval: Interval) -> None:
    low, high = ends(interval)
    value = (high - 1e-4 * (high - low)).requires_grad_()
    (gradient,) = torch.autograd.grad(interval.free(value).sum(), value)
    assert gradient.isfinite().all()
    assert (gradient > 0).all()


@INTERVALS
def test_constrained_values_stay_in_range(interval: Interval) -> None:
    low, high = ends(interval)
    reach = torch.cat([torch.linspace(0, 30, 1001), torch.logspace(0, 9, 2001)])
    u = torch.cat([reach, -reach])[:, None].expand(-1, len(low))
    value = interval.constrain(u)
    rounding = 1e-6 * interval.radius
    assert (value >= low - rounding).all()
    assert (value <= high + rounding).all()
    assert (interval.constrain(torch.zeros(1)) == interval.middle).all()


def test_an_interval_computes_in_the_precision_that_it_is_given() -> None:
    u = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None].expand(-1, 4)
    value = LAYOUT.constrain(u)
    assert value.dtype == torch.float64
    torch.testing.assert_close(LAYOUT.free(value), u, rtol=1e-9, atol=1e-9)


def test_a_placed_picture_is_read_through_the_inverse_of_layout_and_affine() -> None:
    # Each pixel of the canvas, taken back by the inverse matrix, sees the four pixels around it.
    side, count = 12, 5
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, side, side, generator=generator, dtype=torch.float64)
    layout = LAYOUT.constrain(torch.randn(count, 4, generator=generator, dtype=torch.float64))
    affine = torch.eye(2, 3, dtype=torch.float64) + 0.3 * torch.randn(
        count, 2, 3, generator=generator, dtype=torch.float64
    )
    centres = (torch.arange(side, dtype=torch.float64) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    canvas = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    last = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    for i in range(count):
        scale, shift_x, shift_y, turn = layout[i].tolist()
        spin = torch.tensor([[0.0, -turn], [turn, 0.0]], dtype=torch.float64).matrix_exp()
        shift = torch.tensor([[shift_x], [shift_y]], dtype=torch.float64)
        place = torch.vstack([torch.hstack([scale * spin, shift]), last])
        for then, matrix in ((None, place), (affine[i], torch.vstack([affine[i], last]) @ place)):
            source = canvas @ torch.linalg.inv(matrix).T
            near = [
                (1 - (side / 2 * (source[:, axis, None] - centres)).abs()).clamp_min(0)
                for axis in (0, 1)
            ]
            expected = torch.einsum("pr,pc,rc->p", near[1], near[0], pictures[i])
            found = place_image(
                layout[i : i + 1], pictures[i : i + 1], None if then is None else then[None]
            )
            torch.testing.assert_close(found[0].flatten(), expected)
            assert (expected > 0).any()


def test_scales_end_where_the_settings_say():
    settings = ModelSettings(scale_least=0.1, scale_most=0.4)
    low, high = ends(layout_interval(settings))
    assert (low[0].item(), high[0].item()) == pytest.approx((0.1, 0.4))
    # The fixed prior's scales follow: three quarters of the way up, give or take a quarter.
    prior = FixedPrior(settings)
    middle = layout_interval(settings).constrain(prior.layout_mean)
    assert middle.tolist() == pytest.approx([0.325, 0, 0, 0], abs=1e-6)
    step = layout_interval(settings).constrain(prior.layout_mean + 1e-3 * prior.layout_deviation)
    assert (step - middle)[0].item() == pytest.approx(1e-3 * 0.075, rel=1e-2)

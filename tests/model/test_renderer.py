"""The pen: separable ink is the dense definition, gradients are right, layouts agree."""

import pytest
import torch
from torch import Tensor

from doodcli.experiments.reference import dense_ink, dense_stroke_picture
from doodcli.model.layout import glimpse, place_image, place_points
from doodcli.model.renderer import bezier, ink, normalise, pixel_centres, saturate, stroke_picture

WIDTHS = (0.02, 0.04, 0.08)


def random_points(count: int, reach: float, seed: int = 0) -> Tensor:
    """Control points of `count` strokes, uniform in ±reach, float32."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(count, 5, 2, generator=generator) - 1) * reach


def pens(count: int, width: float, slope: float = 0.4) -> Tensor:
    return torch.tensor([width, slope, 0.7]).expand(count, 3)


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()


# ---------------------------------------------------------------- the definition


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reach", [0.7, 1.6])
def test_stroke_equals_the_dense_double_precision_definition(width: float, reach: float) -> None:
    points, pen = random_points(16, reach), pens(16, width)
    exact = dense_stroke_picture(points.double(), pen.double(), 100, 50)
    assert largest(stroke_picture(points, pen, 100, 50) - exact) < 1e-5
    assert exact.amax() > 0.9


@pytest.mark.parametrize("width", WIDTHS)
def test_ink_equals_the_dense_definition_in_double(width: float) -> None:
    curve = bezier(random_points(8, 1.3).double(), 60)
    widths = torch.full((8,), width, dtype=torch.float64)
    assert largest(ink(curve, widths, 31) - dense_ink(curve, widths, 31)) < 1e-12


def test_dense_ink_is_the_sum_over_samples_written_out() -> None:
    curve = torch.tensor([[[0.1, -0.3], [0.5, 0.2], [-0.4, 0.6]]], dtype=torch.float64)
    width = torch.tensor([0.3], dtype=torch.float64)
    drawn = dense_ink(curve, width, 4)[0]
    centres = [-0.75, -0.25, 0.25, 0.75]
    for row, y in enumerate(centres):
        for column, x in enumerate(centres):
            square = (torch.tensor([x, y], dtype=torch.float64) - curve[0]).square().sum(-1)
            assert drawn[row, column].item() == pytest.approx(
                torch.exp(-square / (2 * 0.3**2)).sum().item(), abs=1e-12
            )


def test_pixel_centres_are_half_a_pixel_inside_the_canvas() -> None:
    centres = pixel_centres(50, torch.zeros((), dtype=torch.float64))
    assert centres[0].item() == pytest.approx(-0.98)
    assert centres[-1].item() == pytest.approx(0.98)
    assert largest(centres.diff() - 0.04) < 1e-12


def test_a_point_inks_the_row_of_its_y_and_the_column_of_its_x() -> None:
    point = torch.tensor([[[0.5, -0.9]]]).expand(1, 5, 2)
    picture = ink(bezier(point, 10), torch.tensor([0.05]), 50)[0]
    row, column = divmod(int(picture.argmax()), 50)
    assert (row, column) == (2, 37)  # y = −.9 is near the top; x = .5 right of the middle


# --------------------------------------------------------------------- gradients


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    points = random_points(3, 1.1).double().requires_grad_()
    return points, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)


def test_gradient_of_ink(inputs: tuple[Tensor, Tensor]) -> None:
    assert torch.autograd.gradcheck(lambda p, w: ink(bezier(p, 12), w, 7), inputs)


def test_gradient_of_normalised_ink_holds_the_largest_pixel_fixed(
    inputs: tuple[Tensor, Tensor],
) -> None:
    points, width = inputs
    constant = ink(bezier(points, 12), width, 7).detach().amax((1, 2), keepdim=True)

    def fixed(p: Tensor, w: Tensor) -> Tensor:
        return ink(bezier(p, 12), w, 7) / constant

    def normalised(p: Tensor, w: Tensor) -> Tensor:
        return normalise(ink(bezier(p, 12), w, 7))

    assert torch.autograd.gradcheck(fixed, inputs)
    weight = torch.rand(3, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(normalised(points, width), inputs, weight)
    theirs = torch.autograd.grad(fixed(points, width), inputs, weight)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_of_a_stroke_equal_those_of_the_dense_definition() -> None:
    weight = torch.randn(4, 50, 50, generator=torch.Generator().manual_seed(2))
    found = []
    for draw, dtype in ((stroke_picture, torch.float32), (dense_stroke_picture, torch.float64)):
        points = random_points(4, 1.1).to(dtype).requires_grad_()
        pen = pens(4, 0.05).to(dtype).clone().requires_grad_()
        gradients = torch.autograd.grad(draw(points, pen, 100, 50), [points, pen], weight.to(dtype))
        found.append([g.double() for g in gradients])
    for ours, exact in zip(*found, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-3 * largest(exact))


# ------------------------------------------------------------------------ curves


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_bezier_equals_de_casteljau(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    points = torch.randn(6, count, 2, dtype=torch.float64, generator=generator)
    curve = bezier(points, 21)
    for sample, time in enumerate(torch.linspace(0, 1, 21, dtype=torch.float64)):
        level = points
        while level.shape[1] > 1:
            level = torch.lerp(level[:, :-1], level[:, 1:], time)
        assert largest(curve[:, sample] - level[:, 0]) < 1e-12


def test_bezier_begins_and_ends_at_its_end_points() -> None:
    points = random_points(10, 1.4)
    curve = bezier(points, 64)
    assert torch.equal(curve[:, 0], points[:, 0])
    assert torch.equal(curve[:, -1], points[:, -1])


# --------------------------------------------------------------- off the canvas


@pytest.mark.parametrize("away", [3.0, 1e3])
def test_a_stroke_off_the_canvas_gives_no_ink_and_finite_gradients(away: float) -> None:
    points = (random_points(4, 0.5) + away).requires_grad_()
    pen = pens(4, 0.05).clone().requires_grad_()
    picture = stroke_picture(points, pen, 100, 50)
    assert largest(picture) == 0
    for gradient in torch.autograd.grad(picture.sum(), [points, pen]):
        assert bool(torch.isfinite(gradient).all())


def test_faint_ink_is_not_blown_up() -> None:
    faint = torch.full((1, 3, 3), 5e-5)
    assert torch.equal(normalise(faint), faint)
    assert largest(normalise(4 * faint) - 1) < 1e-6


# ----------------------------------------------------------------------- layouts


def test_the_identity_layout_moves_nothing() -> None:
    points, layout = random_points(3, 1.4), torch.tensor([1.0, 0, 0, 0]).expand(3, 4)
    assert torch.equal(place_points(layout, points), points)
    images = torch.rand(3, 50, 50, generator=torch.Generator().manual_seed(3))
    assert largest(glimpse(layout, images, 50, 1.0) - images) < 1e-5
    assert largest(place_image(layout, images) - images) < 1e-5


@pytest.mark.parametrize("shift", [(0.2, 0.0), (0.0, -0.32), (-0.12, 0.24)])
def test_moving_the_picture_by_whole_pixels_equals_moving_the_points(
    shift: tuple[float, float],
) -> None:
    points, pen = random_points(8, 0.6), pens(8, 0.05)
    layout = torch.tensor([1.0, *shift, 0]).expand(8, 4)
    in_its_frame = stroke_picture(points, pen, 100, 50)
    moved = stroke_picture(place_points(layout, points), pen, 100, 50)
    assert largest(place_image(layout, in_its_frame) - moved) < 1e-4


@pytest.mark.parametrize("turn", [0.0, 0.6, -0.7])
@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_a_warped_picture_lies_where_the_placed_points_draw(turn: float, scale: float) -> None:
    points, pen = random_points(8, 0.6), pens(8, 0.06)
    layout = torch.tensor([scale, 0.13, -0.21, turn]).expand(8, 4)
    warped = place_image(layout, stroke_picture(points, pen, 100, 50))
    # The warp scales the ink's width too.
    thinner = pen * torch.tensor([scale, 1, 1])
    drawn = stroke_picture(place_points(layout, points), thinner, 100, 50)
    # Two bilinear readings of a line 1.5 pixels thick: close on average, not in every pixel.
    assert (warped - drawn).abs().mean() < 0.1 * drawn.mean()


def test_a_glimpse_undoes_a_placement() -> None:
    points, pen = random_points(8, 0.6), pens(8, 0.08)
    layout = torch.tensor([0.8, 0.1, -0.1, 0.5]).expand(8, 4)
    picture = stroke_picture(points, pen, 100, 50)
    seen = glimpse(layout, place_image(layout, picture), 50, 1.0)
    assert (seen - picture).abs().mean() < 0.1 * picture.mean()


def test_a_glimpse_sees_as_far_as_its_margin() -> None:
    # One dot at (.3, −.1): in the frame at (.1, .1) with scale .4 it stands at (.5, −.5).
    dot = ink(torch.tensor([[[0.3, -0.1]]]), torch.tensor([0.04]), 50)
    layout = torch.tensor([[0.4, 0.1, 0.1, 0.0]])
    for margin in (1.0, 1.25):
        row, column = divmod(int(glimpse(layout, dot, 50, margin).argmax()), 50)
        assert column == pytest.approx((0.5 / margin + 1) * 25 - 0.5, abs=1.01)
        assert row == pytest.approx((-0.5 / margin + 1) * 25 - 0.5, abs=1.01)


def test_saturated_ink_and_its_gradient_are_those_of_tanh() -> None:
    picture = torch.linspace(0, 12, 400).reshape(2, 10, 20).requires_grad_()
    slope = torch.tensor([0.1, 1.5])
    drawn = saturate(picture, slope)
    exact = torch.tanh(picture.detach().double() / slope.double()[:, None, None])
    assert largest(drawn - exact) < 2e-7
    assert drawn.flatten()[0] == 0  # a blank page stays blank
    (gradient,) = torch.autograd.grad(drawn.sum(), picture)
    assert largest(gradient - (1 - exact**2) / slope[:, None, None]) < 1e-5

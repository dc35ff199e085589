"""Tokens: their prior, what they do to a drawing, and the batched fit."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal, Normal

from doodcli.data.scribbles import MODEL, scribbles_drawings
from doodcli.errors import InputError
from doodcli.experiments import tokens
from doodcli.experiments.tokens import Coordinates, TokenSettings, check, fit, origin, written
from doodcli.model.drawing import Drawing
from doodcli.model.model import DrawingModel
from doodcli.model.prior import PEN
from doodcli.settings import change, preset

SETTINGS = TokenSettings(steps=24, coarse_steps=8, keep=1.0)
FEW = [0, 20, 40, 60, 80]  # the first of five characters of an alphabet


@pytest.fixture(scope="module")
def model() -> DrawingModel:
    """A renderer; nothing that is learned is asked for here."""
    small = dataclasses.replace(MODEL, features=8, hidden=8, components=2, curve_samples=32)
    return DrawingModel(small).requires_grad_(False)


@pytest.fixture(scope="module")
def types() -> Drawing:
    return scribbles_drawings().map(lambda part: part[FEW].float())


def some_z(model: DrawingModel, types: Drawing, seed: int = 0) -> Coordinates:
    """Tokens drawn from the prior."""
    generator = torch.Generator().manual_seed(seed)
    blank = origin(model, types)
    return Coordinates(*(torch.randn(part.shape, generator=generator) for part in blank))


def middle(model: DrawingModel, types: Drawing) -> torch.Tensor:
    return tokens.spread(model.render(types))[0]


# ------------------------------------------------------------------------------- the prior


def test_the_prior_of_affine_map_and_pen_is_that_of_independent_normals(model, types):
    s = TokenSettings(shift=0.3, growth=0.2, turn=0.15, shear=0.25, pen=0.4)
    blank = origin(model, types)
    z = some_z(model, types)._replace(strokes=blank.strokes, parts=blank.parts)
    centre = middle(model, types)
    drawing, token = written(types, centre, z, s)
    linear, offset = token.affine[:, :, :2], token.affine[:, :, 2]
    # Undone in the reverse order: rotation, then shear, then scales.
    turn = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    cos, sin = torch.cos(turn), torch.sin(turn)
    upright = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], 1) @ linear
    scale = torch.stack([upright[:, 0, 0], upright[:, 1, 1]], -1)
    shear = upright[:, 0, 1] / upright[:, 1, 1]
    shift = (linear @ centre[:, :, None])[..., 0] + offset - centre
    pen = PEN.free(drawing.pen) - PEN.free(types.pen)
    parts = [
        (shift, s.shift), (scale.log(), s.growth), (turn[:, None], s.turn),
        (shear[:, None], s.shear), (pen, s.pen),
    ]  # fmt: skip
    expected = sum(
        (Normal(0.0, deviation).log_prob(value) - Normal(0.0, deviation).log_prob(0 * value)).sum(1)
        for value, deviation in parts
    )
    torch.testing.assert_close(z.log_prior, expected, rtol=1e-3, atol=1e-3)


def test_the_prior_of_a_strokes_points_is_the_sum_of_its_shift_and_their_noise(model, types):
    s = TokenSettings(stroke_shift=0.05, point_noise=0.08)
    layout = types.layout[0, 0]
    count = types.strokes.shape[2]
    # The shift is one of the canvas: in a frame of scale .5 it is twice as large.
    ones = torch.ones(count, 1)
    shift = s.stroke_shift / layout[0]
    covariance = s.point_noise**2 * torch.eye(count) + shift**2 * ones @ ones.T
    noise = 0.1 * torch.randn(count, 2, generator=torch.Generator().manual_seed(1))
    normal = MultivariateNormal(torch.zeros(count), covariance)
    expected = normal.log_prob(noise.T).sum() - 2 * normal.log_prob(torch.zeros(count))
    # Of all shifts and noises with this sum, the likeliest: the sum's own density.
    half = torch.linalg.solve(covariance, noise)
    z = origin(model, types)
    z.strokes[0, 0] = shift * half.sum(0)
    z.parts[0, 0] = s.point_noise * half
    token = written(types, middle(model, types), z, s)[1]
    torch.testing.assert_close(token.points[0, 0], noise, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(z.log_prior[0], expected, rtol=1e-4, atol=1e-4)
    assert token.points[0, 1:].abs().max() == 0
    assert z.log_prior[1:].abs().max() == 0


def test_a_token_at_the_origin_is_its_type(model, types):
    drawing, token = written(types, middle(model, types), origin(model, types), SETTINGS)
    torch.testing.assert_close(model.render(drawing, token), model.render(types))


def test_the_affine_map_is_about_the_centre_which_the_shift_alone_moves(model, types):
    centre = torch.tensor([[0.5, -0.3], [0.0, 0.0]])
    z = torch.tensor([[1.0, -2.0, 1.0, -1.0, 2.0, 1.0]]).expand(2, 6)
    affine = tokens.affine_maps(centre, z, SETTINGS)
    moved = (affine[:, :, :2] @ centre[:, :, None])[..., 0] + affine[:, :, 2]
    torch.testing.assert_close(moved, centre + SETTINGS.shift * torch.tensor([1.0, -2.0]))
    # The drawing's centre is its ink's: a shifted type is nothing but a shift away.
    pictures = model.render(types).roll((4, -3), (1, 2))
    apart = tokens.spread(pictures)[0] - middle(model, types)
    expected = torch.tensor([-3.0, 4.0]).expand(len(FEW), 2) / 25
    torch.testing.assert_close(apart, expected, rtol=0, atol=5e-3)


def test_the_affine_map_scales_before_it_shears_and_turns():
    s = TokenSettings(growth=1.0, turn=1.0, shear=1.0, shift=1.0)
    z = torch.tensor([[0.5, 0.25, math.log(2), math.log(3), math.pi / 2, 1.0]])
    (affine,) = tokens.affine_maps(torch.zeros(1, 2), z, s)
    # (1, 1) → (2, 3) → (2 + 3, 3) → (−3, 5) → plus the shift
    moved = affine[:, :2] @ torch.ones(2) + affine[:, 2]
    torch.testing.assert_close(moved, torch.tensor([-2.5, 5.25]))


# -------------------------------------------------------------------------- the likelihood


def test_the_likelihood_is_normal_around_the_blurred_canvas(model, types):
    canvas = model.render(types)
    pictures = canvas.flip(0)
    s = TokenSettings(pixel_scale=0.7, blur=2.0)
    at = torch.arange(-12, 13).float()
    kernel = torch.exp(-0.5 * (at / 2.0) ** 2)
    kernel = (kernel[:, None] * kernel) / kernel.sum() ** 2
    apart = F.conv2d((canvas - pictures)[:, None], kernel[None, None], padding=12)
    deviation = torch.tensor(0.7)
    normal = Normal(0.0, deviation).log_prob(apart) - Normal(0.0, deviation).log_prob(0 * apart)
    found = tokens.log_likelihood(canvas, pictures, s.blur, s)
    torch.testing.assert_close(found, normal.sum((1, 2, 3)), rtol=5e-3, atol=1e-2)
    assert (found[[0, 1, 3, 4]] < -1).all()
    assert found[2] == 0


# ----------------------------------------------------------------------------------- a fit


def test_a_fit_finds_tokens_at_least_as_likely_as_those_that_were_drawn(model, types):
    z = some_z(model, types, 3)
    pictures = model.render(*written(types, middle(model, types), z, SETTINGS))
    longer = dataclasses.replace(SETTINGS, steps=60)
    found = fit(model, types, pictures, longer)
    drawn = z.log_prior  # its pictures are exact
    blank = tokens.log_likelihood(model.render(types), pictures, SETTINGS.blur, SETTINGS)
    own = found.log_score.diag()
    assert (own > drawn).all()
    assert (own > blank + 1).all()
    assert (found.log_score.argmax(0) == torch.arange(len(FEW))).all()


def test_the_score_is_of_the_tokens_that_are_returned(model, types):
    pictures = model.render(types)
    found = fit(model, types, pictures, SETTINGS)
    pairs = torch.arange(len(FEW) ** 2)
    strokes, canvas = tokens.draw(model, types, found, pairs, SETTINGS)
    fit_to = pictures[pairs % len(FEW)]
    again = tokens.log_likelihood(canvas, fit_to, SETTINGS.blur, SETTINGS) + found.z.log_prior
    torch.testing.assert_close(again, found.log_score.flatten(), rtol=1e-3, atol=1e-2)
    assert strokes.shape == (25, 6, 50, 50)
    # The strokes make up the whole: where there is ink of one there is ink.
    assert ((strokes.amax(1) > 0.5) <= (canvas > 0.2)).all()
    count = types.stroke_count.long()[pairs // len(FEW)]
    assert (strokes.amax((2, 3)) > 0.1).sum(1).tolist() == count.tolist()


def test_more_steps_and_a_closer_type_score_better(model, types):
    pictures = model.render(types)
    scores = [
        fit(model, types, pictures, dataclasses.replace(SETTINGS, steps=n)).log_score
        for n in (8, 40)
    ]
    other = ~torch.eye(len(FEW), dtype=torch.bool)
    assert (scores[1] > scores[0] + 1)[other].all()


def test_what_is_fitted_at_once_changes_rounding_only(model, types, monkeypatch):
    pictures = model.render(types)
    whole = fit(model, types, pictures, SETTINGS)
    monkeypatch.setattr(tokens, "PAIRS", 3)
    chunked = fit(model, types, pictures, SETTINGS)
    torch.testing.assert_close(chunked.log_score, whole.log_score, rtol=1e-3, atol=1e-2)
    for a, b in zip(chunked.z, whole.z, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-2)


def test_a_stroke_off_the_canvas_changes_no_score(model, types):
    pictures = model.render(types).flip(2)
    count = types.stroke_count.long()
    assert count.max() < 6
    more = types.map(torch.clone)
    for row, at in enumerate(count.tolist()):
        more.present[row, at] = 1
        more.layout[row, at] = torch.tensor([0.5, 0.8, 0.8, 0.0])
        more.strokes[row, at] = 12.0
    assert more.stroke_count.sum() == types.stroke_count.sum() + len(FEW)
    plain, added = (fit(model, some, pictures, SETTINGS).log_score for some in (types, more))
    torch.testing.assert_close(added, plain, rtol=1e-3, atol=1e-2)
    # Also where one support alone has it.
    mixed = Drawing(*(torch.cat([b[:1], a[1:]]) for a, b in zip(types, more, strict=True)))
    scores = fit(model, mixed, pictures, SETTINGS).log_score
    assert scores.argmax(0).equal(plain.argmax(0))


def test_dropping_leaves_the_pairs_that_go_on_as_they_are(model, types):
    z = some_z(model, types, 5)
    pictures = model.render(*written(types, middle(model, types), z, SETTINGS))
    everything = fit(model, types, pictures, SETTINGS).log_score
    dropped = fit(model, types, pictures, dataclasses.replace(SETTINGS, keep=0.4)).log_score
    coarse = fit(model, types, pictures, dataclasses.replace(SETTINGS, steps=8)).log_score
    kept = coarse >= coarse.topk(2, 0).values[-1]
    assert kept.sum(0).tolist() == [2] * len(FEW)
    torch.testing.assert_close(dropped[kept], everything[kept], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(dropped[~kept], coarse[~kept], rtol=1e-3, atol=1e-2)
    assert dropped.argmax(0).equal(everything.argmax(0))


def test_a_type_without_strokes_and_a_blank_picture_have_scores(model, types):
    empty = types._replace(present=types.present.clone())
    empty.present[0] = 0
    pictures = model.render(types)
    pictures[1] = 0
    found = fit(model, empty, pictures, SETTINGS)
    assert found.log_score.isfinite().all()
    assert (found.log_score.argmax(0)[2:] == torch.arange(2, len(FEW))).all()
    assert found.log_score[0, 1] == found.log_score[:, 1].max()


@pytest.mark.parametrize("name", ["air", "dood-dr"])
def test_a_model_without_a_spline_has_noise_on_its_codes_and_an_affine_map(name):
    settings = change(preset("tiny"), {"model.name": name, "model.resolution": 24}).model
    torch.manual_seed(0)
    model = DrawingModel(settings).requires_grad_(False)
    images = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0)).round()
    types = model.infer(images)[0].map(lambda part: part[0])
    types.present[:, 0] = 1
    found = fit(model, types, images, SETTINGS)
    start = fit(model, types, images, dataclasses.replace(SETTINGS, steps=0, coarse_steps=0))
    assert found.z.strokes.shape[-1] == 0
    assert found.z.parts.shape[1:] == types.strokes.shape[1:]
    assert found.z.parts.abs().max() > 1e-3
    assert (found.log_score > start.log_score).float().mean() > 0.8
    if name == "air":
        assert found.z.pen.abs().max() == 0


def test_a_fit_leaves_model_and_types_alone(model, types):
    before = [part.clone() for part in types]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, types, model.render(types), dataclasses.replace(SETTINGS, steps=9))
    assert all(a.equal(b) for a, b in zip(before, types, strict=True))
    assert all(weights[name].equal(value) for name, value in model.state_dict().items())
    assert model.settings.curve_samples == 32


@pytest.mark.parametrize(
    ("name", "value"),
    [("shift", 0.0), ("pixel_scale", -1.0), ("blur", 0.1), ("keep", 1.5), ("coarse_steps", 99),
     ("curve_samples", 1), ("rate", 0.0)],
)  # fmt: skip
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=f"token.{name}={value}"):
        check(dataclasses.replace(TokenSettings(), **{name: value}))
    assert check(TokenSettings()) == TokenSettings()

"""Samples, exemplars and completions: what is drawn, from what, and what the tables say of it."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from torch import Tensor

from doodcli.data.load import ImageSet, load_images
from doodcli.errors import InputError
from doodcli.experiments import generate
from doodcli.experiments.generate import Temperature
from doodcli.learning.runs import Run
from doodcli.learning.train import Plan, train
from doodcli.model.choosers import PAPER_TEMPER, UNTEMPERED, Temper
from doodcli.model.drawing import Drawing
from doodcli.model.model import DrawingModel
from doodcli.model.noise import noise_for
from doodcli.settings import ModelSettings, change, preset

SIDE = 24


def trained(folder, **values: object) -> Run:
    """A run of a few steps on small pages."""
    values = {"data.dataset": "digits", "model.resolution": SIDE, **values}
    return train(change(preset("tiny"), values), Plan(folder))


@pytest.fixture(autouse=True)
def drawing_much(monkeypatch) -> None:
    """After a few steps a page without strokes is the likeliest: let there be some of each."""
    as_trained = Run.model

    def model(run: Run, device: str = "cpu") -> DrawingModel:
        built = as_trained(run, device)
        with torch.no_grad():
            built.posterior.on_head[-1].bias.fill_(2.0)
            if run.settings.model.prior == "learned":
                built.prior.on_head[-1].bias.fill_(2.0)
        return built

    monkeypatch.setattr(Run, "model", model)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return trained(tmp_path_factory.mktemp("runs"), **{"model.strokes": 4})


@pytest.fixture(scope="module")
def air(tmp_path_factory) -> Run:
    return trained(tmp_path_factory.mktemp("runs"), **{"model.name": "air"})


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("scribbles", "test", resolution=SIDE, limit=6)


def some(images: ImageSet, which: list[int]) -> ImageSet:
    """A few of the images, by their places."""
    return ImageSet(
        images.name, images.part, images.images[which], images.labels[which], images.index[which],
        images.classes, images.fingerprint, images.remark, None,
    )  # fmt: skip


# ---------------------------------------------------------------------------- temperature


@pytest.mark.parametrize(
    ("text", "name", "temper", "remark"),
    [
        ("1", "1", UNTEMPERED, ""),
        ("1.0", "1", UNTEMPERED, ""),
        ("0.50", "0.5", Temper.of(0.5), ", temperature 0.5"),
        ("0", "0", Temper.of(0.0), ", temperature 0"),
        ("paper", "paper", PAPER_TEMPER, ", tempered as in the paper"),
    ],
)
def test_a_temperature_is_named_where_it_is_not_the_models(text, name, temper, remark):
    found = Temperature.parse(text)
    assert (found.name, found.temper, found.remark) == (name, temper, remark)
    assert found.tempered == bool(remark)


@pytest.mark.parametrize("text", ["-0.1", "11", "nan", "inf", "hot", ""])
def test_what_is_no_temperature_is_refused(text):
    with pytest.raises(InputError, match=r"--temperature .* from 0 to 10 .* or paper"):
        Temperature.parse(text)


# -------------------------------------------------------------------------------- samples


@pytest.mark.parametrize("text", ["1", "paper", "0.5"])
def test_samples_are_the_priors_and_their_rows_say_how(run, text):
    how = Temperature.parse(text)
    made = generate.sample(run, 12, how, 3, "cpu")
    model = run.model()
    drawing = model.imagine(12, 3, how.temper)
    torch.testing.assert_close(made.pictures, model.render(drawing))
    assert made.drawing.strokes.equal(drawing.strokes)
    table = made.table
    assert table["sample"].tolist() == list(range(12))
    assert table.strokes.tolist() == drawing.stroke_count.int().tolist()
    assert table.strokes.nunique() > 1
    with torch.no_grad():
        expected = model.log_prior(drawing).tolist()
    assert table.log_prior_nats.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-3)
    assert set(table.temperature) == {text}
    assert set(table.tempered) == {text != "1"}
    assert set(table.evaluation_seed) == {3}
    assert set(table.weights) == {run.provenance()["weights"]}
    assert made.title == f"dood, trained on digits{how.remark}"


def test_samples_do_not_depend_on_how_many_are_made_at_once(run, monkeypatch):
    how = Temperature.parse("1")
    whole = generate.sample(run, 12, how, 3, "cpu")
    monkeypatch.setattr(generate, "ROWS", 5)
    parts = generate.sample(run, 12, how, 3, "cpu")
    torch.testing.assert_close(parts.pictures, whole.pictures)
    pd.testing.assert_frame_equal(parts.table, whole.table)
    other = generate.sample(run, 12, how, 4, "cpu")
    assert not torch.equal(other.pictures, whole.pictures)


# --------------------------------------------------------------------------- best of several


def joint_of_each(model: DrawingModel, images: ImageSet, samples: int) -> tuple[Drawing, Tensor]:
    drawings, _ = model.infer(images.images, samples, 7, images.index)
    with torch.no_grad():
        return drawings, model.log_joint(images.images, drawings)


def test_the_best_parse_has_the_largest_log_joint_of_its_image(run, images, monkeypatch):
    model = run.model()
    drawings, log_joint = joint_of_each(model, images, 9)
    best = generate.best_parse(model, images.images, images.index, 9, 7)
    assert best.number.tolist() == log_joint.argmax(0).tolist()
    assert len(set(best.number.tolist())) > 1
    torch.testing.assert_close(best.log_joint, log_joint.max(0).values)
    for k, number in enumerate(best.number.tolist()):
        for mine, theirs in zip(best.drawing, drawings, strict=True):
            assert mine[k].equal(theirs[number, k])
    monkeypatch.setattr(generate, "ROWS", 20)  # two images at a time
    again = generate.best_parse(model, images.images, images.index, 9, 7)
    torch.testing.assert_close(tuple(again.drawing), tuple(best.drawing))
    torch.testing.assert_close(again.log_joint, best.log_joint)


def test_a_parse_may_be_over_after_some_strokes(run, images):
    model = run.model()
    drawings, _ = joint_of_each(model, images, 9)
    assert (drawings.stroke_count > 2).any()
    cut = drawings.first(2)
    assert cut.stroke_count.equal(drawings.stroke_count.clamp_max(2))
    with torch.no_grad():
        log_joint = model.log_joint(images.images, cut)
        torch.testing.assert_close(model.render(cut), model.render(drawings, upto=2))
    best = generate.best_parse(model, images.images, images.index, 9, 7, most=2)
    assert best.number.tolist() == log_joint.argmax(0).tolist()
    torch.testing.assert_close(best.log_joint, log_joint.max(0).values)
    assert best.drawing.stroke_count.max() == 2


# ------------------------------------------------------------------------------- exemplars


def tokens_of(drawing: Drawing, settings: ModelSettings, count: int = 4000):
    many = drawing.map(lambda part: part[:1].expand(count, *part.shape[1:])[None])
    noise = noise_for(torch.arange(count), 1, 0, generate.TOKEN_NOISE)
    return generate.tokens(many, noise, settings)


def strokes_of(settings: ModelSettings) -> Drawing:
    part = (settings.points, 2) if settings.latent == "points" else (settings.code,)
    return Drawing(
        torch.ones(1, settings.strokes), torch.zeros(1, settings.strokes, 4),
        torch.zeros(1, settings.strokes, *part), torch.ones(1, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("points", "deviations"),
    [(5, [0, 0.006, 0.2, 0.006, 0]), (4, [0.006, 0.2, 0.2, 0.006]), (3, [0.006, 0.2, 0.006])],
)
def test_a_token_bends_a_stroke_in_its_middle(points, deviations):
    # .1 and .003 of the reference implementation's unit frame, which is two half frames wide.
    settings = change(preset("tiny"), {"model.points": points}).model
    noise = tokens_of(strokes_of(settings), settings).points
    assert noise.shape == (1, 4000, 6, points, 2)
    found = noise.std((0, 1, 2))
    expected = torch.tensor(deviations)[:, None].expand(points, 2)
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0)
    assert noise.mean((0, 1, 2)).abs().max() < 0.01


def test_a_token_of_codes_has_noise_on_all_of_a_code():
    settings = change(preset("tiny"), {"model.name": "air"}).model
    noise = tokens_of(strokes_of(settings), settings).points
    assert noise.shape == (1, 4000, 6, settings.code)
    found = noise.std((0, 1, 2))
    torch.testing.assert_close(found, torch.full_like(found, 0.2), rtol=0.03, atol=0)


def test_a_token_shifts_grows_turns_and_leans_within_its_ranges():
    settings = preset("tiny").model
    affine = tokens_of(strokes_of(settings), settings).affine[0].double()
    # Turn · lean · growth: the first column is the growth in x, turned.
    x, y = affine[:, :, 0], affine[:, :, 1]
    turn, growth_x = torch.atan2(x[:, 1], x[:, 0]), x.norm(dim=1)
    along = x / growth_x[:, None]
    across = torch.stack([-along[:, 1], along[:, 0]], 1)
    growth_y = (across * y).sum(1)
    lean = torch.atan((along * y).sum(1) / growth_y)
    for values, middle, most in [
        (affine[:, 0, 2], 0, 0.1),
        (affine[:, 1, 2], 0, 0.1),
        (growth_x, 1, 0.1),
        (growth_y, 1, 0.1),
        (turn, 0, 0.1 * math.pi),
        (lean, 0, 0.1 * math.pi),
    ]:
        apart = values - middle
        assert apart.abs().max().item() == pytest.approx(most, rel=1e-5)
        # Half the range, less what is cut off at two deviations.
        assert apart.std().item() == pytest.approx(0.5 * most * 0.96, rel=0.05)
        assert abs(apart.mean().item()) < 0.03 * most
    parts = torch.stack([affine[:, 0, 2], affine[:, 1, 2], growth_x, growth_y, turn, lean])
    assert (torch.corrcoef(parts) - torch.eye(6)).abs().max() < 0.08


@pytest.mark.parametrize("name", ["run", "air"])
def test_exemplars_are_tokens_of_the_best_parse(name, images, request):
    run = request.getfixturevalue(name)
    made = generate.exemplars(run, images, 3, 5, 7, "cpu")
    model = run.model()
    best = generate.best_parse(model, images.images, images.index, 5, 7)
    assert made.parse.strokes.equal(best.drawing.strokes)
    assert made.pictures.shape == (3, 6, SIDE, SIDE)
    for number in range(3):
        noise = noise_for(images.index, 1, 7, generate.TOKEN_NOISE, first=number)
        one = best.drawing.map(lambda part: part[None])
        token = generate.tokens(one, noise, run.settings.model)
        with torch.no_grad():
            torch.testing.assert_close(made.pictures[number], model.render(one, token)[0])
    drawn = best.drawing.stroke_count > 0
    assert drawn.any()
    assert (made.pictures.std(0)[drawn].amax((1, 2)) > 1e-4).all()
    table = made.table
    assert table["exemplar"].tolist() == [0, 1, 2] * 6
    assert table["index"].tolist() == [k for k in images.index.tolist() for _ in range(3)]
    assert table.strokes.tolist() == [
        k for k in best.drawing.stroke_count.int().tolist() for _ in range(3)
    ]
    assert table.log_joint_nats.tolist()[::3] == pytest.approx(best.log_joint.tolist())
    assert table["class"].tolist()[0] == images.classes[images.labels[0]]
    targets = images.images.float() / 255
    error = (targets - model.render(best.drawing)).abs().mean((1, 2))
    assert table.parse_error.tolist()[::3] == pytest.approx(error.tolist(), rel=1e-5)


def test_exemplars_do_not_depend_on_company_or_number(run, images):
    whole = generate.exemplars(run, images, 3, 5, 7, "cpu")
    part = generate.exemplars(run, some(images, [4, 1]), 2, 5, 7, "cpu")
    torch.testing.assert_close(part.pictures, whole.pictures[:2, [4, 1]])
    other = generate.exemplars(run, images, 3, 5, 8, "cpu")
    assert not torch.equal(other.pictures, whole.pictures)


# ------------------------------------------------------------------------------ completions


@pytest.mark.parametrize("name", ["run", "air"])
def test_completions_add_to_the_picture_itself(name, images, request):
    run = request.getfixturevalue(name)
    made = generate.completions(run, images, 3, 5, 7, "cpu")
    targets = images.images.float() / 255
    assert made.given.equal(targets)
    assert made.pictures.shape == (3, 6, SIDE, SIDE)
    # What is given stays, but for the rounding of atanh near white.
    assert (made.pictures >= targets - 1e-4).all()
    table = made.table
    added = (table.strokes - table.strokes_parsed).to_numpy().reshape(6, 3).T
    assert (added >= 0).all()
    assert len(set(added.flatten().tolist())) > 1
    changed = (made.pictures - targets).abs().amax((2, 3)).numpy() > 1e-3
    assert not changed[added == 0].any()
    assert changed[added > 0].any()
    assert set(table.given) == {"whole picture"}
    assert table.strokes_given.isna().all()
    assert set(table.ink_given) == {1.0}
    assert table.completion.tolist() == [0, 1, 2] * 6


def test_completions_of_an_image_differ_and_do_not_depend_on_company_or_number(run, images):
    whole = generate.completions(run, images, 4, 5, 7, "cpu")
    part = generate.completions(run, some(images, [4, 1]), 2, 5, 7, "cpu")
    torch.testing.assert_close(part.pictures, whole.pictures[:2, [4, 1]])
    assert whole.pictures.std(0).amax((1, 2)).max() > 1e-2
    again = generate.completions(run, images, 4, 5, 7, "cpu")
    assert again.pictures.equal(whole.pictures)
    # Not the same noise for every image: the same picture under two names ends in two ways.
    twins = some(images, [0, 0])
    twins.index[1] = 10**6
    finished = generate.completions(run, twins, 4, 5, 7, "cpu").pictures
    assert not torch.equal(finished[:, 0], finished[:, 1])


@pytest.mark.parametrize("given", [None, 1])
def test_a_picture_is_finished_from_a_parse_that_leaves_room(run, images, given):
    made = generate.completions(run, images, 1, 9, 7, "cpu", strokes_given=given)
    model, most = run.model(), given or run.settings.model.strokes - 1
    best = generate.best_parse(model, made.given, images.index, 9, 7, most=most)
    assert made.table.strokes_parsed.tolist() == best.drawing.stroke_count.int().tolist()
    assert made.table.best_sample.tolist() == best.number.tolist()


def test_true_first_strokes_are_what_is_given(run, images):
    begun = images.images // 2
    made = generate.completions(run, images, 2, 5, 7, "cpu", strokes_given=1, begun=begun)
    assert made.given.equal(begun.float() / 255)
    assert made.wholes.equal(images.images.float() / 255)
    assert set(made.table.given) == {"first true strokes"}
    assert set(made.table.strokes_given) == {1}
    assert made.table.ink_given.between(0.45, 0.5).all()


def test_erasing_is_by_the_best_parse_of_the_whole_picture(run, images):
    made = generate.completions(run, images, 2, 5, 7, "cpu", strokes_given=1)
    model = run.model()
    targets = images.images.float() / 255
    parse = generate.best_parse(model, targets, images.index, 5, 7).drawing
    with torch.no_grad():
        expected = generate.erased(model, targets, parse, 1)
    torch.testing.assert_close(made.given, expected)
    assert (parse.stroke_count > 1).any()
    lost = (targets - expected).sum((1, 2))
    assert (lost[parse.stroke_count > 1] > 0).any()
    assert (lost[parse.stroke_count <= 1] == 0).all()
    shares = (expected.sum((1, 2)) / targets.sum((1, 2))).tolist()
    assert made.table.ink_given.tolist()[::2] == pytest.approx(shares, rel=1e-5)
    assert set(made.table.given) == {"erased"}


def plus(model: DrawingModel) -> Drawing:
    """A plus sign: first the upright, then the level."""
    s = model.settings
    along = torch.linspace(-0.8, 0.8, s.points)
    strokes = torch.zeros(1, s.strokes, s.points, 2)
    strokes[0, 0, :, 1], strokes[0, 1, :, 0] = along, along
    present = torch.zeros(1, s.strokes)
    present[:, :2] = 1
    layout = torch.tensor([0.9, 0, 0, 0]).repeat(1, s.strokes, 1)
    return Drawing(present, layout, strokes, torch.tensor([[0.05, 0.3, 0.5]]))


def test_erasing_takes_the_later_strokes_and_leaves_where_they_cross():
    model = DrawingModel(preset("tiny").model)
    drawing = plus(model)
    image = model.render(drawing)
    upright = model.render(drawing, upto=1)
    left = generate.erased(model, image, drawing, 1)
    assert left[0, 24:26, 24:26].equal(image[0, 24:26, 24:26])  # the crossing is whole
    assert left[0, 24:26, :18].max() < 1e-3  # the level is gone
    assert left[0, 24:26, 32:].max() < 1e-3
    assert left[0, :18, 24:26].equal(image[0, :18, 24:26])  # the upright is all there
    assert (left - upright).abs().mean() < 0.02
    assert generate.erased(model, image, drawing, 2).equal(image)
    assert generate.erased(model, image, drawing, 6).equal(image)


def test_ink_that_no_stroke_explains_is_not_erased():
    model = DrawingModel(preset("tiny").model)
    drawing = plus(model)
    image = model.render(drawing)
    image[0, :3, :3] = 1
    assert generate.erased(model, image, drawing, 1)[0, :3, :3].eq(1).all()
    nothing = drawing._replace(present=torch.zeros_like(drawing.present))
    assert generate.erased(model, image, nothing, 1).equal(image)


def test_a_pen_read_off_the_target_makes_a_column_of_its_own(tmp_path, images):
    leaky = trained(tmp_path, **{"model.pen": "amortised"})
    for table in (
        generate.exemplars(leaky, images, 1, 2, 7, "cpu").table,
        generate.completions(leaky, images, 1, 2, 7, "cpu").table,
    ):
        assert "log_joint_nats" not in table
        assert table.leaky_log_joint_nats.notna().all()

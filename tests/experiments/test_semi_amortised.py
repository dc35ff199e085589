"""Posteriors of each image's own: a bound still, and a tighter one."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from doodcli.data.load import load_images
from doodcli.experiments import likelihood, semi_amortised
from doodcli.experiments.generate import TOKEN_NOISE
from doodcli.experiments.likelihood import Effort
from doodcli.experiments.reconstruct import reconstruct
from doodcli.experiments.semi_amortised import DRAWING, fit
from doodcli.learning.train import Plan, train
from doodcli.model.model import (
    IMAGINATION,
    IMAGINED_PEN,
    PEN_NOISE,
    DrawingModel,
    as_input,
)
from doodcli.model.noise import noise_for
from doodcli.settings import change, preset


def built(**model: object) -> DrawingModel:
    torch.manual_seed(1)
    changes = {"model.resolution": 24, **{f"model.{name}": v for name, v in model.items()}}
    return DrawingModel(change(preset("tiny"), changes).model, draw_bias=1.0)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", "test", resolution=24, limit=8)


@pytest.mark.parametrize("pen", ["latent", "global"])
def test_its_log_density_is_that_of_independent_normals(images, pen):
    model, targets = built(pen=pen), as_input(images.images)
    own = fit(model, targets, images.index, 3)
    with torch.no_grad():
        drawing, log_q = own.sample(model, noise_for(images.index, 4, 0), DRAWING)
    assert drawing.present.equal(own.parse.present.expand(4, -1, -1))
    assert 0 < drawing.present.mean() < 1
    free = torch.cat([model.interval.free(drawing.layout), drawing.strokes.flatten(3)], -1)
    each = Normal(own.marks.mean, own.marks.deviation).log_prob(free).sum(-1)
    expected = (drawing.present * each).sum(-1)
    if pen == "latent":
        normal = Normal(own.pen.mean, own.pen.deviation)
        expected = expected + normal.log_prob(model.free_pen(drawing.pen)).sum(-1)
    else:
        shared = model.pen_interval.constrain(model.shared_pen())
        torch.testing.assert_close(drawing.pen, shared.expand_as(drawing.pen))
    # Undoing what keeps a value in its interval rounds, and the deviations are small.
    torch.testing.assert_close(log_q, expected, atol=0.2, rtol=1e-3)


def test_where_an_image_says_nothing_no_bound_passes_the_evidence_that_is_known(images):
    model = built()
    model.scale.fill_(1e6)  # so wide that every canvas is as likely: p(x) is this density
    exact = -math.log(2e6) * model.scale.numel()
    bounds = [
        semi_amortised.estimate(model, images.images, images.index, 200, 0, steps)
        for steps in (1, 20, 200)
    ]
    for found in bounds:
        error = (found.iwae.std() / math.sqrt(len(images))).item()
        assert found.iwae.mean().item() <= exact + 4 * error
        assert (found.elbo <= found.iwae + 1e-3).all()
    elbos = [found.elbo.mean() for found in bounds]
    assert elbos[0] < elbos[1] < elbos[2] < exact


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = change(preset("tiny", "digits"), {"data.dataset": "digits", "learning.steps": 40})
    return train(settings, Plan(tmp_path_factory.mktemp("runs")))


def test_more_steps_give_a_tighter_bound(run):
    images = load_images("digits", "test", limit=8)
    model = run.model("cpu")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    rows = [likelihood.row_of_run(run, model, images, Effort(20, steps)) for steps in (0, 5, 40)]
    nats, errors = ([row[name] for row in rows] for name in ("elbo_nats", "mean_abs_error"))
    assert nats[0] + 10 < nats[2]
    assert nats[1] + 10 < nats[2]
    assert errors[2] < errors[0]
    assert [row["refine_steps"] for row in rows] == [0, 5, 40]
    assert {row["kind"] for row in rows} == {"bound"}
    # The model is as it was.
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_refined_reconstruction_is_closer_and_says_so(run):
    images = load_images("digits", "test", limit=4)
    plain, refined = (reconstruct(run, images, 0, "cpu", steps) for steps in (0, 30))
    assert refined.table.mean_abs_error.mean() < plain.table.mean_abs_error.mean()
    assert refined.table.elbo_nats.mean() > plain.table.elbo_nats.mean()
    assert set(refined.table.refine_steps) == {30}
    assert refined.label == f"{plain.label}, refined"
    assert refined.canvases.shape == plain.canvases.shape


def test_the_bounds_samples_are_not_those_that_were_climbed_on():
    purposes = [*semi_amortised.FITTING, *semi_amortised.DRAWING, TOKEN_NOISE]
    purposes += [0, PEN_NOISE, IMAGINATION, IMAGINED_PEN]
    assert len(set(purposes)) == len(purposes)


def test_images_and_chunks_do_not_hear_of_each_other(images, monkeypatch):
    model = built()

    def measure(rows: slice, seed: int = 3) -> semi_amortised.Estimate:
        return semi_amortised.estimate(model, images.images[rows], images.index[rows], 6, seed, 2)

    whole, one = measure(slice(None)), measure(slice(4, 5))
    monkeypatch.setattr(semi_amortised, "IMAGES", 3)
    parts = measure(slice(None))
    for a, b, c in zip(whole, one, parts, strict=True):
        torch.testing.assert_close(a[4:5], b, rtol=1e-3, atol=0.5)
        torch.testing.assert_close(a, c, rtol=1e-3, atol=0.5)
    assert not torch.equal(parts.iwae, measure(slice(None), seed=4).iwae)


def test_codes_have_posteriors_of_their_own_too(images):
    settings = change(preset("tiny", "digits", "air"), {"model.resolution": 24})
    torch.manual_seed(1)
    model = DrawingModel(settings.model, draw_bias=100.0)  # or no part is the best drawing
    few, many = (
        semi_amortised.estimate(model, images.images, images.index, 10, 0, steps)
        for steps in (1, 30)
    )
    assert many.elbo.mean() > few.elbo.mean() + 10


def test_scales_are_the_mean_errors_of_such_posteriors(images):
    model = built()
    scale = semi_amortised.learned_scale(model, images.images, images.index, 2, seed=5)
    targets = as_input(images.images)
    own = fit(model, targets, images.index, 2, seed=5)
    with torch.no_grad():
        noise = noise_for(images.index, semi_amortised.SCALE_SAMPLES, 5)
        canvas = model.render(own.sample(model, noise, DRAWING)[0])
    expected = (targets - canvas).abs().mean((0, 1)).clamp_min(model.settings.scale_floor)
    torch.testing.assert_close(scale, expected)
    assert scale.min() == model.settings.scale_floor
    assert scale.max() > 5 * model.settings.scale_floor


def test_rows_of_a_run_are_of_three_posteriors(run):
    source, target = load_images("digits", "train"), load_images("digits", "test", limit=6)
    table = likelihood.likelihoods(run, source, [target], Effort(10, 4, 20), "cpu")
    rows = table[table.model == "dood"]
    assert list(zip(rows.refine_steps, rows.scale_images, strict=True)) == [(0, 0), (4, 0), (4, 20)]
    assert rows.iwae_nats.nunique() == 3
    model = run.model("cpu")
    some = load_images("digits", "train", limit=20)
    model.scale.copy_(semi_amortised.learned_scale(model, some.images, some.index, 4))
    again = semi_amortised.estimate(model, target.images, target.index, 10, 0, 4)
    assert again.iwae.mean().item() == pytest.approx(rows.iwae_nats.iloc[2], abs=1e-2)

"""IWAE: a bound that rises with the samples, and that no chunk size can move."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from doodcli.data.load import load_images
from doodcli.experiments import importance, likelihood
from doodcli.model.model import DrawingModel
from doodcli.settings import ModelSettings, change, preset


def toy_log_weights(samples: int, batch: int) -> tuple[torch.Tensor, float]:
    """log p(x, z)/q(z|x) of z ~ N(0, 1), x ~ N(z, ½²) at x = 1.3, with a poor q; log p(x)."""
    x = torch.tensor(1.3, dtype=torch.float64)
    prior = Normal(torch.zeros((), dtype=torch.float64), 1.0)
    q = Normal(torch.tensor(0.8, dtype=torch.float64), 0.6)
    z = q.sample(torch.Size((samples, batch)))
    weight = prior.log_prob(z) + Normal(z, 0.5).log_prob(x) - q.log_prob(z)
    return weight, Normal(0.0, math.sqrt(1 + 0.25)).log_prob(torch.tensor(1.3)).item()


def test_elbo_is_below_iwae_is_below_the_exact_value():
    torch.manual_seed(0)
    means, errors = [], []
    for samples in (1, 5, 50, 500):
        weight, exact = toy_log_weights(samples, 4000)
        bound = importance.iwae(weight)
        means.append(bound.mean().item())
        errors.append(bound.std().item() / math.sqrt(len(bound)))
        if samples == 1:
            assert torch.equal(bound, weight[0])
    for k in range(3):
        assert means[k] <= means[k + 1] + 4 * math.hypot(errors[k], errors[k + 1])
    assert means[1] > means[0] + 4 * math.hypot(errors[0], errors[1])
    assert all(mean <= exact + 4 * error for mean, error in zip(means, errors, strict=True))
    assert means[-1] == pytest.approx(exact, abs=4 * errors[-1] + 1e-3)


@pytest.fixture(scope="module")
def model() -> DrawingModel:
    torch.manual_seed(1)
    return DrawingModel(change(preset("tiny"), {"model.resolution": 24}).model)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", "test", resolution=24, limit=10)


def test_chunks_of_rows_change_rounding_only(model, images, monkeypatch):
    whole = likelihood.estimate(model, images.images, images.index, 12, seed=3)
    monkeypatch.setattr(importance, "ROWS", {"cpu": 7})
    parts = likelihood.estimate(model, images.images, images.index, 12, seed=3)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-2)


def test_an_estimate_does_not_depend_on_the_company_of_other_images(model, images):
    whole = likelihood.estimate(model, images.images, images.index, 5, seed=3)
    one = likelihood.estimate(model, images.images[4:5], images.index[4:5], 5, seed=3)
    torch.testing.assert_close(whole.iwae[4:5], one.iwae, rtol=1e-5, atol=1e-2)


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(model, images):
    def measure(seed: int) -> torch.Tensor:
        return likelihood.estimate(model, images.images, images.index, 5, seed).iwae

    assert torch.equal(measure(3), measure(3))
    assert not torch.equal(measure(3), measure(4))


def test_one_sample_gives_the_elbo(model, images):
    found = likelihood.estimate(model, images.images, images.index, 1)
    assert torch.equal(found.iwae, found.elbo)


def test_a_blank_page_scores_as_its_laplace_says():
    source, target = load_images("digits", "train"), load_images("digits", "test", limit=50)
    row = likelihood.BlankPage.fitted(source, ModelSettings()).row(target)
    pixels = source.images.float() / 255
    median = pixels.median(0).values
    scale = (pixels - median).abs().mean(0).clamp(0.01, 1)
    expected = torch.distributions.Laplace(median, scale).log_prob(target.images.float() / 255)
    assert row["iwae_nats"] == pytest.approx(expected.sum((1, 2)).mean().item(), rel=1e-4)
    assert row["mean_strokes"] == 0

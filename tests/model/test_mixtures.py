"""Gaussians and mixtures, against torch.distributions and against their own samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from doodcli.model.mixtures import Gaussian, Mixture, positive
from doodcli.model.noise import noise_for
from doodcli.model.prior import LAYOUT_RAW, layout_gaussian, point_gaussian

SAMPLES = 40_000
SIZES = {"layout": 4, "point": 2}  # coordinates
TILTED = {"layout": 2, "point": 1}  # the second coordinate of the pair


def gaussian(kind: str, *lead: int, seed: int = 0) -> Gaussian:
    """A Gaussian as a network makes it, from raw numbers `[*lead, ...]`, with a clear tilt."""
    generator = torch.Generator().manual_seed(seed)
    size = LAYOUT_RAW if kind == "layout" else 5
    raw = torch.randn(*lead, size, generator=generator)
    raw[..., -1] += 1.5
    return layout_gaussian(raw, 0.01) if kind == "layout" else point_gaussian(raw, 1.4, 0.01)


def reference(q: Gaussian) -> MultivariateNormal:
    """The same Gaussian by its Cholesky factor, in float64."""
    deviation, tilt = q.deviation.double(), q.tilt.double()
    factor = torch.diag_embed(deviation)
    below = torch.diag_embed((deviation * tilt)[..., 1:], offset=-1)
    return MultivariateNormal(q.mean.double(), scale_tril=factor + below)


def numbers(count: int, size: int, samples: int = 1) -> tuple[Tensor, Tensor]:
    """Uniform `[samples, count]` and normal `[samples, count, size]` numbers."""
    noise = noise_for(torch.arange(count), samples, seed=3)
    return noise.uniform(1)[..., 0], noise.normal(size)


@pytest.mark.parametrize("kind", SIZES)
def test_only_the_second_coordinate_of_a_pair_is_tilted(kind: str) -> None:
    q = gaussian(kind, 7)
    others = [i for i in range(SIZES[kind]) if i != TILTED[kind]]
    assert q.mean.shape == q.deviation.shape == q.tilt.shape == (7, SIZES[kind])
    assert (q.tilt[:, TILTED[kind]] != 0).all()
    assert (q.tilt[:, others] == 0).all()
    assert (q.deviation > 0.01).all()


@pytest.mark.parametrize("kind", SIZES)
def test_log_density_is_that_of_the_cholesky_factor(kind: str) -> None:
    q = gaussian(kind, 50)
    value = q.mean + 2 * torch.randn(50, SIZES[kind], generator=torch.Generator().manual_seed(1))
    expected = reference(q).log_prob(value.double())
    torch.testing.assert_close(q.log_density(value).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", SIZES)
def test_samples_have_the_mean_and_the_covariance(kind: str) -> None:
    q = gaussian(kind)
    samples = q.sample(numbers(SAMPLES, SIZES[kind])[1][0]).double()
    truth = reference(q)
    cov = truth.covariance_matrix
    error = (cov.diagonal() / SAMPLES).sqrt()
    assert ((samples.mean(0) - truth.mean).abs() < 4 * error).all()
    # Var(x y) of a Gaussian is Σ_xx Σ_yy + Σ_xy².
    error = ((cov.diagonal()[:, None] * cov.diagonal() + cov**2) / SAMPLES).sqrt()
    assert ((samples.T.cov() - cov).abs() < 4 * error).all()
    where = TILTED[kind]
    correlation = samples[:, where - 1 : where + 1].T.corrcoef()[0, 1]
    tilt = q.tilt[where].double()
    assert abs(correlation - tilt / (1 + tilt**2).sqrt()) < 4 / SAMPLES**0.5


def test_a_sample_is_reparametrised() -> None:
    q = gaussian("layout")
    noise = torch.randn(4, generator=torch.Generator().manual_seed(2))
    parts = Gaussian(*(part.clone().requires_grad_() for part in q))
    by_mean, by_deviation, by_tilt = torch.autograd.grad(parts.sample(noise).sum(), tuple(parts))
    before = torch.cat([torch.zeros(1), noise[:-1]])
    torch.testing.assert_close(by_mean, torch.ones(4))
    torch.testing.assert_close(by_deviation, noise + q.tilt * before)
    torch.testing.assert_close(by_tilt, q.deviation * before)


@pytest.mark.parametrize("kind", SIZES)
def test_a_mixture_is_the_sum_of_its_parts(kind: str) -> None:
    parts = gaussian(kind, 30, 5)
    log_weight = torch.randn(30, 5, generator=torch.Generator().manual_seed(4)).log_softmax(-1)
    value = torch.randn(30, SIZES[kind], generator=torch.Generator().manual_seed(5))
    expected = MixtureSameFamily(Categorical(logits=log_weight.double()), reference(parts))
    torch.testing.assert_close(
        Mixture(log_weight, parts).log_density(value).double(),
        expected.log_prob(value.double()),
        rtol=1e-5,
        atol=1e-4,
    )


def far_apart(weight: Tensor) -> Mixture:
    """Components of a layout 100 apart, deviation 1, one tilted."""
    count = len(weight)
    mean = 100 * torch.arange(count)[:, None].expand(count, 4).float()
    tilt = torch.zeros(count, 4)
    tilt[:, 2] = 0.7
    return Mixture(weight.log(), Gaussian(mean, torch.ones(count, 4), tilt))


def test_a_mixture_picks_its_components_by_weight() -> None:
    weight = torch.tensor([0.5, 0.0, 0.2, 0.3])
    mixture = far_apart(weight)
    choice, noise = numbers(SAMPLES, 4)
    samples = Mixture(
        mixture.log_weight.expand(SAMPLES, -1),
        Gaussian(*(part.expand(SAMPLES, -1, -1) for part in mixture.parts)),
    ).sample(choice[0], noise[0])
    picked = (samples[:, 0] / 100).round().long()
    share = torch.bincount(picked, minlength=4) / SAMPLES
    assert share[1] == 0
    assert ((share - weight).abs() <= 4 * (weight * (1 - weight) / SAMPLES).sqrt()).all()
    # What is left is the component's own Gaussian, tilt and all.
    rest = samples - 100 * picked[:, None]
    assert (rest.mean(0).abs() < 4 * 1.3 / SAMPLES**0.5).all()
    assert abs(rest[:, 1:3].T.cov()[0, 1] - 0.7) < 4 * 1.5 / SAMPLES**0.5


def test_the_ends_of_the_unit_interval_pick_the_first_and_the_last_component() -> None:
    # The weights' sum rounds to a little less or more than 1.
    mixture = far_apart(torch.full((7,), 1 / 7))
    ends = torch.tensor([1e-7, 1 - 1e-7])
    both = Mixture(
        mixture.log_weight.expand(2, -1), Gaussian(*(p.expand(2, -1, -1) for p in mixture.parts))
    ).sample(ends, torch.zeros(2, 4))
    assert both[:, 0].tolist() == [0, 600]


def test_a_deviation_is_never_below_its_least() -> None:
    raw = torch.tensor([-1e4, -50.0, 0.0, 3.0])
    assert (positive(raw, 0.01) >= 0.01).all()
    torch.testing.assert_close(positive(raw, 0.01)[2].item(), 0.01 + 0.6931472, rtol=1e-6, atol=0)

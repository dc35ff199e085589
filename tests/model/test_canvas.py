"""The likelihoods of a pixel, and their scales of greatest likelihood."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as D
from torch import Tensor

from doodcli.model.canvas import LIKELIHOODS, composite, uncomposite

FAMILIES = sorted(LIKELIHOODS)


def some_pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, canvas = torch.rand(2, 30, 6, 5, generator=generator, dtype=torch.float64)
    return images, canvas


@pytest.mark.parametrize(("family", "known"), [("laplace", D.Laplace), ("normal", D.Normal)])
def test_the_likelihood_is_the_known_density(family: str, known: type[D.Distribution]) -> None:
    images, canvas = some_pictures()
    scale = 0.01 + torch.rand(6, 5, generator=torch.Generator().manual_seed(1))
    expected = known(canvas, scale).log_prob(images).sum((-2, -1))
    torch.testing.assert_close(LIKELIHOODS[family].log_density(images, canvas, scale), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_closed_form_scale_has_the_greatest_likelihood(family: str) -> None:
    images, canvas = some_pictures()
    likelihood = LIKELIHOODS[family]
    best = likelihood.best_scale(likelihood.moment(images - canvas).mean(0), 0.01)
    most = likelihood.log_density(images, canvas, best).sum()
    generator = torch.Generator().manual_seed(2)
    for size in (0.01, 0.1, 0.5):
        for _ in range(20):
            other = best * torch.exp(size * torch.randn(6, 5, generator=generator))
            assert likelihood.log_density(images, canvas, other).sum() < most


def test_the_closed_form_scale_is_the_best_within_its_bounds() -> None:
    error = torch.tensor([[0.0, 0.005, 0.3], [0.02, 0.99, 1.7]])
    found = LIKELIHOODS["laplace"].best_scale(error, 0.02)
    torch.testing.assert_close(found, torch.tensor([[0.02, 0.02, 0.3], [0.02, 0.99, 1.0]]))
    grid = torch.linspace(0.02, 1, 981)[:, None, None]
    by_search = (-error / grid - torch.log(2 * grid)).argmax(0)
    torch.testing.assert_close(found, grid[by_search][..., 0, 0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blank_pages_centre_has_the_greatest_likelihood(family: str) -> None:
    images, _ = some_pictures()
    values = images.flatten(1)[:29]  # an odd number has one median
    likelihood = LIKELIHOODS[family]
    centre = likelihood.centre(values)

    def nats(page: Tensor) -> Tensor:
        scale = torch.full_like(page, 0.3)
        return likelihood.log_density(values[:, None], page[None], scale[None]).sum()

    for apart in (-0.05, -0.001, 0.001, 0.05):
        assert nats(centre + apart) < nats(centre)


def test_compositing_can_be_taken_back() -> None:
    total = 2 * torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(3))
    pen = torch.tensor([[0.04, 0.3, 0.7]]).expand(3, 3)
    torch.testing.assert_close(uncomposite(composite(total, pen), pen), total, rtol=1e-3, atol=1e-4)

"""Latent noise: Philox as it was published, and a function of seed, image and sample alone."""

from __future__ import annotations

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from doodcli.model.noise import Draw, noise_for, philox

# counter, key, output: kat_vectors of Random123, philox4x32 with 10 rounds.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, output: str) -> None:
    a, b, c, d = (torch.tensor(word) for word in words(counter))
    k0, k1 = words(key)
    assert philox((a, b, c, d), (k0, k1)).tolist() == words(output)


def test_counters_broadcast() -> None:
    none = torch.zeros(1, 1, dtype=torch.int64)
    rows, columns = torch.arange(3)[:, None], torch.arange(5)
    whole = philox((columns, rows, none, none), (7, 8))
    assert whole.shape == (3, 5, 4)
    alone = philox((columns[4], rows[2, 0], none[0, 0], none[0, 0]), (7, 8))
    assert whole[2, 4].equal(alone)


def test_chunks_of_samples_and_of_images_equal_the_whole() -> None:
    images = torch.tensor([3, 1_000_000, 17])
    whole = noise_for(images, 10, seed=5)
    assert whole.shape == (10, 3)
    for draw in ("uniform", "normal"):
        full = getattr(whole, draw)(7)
        assert full.shape == (10, 3, 7)
        chunks = [noise_for(images, n, 5, first=first) for first, n in ((0, 4), (4, 1), (5, 5))]
        assert torch.cat([getattr(chunk, draw)(7) for chunk in chunks]).equal(full)
        one = noise_for(images[1:2], 10, seed=5)
        assert getattr(one, draw)(7).equal(full[:, 1:2])


def test_draws_in_one_pass_are_those_of_passes_of_their_own() -> None:
    noise = noise_for(torch.tensor([3, 1_000_000]), 4, seed=5)
    draws = [Draw(6), Draw(21, normal=True), Draw(3, normal=True, purpose=1), Draw(9, purpose=2)]
    found = noise.draw(draws)
    other = noise._replace(purpose=1)
    expected = [noise.uniform(6), noise.normal(21), other.normal(3)]
    expected.append(noise._replace(purpose=2).uniform(9))
    for one, two in zip(found, expected, strict=True):
        assert one.equal(two)


def test_the_first_sample_may_be_a_tensor() -> None:
    images = torch.tensor([3, 8])
    found = noise_for(images, 2, 5, first=torch.tensor([7])).normal(5)
    assert found.equal(noise_for(images, 2, 5, first=7).normal(5))


def test_every_part_of_the_address_gives_other_numbers() -> None:
    def drawn(draw: str, image: int = 4, seed: int = 1, purpose: int = 0, first: int = 0) -> Tensor:
        noise = noise_for(torch.tensor([image]), 1, seed, purpose, first)
        return getattr(noise, draw)(8).flatten()

    for draw in ("uniform", "normal"):
        others = [
            drawn(draw),
            drawn(draw, image=5),
            drawn(draw, image=4 + 2**20),
            drawn(draw, seed=2),
            drawn(draw, seed=1 + 2**32),
            drawn(draw, purpose=1),
            drawn(draw, first=1),
        ]
        together = torch.stack(others)
        apart = torch.cdist(together, together) + torch.eye(len(others))
        assert apart.min() > 0.1
        assert drawn(draw).equal(others[0])


def test_uniform_numbers_are_uniform_and_never_0_or_1() -> None:
    drawn = noise_for(torch.arange(500), 20, seed=11).uniform(10)
    assert drawn.dtype == torch.float32
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert stats.kstest(drawn.flatten().double(), "uniform").pvalue > 1e-3


def test_normal_numbers_are_standard_normal() -> None:
    drawn = noise_for(torch.arange(500), 20, seed=12).normal(9).double()
    assert drawn.isfinite().all()
    flat = drawn.flatten()
    assert abs(flat.mean()) < 4 / len(flat) ** 0.5
    assert abs(flat.var() - 1) < 4 * (2 / len(flat)) ** 0.5
    assert abs(flat.pow(3).mean()) < 4 * (15 / len(flat)) ** 0.5
    assert stats.kstest(flat, "norm").pvalue > 1e-3


def test_numbers_of_one_drawing_are_uncorrelated() -> None:
    noise = noise_for(torch.arange(10_000), 1, seed=13)
    both = torch.cat([noise.uniform(6)[0] - 0.5, noise.normal(9)[0]], -1).double()
    correlation = both.T.corrcoef() - torch.eye(15)
    assert correlation.abs().max() < 5 / 100


def test_images_and_samples_are_uncorrelated() -> None:
    drawn = noise_for(torch.arange(8), 8, seed=14).normal(10_000).double().flatten(0, 1)
    assert (drawn.corrcoef() - torch.eye(64)).abs().max() < 6 / 100

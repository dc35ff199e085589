"""Which images a step sees."""

from __future__ import annotations

import pytest
import torch

from doodcli.learning.batches import batch_of_step


def steps(count: int, size: int, seed: int, many: int) -> torch.Tensor:
    """The positions of the first `many` batches, end to end."""
    return torch.cat([batch_of_step(count, size, seed, step) for step in range(many)])


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    wanted = {(seed, t): batch_of_step(50, 8, seed, t) for seed in (0, 7) for t in range(20)}
    torch.manual_seed(99)  # the global generator is neither read nor moved
    state = torch.random.get_rng_state()
    for (seed, step), positions in reversed(wanted.items()):
        assert batch_of_step(50, 8, seed, step).equal(positions)
    assert torch.random.get_rng_state().equal(state)
    assert not wanted[0, 0].equal(wanted[7, 0])
    assert not wanted[0, 0].equal(wanted[0, 1])


@pytest.mark.parametrize(("count", "size"), [(12, 4), (10, 4), (7, 7), (5, 3), (3, 8), (1, 2)])
def test_each_epoch_sees_every_image_once(count: int, size: int) -> None:
    epochs = 6
    seen = steps(count, size, seed=3, many=-(-epochs * count // size))
    for epoch in seen[: epochs * count].unflatten(0, (epochs, count)):
        assert epoch.sort().values.tolist() == list(range(count))


def test_a_batch_may_wrap_from_one_epoch_into_the_next() -> None:
    seen = steps(10, 4, seed=0, many=5)
    assert seen.shape == (20,)
    first, second = seen[:10], seen[10:]
    assert batch_of_step(10, 4, 0, 2).tolist() == [*first[8:].tolist(), *second[:2].tolist()]
    assert not first.equal(second)


def test_a_batch_larger_than_the_data_repeats_them_evenly() -> None:
    batch = batch_of_step(3, 8, seed=1, step=0)
    assert batch.dtype == torch.int64
    assert sorted(torch.bincount(batch, minlength=3).tolist()) == [2, 3, 3]
    assert torch.bincount(steps(3, 8, seed=1, many=3)).tolist() == [8, 8, 8]


def test_late_steps_and_large_seeds_are_in_range() -> None:
    batch = batch_of_step(60_000, 256, seed=2**31 - 1, step=120_000)
    assert batch.shape == (256,)
    assert batch.min() >= 0
    assert batch.max() < 60_000
    assert batch.unique().numel() == 256

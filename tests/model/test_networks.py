"""Encoders: what the blank rows that they add for speed may not change."""

import pytest
import torch

from doodcli.model.networks import MANY, Encoder, round_up


@pytest.mark.parametrize("rows", [0, 1, 16, 17, 130])
def test_blank_rows_change_no_embedding_and_no_gradient(rows: int) -> None:
    torch.manual_seed(0)
    encoder, images = Encoder(2, 12, (4, 8), 6), torch.rand(rows, 2, 12, 12)
    weights = list(encoder.parameters())
    ours = encoder(images)
    plain = encoder.layers(images)
    torch.testing.assert_close(ours, plain)
    for mine, theirs in zip(
        torch.autograd.grad(ours.square().sum(), weights),
        torch.autograd.grad(plain.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_batches_of_all_sizes_are_encoded_in_few_sizes_and_little_larger() -> None:
    rows = range(1, MANY + 1)
    assert len({round_up(n) for n in rows}) < 40
    assert all(n <= round_up(n) < max(n + 16, 1.125 * n + 1) for n in rows)
    assert round_up(MANY + 1) == MANY + 1

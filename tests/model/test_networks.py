"""Encoders: what they do for speed may not change what they compute."""

import pytest
import torch
import torch.nn.functional as F

from doodcli.model.networks import CELLS, MANY, Encoder, PatchEncoder, Patches, round_up


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


@pytest.mark.parametrize("size", [12, 10, 13])
def test_patches_through_a_linear_layer_are_a_convolution_of_as_large_a_stride(size: int) -> None:
    torch.manual_seed(0)
    images, weight = torch.rand(4, 2, size, size), torch.rand(3, 2, 4, 4)
    over = -size % 4
    wanted = F.conv2d(F.pad(images, (0, over, 0, over)), weight, stride=4)
    patches = Patches(4)(images.permute(0, 2, 3, 1))
    ours = patches @ weight.permute(2, 3, 1, 0).reshape(-1, 3)
    torch.testing.assert_close(ours.permute(0, 3, 1, 2), wanted)


@pytest.mark.parametrize(
    ("size", "channels"), [(50, (4, 6, 8)), (24, (4, 6)), (8, (4,)), (8, (4, 4, 4))]
)
def test_a_patch_encoder_sees_every_pixel_in_at_most_three_cells_a_side(
    size: int, channels: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    encoder = PatchEncoder(1, size, channels, 64)
    assert encoder.layers[-2].in_features <= channels[-1] * CELLS**2
    images = torch.rand(8, 1, size, size, requires_grad=True)
    encoder(images).square().sum().backward()
    assert bool((images.grad.abs().amax(0) > 0).all())
    assert encoder(images[:0]).shape == (0, 64)

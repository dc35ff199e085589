"""Latent noise as a function of (seed, image, sample): the Philox-4x32-10 generator.

A stateful generator ties a number to how many were drawn before it, so that a result would
depend on the chunk size, on which drawings have stopped and on the number of processes.  A
counter-based one (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") has no
state: number j of sample s of image i is a hash of (seed, i, s, j), on any device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> Tensor:
    """Ten rounds of Philox-4x32: int64 words in 0..2³²−1, `[..., 4]`.

    `counter` is four int64 tensors of such words that broadcast against each other.
    """
    a, b, c, d = torch.broadcast_tensors(*counter)
    k0, k1 = key
    for _ in range(10):
        # The product of two 32-bit words wraps in int64, but its bits are those of the true one.
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            ((right >> 32) & _LOW) ^ b ^ k0,
            right & _LOW,
            ((left >> 32) & _LOW) ^ d ^ k1,
            left & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return torch.stack([a, b, c, d], -1)


class Draw(NamedTuple):
    """Numbers that are asked for."""

    size: int
    normal: bool = False
    purpose: int | None = None
    """instead of the noise's own"""

    @property
    def blocks(self) -> int:
        """Blocks of four words that it takes."""
        return math.ceil(self.size / 4)

    def of(self, uniform: Tensor) -> Tensor:
        """The numbers, of its blocks' uniform ones in float64."""
        if not self.normal:
            return uniform[..., : self.size].float().clamp(1e-7, 1 - 1e-7)
        pairs = uniform[..., : 2 * math.ceil(self.size / 2)]
        radius = torch.sqrt(-2 * torch.log(pairs[..., 0::2]))
        angle = 2 * math.pi * pairs[..., 1::2]
        both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
        return both[..., : self.size].float()


class Noise(NamedTuple):
    """The random numbers of a set of drawings.

    `image` and `sample` are int64 tensors that broadcast to the shape of the drawings, such as
    `[1, batch]` and `[samples, 1]`; `purpose` keeps different uses of the same seed apart.
    """

    seed: int
    image: Tensor
    sample: Tensor
    purpose: int = 0

    @property
    def shape(self) -> torch.Size:
        """Shape of the drawings: samples, then batch."""
        return torch.broadcast_shapes(self.image.shape, self.sample.shape)

    def uniform(self, count: int) -> Tensor:
        """float32 in (0, 1), `[..., count]`."""
        return self.draw([Draw(count)])[0]

    def normal(self, count: int) -> Tensor:
        """Standard normal float32, `[..., count]` (Box-Muller, in float64)."""
        return self.draw([Draw(count, normal=True)])[0]

    def draw(self, draws: Sequence[Draw]) -> list[Tensor]:
        """Several draws in one pass of the generator, `[..., size]` each."""
        device = self.image.device
        ranges = [torch.arange(d.blocks, device=device) + (d.normal << 24) for d in draws]
        purposes = [
            torch.full((d.blocks,), self.purpose if d.purpose is None else d.purpose, device=device)
            for d in draws
        ]
        words = philox(
            (
                torch.cat(ranges), self.sample[..., None] & _LOW, self.image[..., None] & _LOW,
                torch.cat(purposes),
            ),
            (self.seed & _LOW, (self.seed >> 32) & _LOW),
        )  # fmt: skip
        uniform = (words.double() + 0.5) / 2**32
        parts = uniform.split([d.blocks for d in draws], -2)
        return [d.of(part.flatten(-2)) for d, part in zip(draws, parts, strict=True)]


def noise_for(
    image: Tensor, samples: int, seed: int, purpose: int = 0, first: int | Tensor = 0
) -> Noise:
    """Noise for `samples` drawings of each image: shape `[samples, batch]`.

    `image` is the int64 index of each image in its data set, `[batch]`; `first` is the number of
    the first sample (a tensor: int64 `[]` or `[1]`), so that samples can be made in chunks.
    """
    sample = torch.arange(samples, device=image.device) + first
    return Noise(seed, image[None, :], sample[:, None], purpose)

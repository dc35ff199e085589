"""Which images a step sees: a function of (seed, step) alone."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor


def batch_of_step(count: int, size: int, seed: int, step: int) -> Tensor:
    """Positions of the images of batch `step`: int64 `[size]`.

    Epochs are seeded permutations, laid end to end, so that every image is seen equally often
    and a resumed run goes on with the very batches that it would have had.
    """
    first = step * size
    positions = torch.arange(first, first + size)
    parts = [
        _permutation(count, seed, int(epoch))[positions[positions // count == epoch] % count]
        for epoch in torch.unique(positions // count)
    ]
    return torch.cat(parts)


@functools.lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    # Keyed by both numbers in full: torch's CPU generator keeps 32 bits of its seed.
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return torch.from_numpy(generator.permutation(count))

"""Encoders and heads: the neural parts of the model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Encoder(nn.Module):
    """An image to an embedding: 3×3 convolutions of stride 2, then a linear layer.

    Sized for ink at 50×50: nearly all that an image of strokes says survives a stride.
    """

    def __init__(self, inputs: int, size: int, channels: tuple[int, ...], features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in channels:
            layers += [nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            inputs, size = width, (size + 1) // 2
        layers += [nn.Flatten(), nn.Linear(inputs * size * size, features), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """`[n, inputs, size, size]` → `[n, features]`."""
        rows = len(images)
        if images.device.type == "cpu" and (blank := round_up(rows) - rows):
            # oneDNN prepares a convolution anew for each batch size that it has not kept, and
            # drawings that stop leave batches of every size: blank rows make them few.
            return self.layers(F.pad(images, (0, 0, 0, 0, 0, 0, 0, blank)))[:rows]
        return self.layers(images)


MANY = 1024
"""Rows above which convolutions cost far more than their preparation."""


def round_up(rows: int) -> int:
    """The next of the numbers of rows that encoders work on, 16 more or an eighth at the most."""
    step = max(16, 1 << max(0, (rows - 1).bit_length() - 4)) if rows <= MANY else 1
    return -(-rows // step) * step


def head(inputs: int, hidden: int, outputs: int, bias: Tensor | None = None) -> nn.Sequential:
    """Two hidden layers, and a last layer that starts near zero around `bias`.

    A head that starts at its bias starts every distribution where it was meant to start,
    whatever the embeddings look like.
    """
    last = nn.Linear(hidden, outputs)
    with torch.no_grad():
        last.weight.mul_(0.01)
        if bias is not None:
            last.bias.copy_(bias)
    layers = [nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last]
    return nn.Sequential(*layers)

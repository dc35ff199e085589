"""Encoders and heads: the neural parts of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from doodcli.settings import ModelSettings


class Encoder(nn.Module):
    """An image to an embedding: strided convolutions, then a linear layer.

    Sized for ink at 50×50: nearly all that an image of strokes says survives a stride.
    """

    def __init__(
        self, inputs: int, size: int, channels: tuple[int, ...], features: int, stride: int = 2
    ) -> None:
        """`stride` is the first layer's; the others' is 2, and a kernel is a pixel larger."""
        super().__init__()
        layers: list[nn.Module] = []
        for width in channels:
            layers += [
                nn.Conv2d(inputs, width, stride + 1, stride=stride, padding=stride // 2),
                nn.ReLU(inplace=True),
            ]
            inputs, size = width, (size + 2 * (stride // 2) - stride - 1) // stride + 1
            stride = 2
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


class PatchEncoder(nn.Module):
    """An image to an embedding: patches that do not overlap, each through the same linear layer.

    Every layer is one product of large matrices, also in the gradient of its input, where
    oneDNN's convolutions of few channels are at their slowest.  Later patches are of 2×2 cells; the
    first are as large as leaves :data:`CELLS` cells a side in the end.
    """

    def __init__(self, inputs: int, size: int, channels: tuple[int, ...], features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = max(2, -(-size // (CELLS * 2 ** (len(channels) - 1))))
        for width in channels:
            layers += [Patches(side), nn.Linear(inputs * side**2, width), nn.ReLU(inplace=True)]
            inputs, size, side = width, -(-size // side), 2
        layers += [nn.Flatten(), nn.Linear(inputs * size**2, features), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """`[n, inputs, size, size]` → `[n, features]`."""
        return self.layers(images.permute(0, 2, 3, 1))


CELLS = 3
"""Cells a side of what the last layer of a :class:`PatchEncoder` sees."""


class Patches(nn.Module):
    """Cells into patches: `[n, h, w, c]` → `[n, ⌈h/side⌉, ⌈w/side⌉, side² · c]`, 0 beyond."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, cells: Tensor) -> Tensor:
        """The patches."""
        height, width = (-(-size // self.side) for size in cells.shape[1:3])
        below, right = height * self.side - cells.shape[1], width * self.side - cells.shape[2]
        if below or right:
            cells = F.pad(cells, (0, 0, 0, right, 0, below))
        apart = cells.unflatten(2, (width, self.side)).unflatten(1, (height, self.side))
        return apart.transpose(2, 3).flatten(3)


MANY = 1024
"""Rows above which convolutions cost far more than their preparation."""


def round_up(rows: int) -> int:
    """The next of the numbers of rows that encoders work on, 16 more or an eighth at the most."""
    step = max(16, 1 << max(0, (rows - 1).bit_length() - 4)) if rows <= MANY else 1
    return -(-rows // step) * step


def image_encoder(settings: ModelSettings, inputs: int) -> nn.Module:
    """`[n, inputs, R, R]` → `[n, features]`."""
    s = settings
    return Encoder(inputs, s.resolution, s.channels, s.features, s.stride)


def glimpse_encoder(settings: ModelSettings, inputs: int) -> nn.Module:
    """`[n, inputs, glimpse, glimpse]` → `[n, features]`."""
    s = settings
    kind = PatchEncoder if s.glimpse_encoder == "patches" else Encoder
    return kind(inputs, s.glimpse, s.glimpse_channels, s.features)


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

"""Gaussians and mixtures of Gaussians over layouts and control points (Eqs. 2, 3, 7 and 8).

A network gives raw numbers; the functions here turn them into distributions.  A coordinate pair
(a shift, a control point) is a correlated Gaussian in two dimensions.  Everything is float32,
whatever the networks computed in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A Gaussian whose coordinates are independent, or correlated in neighbouring pairs.

    Coordinate i is meanᵢ + deviationᵢ (εᵢ + tiltᵢ εᵢ₋₁) with standard normal ε; tilt is 0
    everywhere but at the second coordinate of a pair, whose correlation is tilt/√(1+tilt²).
    """

    mean: Tensor
    """`[..., size]`"""
    deviation: Tensor
    """`[..., size]`, positive"""
    tilt: Tensor
    """`[..., size]`, 0 for all but the second coordinates of pairs"""

    def sample(self, noise: Tensor) -> Tensor:
        """Reparametrised samples from standard normal `noise` `[..., size]`."""
        return self.mean + self.deviation * (noise + self.tilt * _before(noise))

    def log_density(self, value: Tensor) -> Tensor:
        """log N(value), summed over coordinates: `[...]`."""
        apart = (value - self.mean) / self.deviation
        noise = apart - self.tilt * _before(apart)
        return -(0.5 * (noise * noise + LOG_TWO_PI) + torch.log(self.deviation)).sum(-1)


class Mixture(NamedTuple):
    """A mixture of :class:`Gaussian`, components on the axis before the coordinates."""

    log_weight: Tensor
    """`[..., components]`, normalised"""
    parts: Gaussian
    """`[..., components, size]`"""

    def grouped(self, value: Tensor) -> Tensor:
        """A part's coordinates `[n, ...]` by the mixture that they belong to, `[n, groups, size]`.

        `log_weight` is `[n, groups, components]`.
        """
        return value.reshape(*self.log_weight.shape[:-1], self.parts.mean.shape[-1])

    def log_density(self, value: Tensor) -> Tensor:
        """log Σ_m α_m N_m(value): `[..., size]` → `[...]`."""
        each = self.parts.log_density(value[..., None, :])
        return torch.logsumexp(self.log_weight + each, -1)

    def sample(self, choice: Tensor, noise: Tensor) -> Tensor:
        """A sample; `choice`, uniform in (0, 1), `[...]`, picks the component.

        `noise` is standard normal, `[..., size]`.
        """
        below = torch.cumsum(self.log_weight.exp(), -1)
        picked = (below < choice[..., None]).sum(-1).clamp_max(below.shape[-1] - 1)

        def pick(part: Tensor) -> Tensor:
            where = picked[..., None, None].expand(*picked.shape, 1, part.shape[-1])
            return part.gather(-2, where)[..., 0, :]

        return Gaussian(*map(pick, self.parts)).sample(noise)


def positive(raw: Tensor, least: float) -> Tensor:
    """Standard deviations from raw numbers."""
    return F.softplus(raw) + least


def _before(value: Tensor) -> Tensor:
    """The coordinate before each; 0 before the first."""
    return F.pad(value[..., :-1], (1, 0))

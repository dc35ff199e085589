"""The generative model's distributions over latents (Section 2.1, Eqs. 1 to 4).

The prior sees canvases, never a target: nothing in this module is ever given one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.model.layout import Interval, squash
from doodcli.model.mixtures import Gaussian, Mixture, positive
from doodcli.model.networks import Encoder, head

if TYPE_CHECKING:
    from doodcli.settings import ModelSettings

LAYOUT_RAW = 4 + 4 + 1  # means and deviations of scale, rotation and the shift, and its tilt
LEAST_DEVIATION = 0.01

# Ink width in half canvases (σ of .01 to .04 canvases), slope of a stroke, slope of the canvas.
PEN = Interval([0.02, 0.1, 0.1], [0.08, 0.9, 1.5])


def layout_gaussian(raw: Tensor, least: float) -> Gaussian:
    """A Gaussian over an unconstrained layout from `[..., 9]` raw numbers (Eqs. 2 and 7).

    The two coordinates of the shift are correlated; scale and rotation stand alone.
    """
    deviation = positive(raw[..., 4:8], least)
    return Gaussian(raw[..., :4], deviation, F.pad(raw[..., 8:], (2, 1)))


def point_gaussian(raw: Tensor, reach: float, least: float) -> Gaussian:
    """A Gaussian over one control point from `[..., 5]` raw numbers (Eqs. 3 and 8).

    The mean stays within `reach` half frames, so that a stroke stays near its frame.
    """
    deviation = positive(raw[..., 2:4], least)
    return Gaussian(reach * squash(raw[..., :2]), deviation, F.pad(raw[..., 4:], (1, 0)))


class Prior(nn.Module):
    """p_on, p_layout and p_stroke, and the prior of the pen."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        s = settings
        self.components, self.points, self.reach = s.components, s.points, s.point_reach
        self.glimpse_encoder = Encoder(1, s.glimpse, s.glimpse_channels, s.features)
        self.on_head = head(s.features, s.hidden, 1, torch.tensor([1.0]))
        start = torch.randn(s.components, 1 + LAYOUT_RAW) * 0.5
        self.layout_head = head(s.hidden, s.hidden, start.numel(), start.flatten())
        start = torch.randn(s.points, s.components, 6) * 0.5
        inputs = s.hidden + 4 + s.features
        self.stroke_head = head(inputs, s.hidden, start.numel(), start.flatten())
        if s.pen == "latent":
            self.pen_raw = nn.Parameter(torch.zeros(2, 3))
        elif s.pen == "global":
            self.pen_raw = nn.Parameter(torch.zeros(3))

    def on(self, canvas_features: Tensor) -> Tensor:
        """Logit of p_on(o_t = 1 | x_{<t}) (Eq. 4), `[n]`."""
        return self.on_head(canvas_features)[:, 0].float()

    def layout(self, layout_memory: Tensor) -> Mixture:
        """p_layout(l_t | x_{<t}, h^l) (Eq. 2), over unconstrained layouts.

        The memory h^l has read the canvas's embedding.
        """
        raw = self.layout_head(layout_memory).float().unflatten(-1, (self.components, -1))
        weight = F.log_softmax(raw[..., 0], -1)
        return Mixture(weight, layout_gaussian(raw[..., 1:], LEAST_DEVIATION))

    def stroke(self, stroke_memory: Tensor, layout: Tensor, frame: Tensor) -> Mixture:
        """p_stroke(s_t | l_t, x̃_{<t}, h^s) (Eq. 3): one mixture a control point, `[n, points]`."""
        seen = self.glimpse_encoder(frame[:, None])
        raw = self.stroke_head(torch.cat([stroke_memory, layout, seen], -1)).float()
        raw = raw.unflatten(-1, (self.points, self.components, 6))
        weight = F.log_softmax(raw[..., 0], -1)
        return Mixture(weight, point_gaussian(raw[..., 1:], self.reach, LEAST_DEVIATION))

    def pen(self) -> Gaussian:
        """The learned prior of a latent pen, over unconstrained coordinates."""
        mean, deviation = self.pen_raw
        return Gaussian(mean, positive(deviation, LEAST_DEVIATION), torch.zeros_like(mean))

"""The generative model's distributions over latents (Section 2.1, Eqs. 1 to 4).

The prior sees canvases, never a target: nothing in this module is ever given one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.model.layout import Interval, layout_interval, squash
from doodcli.model.mixtures import Gaussian, Mixture, positive
from doodcli.model.networks import glimpse_encoder, head

if TYPE_CHECKING:
    from doodcli.settings import ModelSettings

LAYOUT_RAW = 4 + 4 + 1  # means and deviations of scale, rotation and the shift, and its tilt
LEAST_DEVIATION = 0.01


# Ink width in half canvases (σ of .01 to .04 canvases), slope of a stroke, slope of the canvas.
def pen_interval() -> Interval:
    """The box of pens."""
    return Interval([0.02, 0.1, 0.1], [0.08, 0.9, 1.5])


PEN = pen_interval()


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
    """What every prior has: that of the pen.  The rest is said by :meth:`on` and its like."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        if settings.pen == "latent":
            self.pen_raw = nn.Parameter(torch.zeros(2, 3))
        elif settings.pen == "global":
            self.pen_raw = nn.Parameter(torch.zeros(3))

    def on(self, canvas_features: Tensor, layout_memory: Tensor) -> Tensor:
        """Logit of p_on(o_t = 1), `[n]`."""
        raise NotImplementedError

    def layout(self, layout_memory: Tensor) -> Mixture:
        """p_layout(l_t), over unconstrained layouts, `[n]`."""
        raise NotImplementedError

    def stroke(self, stroke_memory: Tensor, layout: Tensor, frame: Tensor) -> Mixture:
        """p_stroke(s_t): one mixture a group of coordinates, `[n, groups]`.

        :meth:`Mixture.grouped` puts a part's coordinates into these groups.
        """
        raise NotImplementedError

    def pen(self) -> Gaussian:
        """The learned prior of a latent pen, over unconstrained coordinates."""
        mean, deviation = self.pen_raw
        return Gaussian(mean, positive(deviation, LEAST_DEVIATION), torch.zeros_like(mean))


class LearnedPrior(Prior):
    """The sequential prior of DooD: what comes next is told by what was drawn before."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        s = settings
        self.components, self.reach = s.components, s.point_reach
        self.guided = s.guidance
        self.on_head = head(
            s.features if s.guidance else s.hidden, s.hidden, 1, torch.tensor([1.0])
        )
        start = torch.randn(s.components, 1 + LAYOUT_RAW) * 0.5
        self.layout_head = head(s.hidden, s.hidden, start.numel(), start.flatten())
        self.together = s.points if s.mixture == "stroke" else 1
        size = (s.points // self.together, s.components, 1 + 5 * self.together)
        start = torch.randn(size) * 0.5
        inputs = s.hidden + 4 + s.canvas_features
        self.stroke_head = head(inputs, s.hidden, start.numel(), start.flatten())
        if s.guidance:
            self.glimpse_encoder = glimpse_encoder(s, 1)

    def on(self, canvas_features: Tensor, layout_memory: Tensor) -> Tensor:
        """Logit of p_on(o_t = 1 | x_{<t}) (Eq. 4), `[n]`; without guidance, given h^l."""
        return self.on_head(canvas_features if self.guided else layout_memory)[:, 0].float()

    def layout(self, layout_memory: Tensor) -> Mixture:
        """p_layout(l_t | x_{<t}, h^l) (Eq. 2), over unconstrained layouts.

        The memory h^l has read the canvas's embedding.
        """
        raw = self.layout_head(layout_memory).float().unflatten(-1, (self.components, -1))
        weight = F.log_softmax(raw[..., 0], -1)
        return Mixture(weight, layout_gaussian(raw[..., 1:], LEAST_DEVIATION))

    def stroke(self, stroke_memory: Tensor, layout: Tensor, frame: Tensor) -> Mixture:
        """p_stroke(s_t | l_t, x̃_{<t}, h^s) (Eq. 3): `[n, points]` mixtures over points.

        With `mixture=stroke` `[n, 1]` over all 2 · points coordinates: a component is then a shape
        of stroke, whose points belong together.
        """
        seen = [stroke_memory, layout]
        if self.guided:
            seen.append(self.glimpse_encoder(frame[:, None]))
        raw = self.stroke_head(torch.cat(seen, -1)).float()
        raw = raw.unflatten(-1, (-1, self.components, 1 + 5 * self.together))
        weight = F.log_softmax(raw[..., 0], -1)
        points = raw[..., 1:].unflatten(-1, (self.together, 5))
        parts = point_gaussian(points, self.reach, LEAST_DEVIATION)
        return Mixture(weight, Gaussian(*(part.flatten(-2) for part in parts)))


class FixedPrior(Prior):
    """The independent prior of AIR and of DooD without its sequential one.

    Nothing is learned but the prior of a pen.

    It goes on with even odds.  Layouts are Gaussians around (.8, 0, 0, 0) with deviations (.2,
    .2, .2, .4) (the reference implementation's), carried to unconstrained coordinates by the
    slope there; where scales end elsewhere than at .2 and 1, that of the scale is as far between
    the ends.  Codes are standard normal; control points N(0, .5²), half a half frame.
    """

    layout_mean: Tensor
    layout_deviation: Tensor

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        interval = layout_interval(settings)
        reach = settings.scale_most - settings.scale_least
        mean = interval.free(torch.tensor([settings.scale_least + 0.75 * reach, 0.0, 0.0, 0.0]))
        deviation = torch.tensor([0.25 * reach, 0.2, 0.2, 0.4]) / interval.slope(mean)
        self.register_buffer("layout_mean", mean, persistent=False)
        self.register_buffer("layout_deviation", deviation, persistent=False)
        self.groups, self.size = settings.part_shape
        self.part_deviation = 0.5 if settings.latent == "points" else 1.0

    def on(self, canvas_features: Tensor, layout_memory: Tensor) -> Tensor:
        """Even odds: logit 0, `[n]`."""
        return layout_memory.new_zeros(len(layout_memory))

    def layout(self, layout_memory: Tensor) -> Mixture:
        """The same for all steps."""
        rows = (len(layout_memory), 1, 4)
        mean = self.layout_mean.expand(rows)
        return _single(mean, self.layout_deviation.expand(rows))

    def stroke(self, stroke_memory: Tensor, layout: Tensor, frame: Tensor) -> Mixture:
        """The same for all steps."""
        mean = layout.new_zeros(len(layout), self.groups, 1, self.size)
        return _single(mean, torch.full_like(mean, self.part_deviation))


PRIORS: dict[str, type[Prior]] = {"learned": LearnedPrior, "fixed": FixedPrior}


def _single(mean: Tensor, deviation: Tensor) -> Mixture:
    """A mixture of one component of independent coordinates."""
    return Mixture(
        mean.new_zeros(mean.shape[:-1]), Gaussian(mean, deviation, torch.zeros_like(mean))
    )

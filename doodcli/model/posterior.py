"""The recognition model (Section 2.2, Eqs. 6 to 8): single Gaussians, guided by the residual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.model.layout import glimpse, squash, unsquash
from doodcli.model.mixtures import Gaussian, positive
from doodcli.model.networks import Encoder, head
from doodcli.model.prior import LAYOUT_RAW, layout_gaussian, point_gaussian

if TYPE_CHECKING:
    from doodcli.model.steps import State
    from doodcli.settings import ModelSettings

LEAST_DEVIATION = 0.002
LOGIT_MOST = 5.0


class Posterior(nn.Module):
    """q_on, q_layout, q_stroke and the posterior of the pen."""

    def __init__(self, settings: ModelSettings, draw_bias: float) -> None:
        super().__init__()
        s = settings
        self.settings = settings
        self.target_encoder = Encoder(1, s.resolution, s.channels, s.features)
        self.residual_encoder = Encoder(2, s.resolution, s.channels, s.features)
        self.glimpse_encoder = Encoder(2, s.glimpse, s.glimpse_channels, s.features)
        self.on_head = head(s.features + 2, s.hidden, 1, torch.tensor([draw_bias]))
        inputs = s.hidden + 2 * s.features
        self.layout_head = head(inputs, s.hidden, LAYOUT_RAW, _start_of_layout())
        inputs = s.hidden + 4 + 2 * s.features
        self.stroke_head = head(inputs, s.hidden, 5 * s.points, _start_of_stroke(s))
        if s.pen != "global":
            self.pen_head = head(s.features, s.hidden, 6, torch.tensor([0.0, 0, 0, -1, -1, -1]))

    def target(self, images: Tensor) -> Tensor:
        """Embedding of the targets, once for all steps and samples: `[batch, features]`."""
        return self.target_encoder(images[:, None])

    def residual(self, images: Tensor, canvas: Tensor) -> Tensor:
        """Evidence of a step: embedding of target and residual, and two sums of the residual.

        `[n, R, R]` each → `[n, features + 2]`.  The residual Δx = x − x_{<t} is signed and
        carries no gradient to the canvas (Section 3.1).
        """
        apart = images - canvas.detach()
        features = self.residual_encoder(torch.stack([images, apart], 1))
        share = apart.sum((1, 2)) / images.sum((1, 2)).clamp_min(1.0)
        return torch.cat([features, torch.stack([share, apart.abs().mean((1, 2))], -1)], -1)

    def on(self, evidence: Tensor) -> Tensor:
        """Logit of q_on(o_t = 1 | Δx_t), `[n]`.

        The evidence is detached: the score-function gradient is too noisy to shape an encoder
        that the layout depends on.  The logit stays within ±5, because a posterior that never
        tries to stop can never learn that it should have.
        """
        return LOGIT_MOST * squash(self.on_head(evidence.detach())[:, 0].float() / LOGIT_MOST)

    def layout(self, state: State, evidence: Tensor, target: Tensor) -> Gaussian:
        """q_layout (Eq. 7), over unconstrained layouts."""
        seen = torch.cat([state.layout_memory, evidence[:, :-2], target], -1)
        raw = self.layout_head(seen).float()
        return layout_gaussian(raw, LEAST_DEVIATION)

    def stroke(self, state: State, layout: Tensor, frames: Tensor, target: Tensor) -> Gaussian:
        """q_stroke (Eq. 8): independent Gaussians over control points, `[n, points]`.

        `frames` `[n, 2, size, size]` are the glimpses of the target and of the residual.
        """
        seen = [state.stroke_memory, layout, self.glimpse_encoder(frames), target]
        raw = self.stroke_head(torch.cat(seen, -1)).float().unflatten(-1, (-1, 5))
        return point_gaussian(raw, self.settings.point_reach, LEAST_DEVIATION)

    def pen(self, target: Tensor) -> Gaussian:
        """q(pen | x), over unconstrained coordinates, `[batch]`."""
        mean, deviation = self.pen_head(target).float().chunk(2, -1)
        return Gaussian(mean, positive(deviation, LEAST_DEVIATION), torch.zeros_like(mean))


class Recognition:
    """The posterior as the chooser of a pass: samples from noise, or scores a given drawing."""

    def __init__(
        self,
        posterior: Posterior,
        images: Tensor,
        target: Tensor,
        image_of_row: Tensor,
        noise: tuple[Tensor, Tensor] | None = None,
        given: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """`noise` is uniform `[rows, strokes]` and normal `[rows, strokes, 4 + 2·points]`.

        `given` is present, unconstrained layout and strokes of a drawing, `[rows, strokes, ...]`.
        """
        self.posterior, self.images, self.target = posterior, images, target
        self.image_of_row, self.noise, self.given = image_of_row, noise, given

    def look(self, step: int, state: State) -> State:
        """The state with the evidence of this step."""
        images = self.images[self.image_of_row[state.row]]
        return state.now(evidence=self.posterior.residual(images, state.canvas))

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """o_t ~ q_on, or as given."""
        assert state.evidence is not None
        logit = self.posterior.on(state.evidence)
        if self.given is None:
            assert self.noise is not None
            on = (self.noise[0][state.row, step] < torch.sigmoid(logit)).float()
        else:
            on = self.given[0][state.row, step]
        return on, -F.binary_cross_entropy_with_logits(logit, on, reduction="none")

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t ~ q_layout, or as given."""
        assert state.evidence is not None
        target = self.target[self.image_of_row[state.row]]
        q = self.posterior.layout(state, state.evidence, target)
        if self.given is None:
            assert self.noise is not None
            value = q.sample(self.noise[1][state.row, step, :4])
        else:
            value = self.given[1][state.row, step]
        return value, q.log_density(value)

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t ~ q_stroke, or as given."""
        s = self.posterior.settings
        which = self.image_of_row[state.row]
        seen = glimpse(where, self.images[which], s.glimpse, s.glimpse_margin)
        frames = torch.stack([seen, seen - frame], 1)
        q = self.posterior.stroke(state, state.layout, frames, self.target[which])
        if self.given is None:
            assert self.noise is not None
            value = q.sample(self.noise[1][state.row, step, 4:].unflatten(-1, (-1, 2)))
        else:
            value = self.given[2][state.row, step]
        return value, q.log_density(value).sum(-1)


def _start_of_layout() -> Tensor:
    """Nearly the identity, nearly certain."""
    return torch.tensor([0.75, 0, 0, 0, -3, -3, -3, -3, 0])


def _start_of_stroke(settings: ModelSettings) -> Tensor:
    """Control points spread along a slanted line, nearly certain."""
    along = torch.linspace(-0.6, 0.6, settings.points)
    mean = unsquash(torch.stack([0.3 * along, along], -1) / settings.point_reach)
    rest = torch.tensor([-4.0, -4.0, 0.0]).expand(settings.points, 3)
    return torch.cat([mean, rest], -1).flatten()

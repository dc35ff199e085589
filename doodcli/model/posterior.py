"""The recognition model (Section 2.2, Eqs. 6 to 8): single Gaussians, guided by the residual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.model.layout import glimpse, squash, unsquash
from doodcli.model.mixtures import Gaussian, positive
from doodcli.model.networks import glimpse_encoder, head, image_encoder
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
        self.target_encoder = image_encoder(s, 1)
        if s.guidance:
            self.residual_encoder = image_encoder(s, 2)
        views = 2 if s.guidance else 1
        self.glimpse_encoder = glimpse_encoder(s, views)
        inputs = self.evidence_size if s.guidance else s.features + s.hidden
        self.on_head = head(inputs, s.hidden, 1, torch.tensor([draw_bias]))
        inputs = s.hidden + views * s.features
        self.layout_head = head(inputs, s.hidden, LAYOUT_RAW, _start_of_layout())
        start = _start_of_stroke(s) if s.latent == "points" else _start_of_code(s)
        inputs = s.hidden + 4 + 2 * s.features
        self.stroke_head = head(inputs, s.hidden, start.numel(), start)
        if s.pen in ("latent", "amortised"):
            self.pen_head = head(s.features, s.hidden, 6, torch.tensor([0.0, 0, 0, -1, -1, -1]))

    @property
    def evidence_size(self) -> int:
        """Width of the evidence of a step."""
        return self.settings.features + (2 if self.settings.guidance else 0)

    def target(self, images: Tensor) -> Tensor:
        """Embedding of the targets, once for all steps and samples: `[batch, features]`."""
        return self.target_encoder(images[:, None])

    def evidence(self, images: Tensor, target: Tensor, canvas: Tensor) -> Tensor:
        """Evidence of a step: embedding of target and residual, and two sums of the residual.

        `images`, `canvas` `[n, R, R]`, `target` `[n, features]` → `[n, evidence_size]`.  The
        residual Δx = x − x_{<t} is signed and carries no gradient to the canvas (Section 3.1).
        Without guidance there is only the target.
        """
        if not self.settings.guidance:
            return target
        apart = images - canvas.detach()
        features = self.residual_encoder(torch.stack([images, apart], 1))
        share = apart.sum((1, 2)) / images.sum((1, 2)).clamp_min(1.0)
        return torch.cat([features, torch.stack([share, apart.abs().mean((1, 2))], -1)], -1)

    def on(self, state: State, evidence: Tensor) -> Tensor:
        """Logit of q_on(o_t = 1 | Δx_t), `[n]`; without guidance, given x and h^l.

        What it sees is detached: the score-function gradient is too noisy to shape an encoder
        that the layout depends on.  The logit stays within ±5, because a posterior that never
        tries to stop can never learn that it should have.
        """
        seen = evidence
        if not self.settings.guidance:
            seen = torch.cat([evidence, state.layout_memory], -1)
        return LOGIT_MOST * squash(self.on_head(seen.detach())[:, 0].float() / LOGIT_MOST)

    def layout(self, state: State, evidence: Tensor, target: Tensor) -> Gaussian:
        """q_layout (Eq. 7), over unconstrained layouts."""
        guided = self.settings.guidance
        seen = (
            [state.layout_memory, evidence[:, :-2], target]
            if guided
            else [state.layout_memory, target]
        )
        raw = self.layout_head(torch.cat(seen, -1)).float()
        return layout_gaussian(raw, LEAST_DEVIATION)

    def stroke(self, state: State, layout: Tensor, frames: Tensor, target: Tensor) -> Gaussian:
        """q_stroke (Eq. 8): independent Gaussians over control points, `[n, points]`.

        An appearance code is one group of independent coordinates, `[n, 1]`.  `frames`
        `[n, views, size, size]` are the glimpses of the target and, if guided, of the residual.
        """
        seen = [state.stroke_memory, layout, self.glimpse_encoder(frames), target]
        raw = self.stroke_head(torch.cat(seen, -1)).float()
        if self.settings.latent == "code":
            mean, deviation = raw[:, None].chunk(2, -1)
            return Gaussian(mean, positive(deviation, LEAST_DEVIATION), torch.zeros_like(mean))
        raw = raw.unflatten(-1, (-1, 5))
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
        image_of_row: Tensor | None,
        noise: tuple[Tensor, Tensor] | None = None,
        given: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """`image_of_row` is int64 `[rows]`, or None where each row has an image of its own.

        `noise` is uniform `[rows, strokes]` and normal `[rows, strokes, 4 + part_size]`.
        `given` is present, unconstrained layout and strokes of a drawing, `[rows, strokes, ...]`.
        """
        self.posterior, self.images, self.target = posterior, images, target
        self.image_of_row, self.noise, self.given = image_of_row, noise, given

    def only(self, step: int) -> Recognition:
        """A chooser whose first step is this one."""
        assert self.noise is not None
        uniform, normal = (part[:, step : step + 1].contiguous() for part in self.noise)
        return Recognition(
            self.posterior, self.images, self.target, self.image_of_row, noise=(uniform, normal)
        )

    def _of_images(self, state: State, values: Tensor) -> Tensor:
        """Of `[batch, ...]` that of each row's image."""
        if self.image_of_row is None:
            return state.pick(values)
        return values[state.pick(self.image_of_row)]

    def look(self, step: int, state: State) -> State:
        """The state with the evidence of this step."""
        images, target = (self._of_images(state, part) for part in (self.images, self.target))
        evidence = self.posterior.evidence(images, target, state.canvas)
        return state.now(evidence=evidence)

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """o_t ~ q_on, or as given."""
        assert state.evidence is not None
        logit = self.posterior.on(state, state.evidence)
        if self.given is None:
            assert self.noise is not None
            on = (state.pick(self.noise[0][:, step]) < torch.sigmoid(logit)).float()
        else:
            on = state.pick(self.given[0][:, step])
        return on, -F.binary_cross_entropy_with_logits(logit, on, reduction="none")

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t ~ q_layout, or as given."""
        assert state.evidence is not None
        target = self._of_images(state, self.target)
        q = self.posterior.layout(state, state.evidence, target)
        if self.given is None:
            assert self.noise is not None
            value = q.sample(state.pick(self.noise[1][:, step, :4]))
        else:
            value = state.pick(self.given[1][:, step])
        return value, q.log_density(value)

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t ~ q_stroke, or as given."""
        s = self.posterior.settings
        images, target = (self._of_images(state, part) for part in (self.images, self.target))
        seen = glimpse(where, images, s.glimpse, s.glimpse_margin)
        frames = torch.stack([seen, seen - frame], 1) if s.guidance else seen[:, None]
        q = self.posterior.stroke(state, state.layout, frames, target)
        if self.given is None:
            assert self.noise is not None
            noise = state.pick(self.noise[1][:, step, 4:])
            value = q.sample(noise.unflatten(-1, s.part_shape))
        else:
            value = state.pick(self.given[2][:, step])
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


def _start_of_code(settings: ModelSettings) -> Tensor:
    """Codes around 0, nearly as spread as their prior."""
    return torch.zeros(2 * settings.code)

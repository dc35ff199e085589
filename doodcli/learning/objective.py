"""The variational objective (Section 2.3, Eq. 9) and NVIL for the stopping variables.

The layouts, strokes and pens are reparametrised; the stopping variables o_t are not, so their
posterior learns by the score function with a learned baseline (NVIL, Mnih and Gregor 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from doodcli.learning.team import SOLO, Team
from doodcli.model.networks import head

if TYPE_CHECKING:
    from doodcli.model.model import Scored
    from doodcli.settings import LearningSettings


class Bound(NamedTuple):
    """The terms of the bound, each averaged over drawings, in nats.  `elbo` has β = 1."""

    elbo: Tensor
    likelihood: Tensor
    kl_on: Tensor
    kl_marks: Tensor
    kl_pen: Tensor
    strokes: Tensor
    error: Tensor
    """mean absolute error of a pixel, in [0, 1]"""


def bound(scored: Scored, images: Tensor) -> Bound:
    """The one-sample ELBO (Eq. 9) and what it is made of; `images` `[rows, R, R]`."""
    return Bound(
        elbo=scored.log_weight.mean(),
        likelihood=scored.log_likelihood.mean(),
        kl_on=-scored.on.sum(-1).mean(),
        kl_marks=-scored.marks.sum(-1).mean(),
        kl_pen=-scored.pen.mean(),
        strokes=scored.drawing.stroke_count.mean(),
        error=(images - scored.canvas).abs().mean(),
    )


def blur_kernel(side: int, deviation: float | Tensor, device: torch.device | None = None) -> Tensor:
    """A matrix that blurs `side` pixels, `[side, side]`: K X K is the picture X, blurred.

    The deviation is in pixels; what lies beyond the border is blank.
    """
    pixels = torch.arange(-side, side + 1, dtype=torch.float32, device=device)
    apart = pixels[side:-1, None] - pixels[side:-1]
    kernel = torch.exp(-0.5 * (apart / deviation) ** 2)
    return kernel / torch.exp(-0.5 * (pixels / deviation) ** 2).sum()


class Weights(NamedTuple):
    """What multiplies the terms of the objective while it is trained."""

    kl: float | Tensor = 1.0
    """of all log p − log q: rises to 1"""
    stop: float | Tensor = 1.0
    """of the stopping variables' log p − log q: β of Section 2.3 as the text has it"""
    signal: float | Tensor = 1.0
    """divides the likelihood inside the score-function signal: β as the reference code has it"""


def learning_signal(scored: Scored, weights: Weights) -> Tensor:
    """What each stopping variable is rewarded for: `[rows, strokes]`, in nats, no gradient.

    o_t cannot change what came before it, so its signal is the likelihood and the terms of its
    own step and of those after it.
    """
    terms = weights.kl * (weights.stop * scored.on + scored.marks)
    onwards = terms.flip(-1).cumsum(-1).flip(-1)
    return (scored.log_likelihood[:, None] / weights.signal + onwards).detach()


class Baseline(nn.Module):
    """NVIL's control variate: moving mean and variance, and a network for the rest.

    The mean and the variance are those of the batches *before* the one that they are used on, so
    that they cannot bias its gradient; the very first batch has only its own.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(
        self, inputs: int, hidden: int, settings: LearningSettings, team: Team = SOLO
    ) -> None:
        super().__init__()
        self.team = team
        self.memory = settings.signal_memory
        self.scales = settings.signal_scaling
        self.network = head(inputs, hidden, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.zeros(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, signal: Tensor, seen: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
        """The centred signal, `[rows, strokes]`, and the baseline's own loss, `[]`.

        `seen` `[rows, strokes, inputs]` is what was known before each decision; where `alive` is
        0 there was none.
        """
        total = self.team.total
        count = total(alive.sum()).clamp_min(1)
        mean = total((signal * alive).sum()) / count
        variance = total(((signal - mean).square() * alive).sum()) / count
        first = self.batches == 0
        centre = torch.where(first, mean, self.mean)
        spread = torch.where(first, variance, self.variance)
        with torch.no_grad():
            self.mean.copy_(torch.lerp(mean, centre, self.memory))
            self.variance.copy_(torch.lerp(variance, spread, self.memory))
            self.batches.add_(1)
        signal = signal - centre
        if self.scales:
            signal = signal / spread.sqrt().clamp_min(1)
        guess = self.network(seen)[..., 0]
        # Times the size: the gradients of a team's losses are averaged, not summed.
        loss = self.team.size * ((signal - guess).square() * alive).sum() / count
        return (signal - guess.detach()) * alive, loss


def nvil_surrogate(signal: Tensor, log_q_on: Tensor) -> Tensor:
    """A scalar whose gradient is the score-function part of the ELBO's: Σ_t signal_t ∇log q_t.

    `signal` (centred, no gradient) and `log_q_on` are `[rows, strokes]`; mean over rows.
    """
    return (signal * log_q_on).sum(-1).mean()


def pathwise(scored: Scored, weights: Weights) -> Tensor:
    """The weighted bound whose gradient goes through the reparametrised latents, `[]`."""
    # log q of the stopping variables has a gradient of mean 0 here, which is noise and no more:
    # their posterior learns by the score function alone.
    on = scored.on + scored.log_q_on - scored.log_q_on.detach()
    kl = weights.stop * on.sum(-1) + scored.marks.sum(-1) + scored.pen
    return (scored.log_likelihood + weights.kl * kl).mean()

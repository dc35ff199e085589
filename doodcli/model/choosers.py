"""Who decides at each step when it is not the posterior: a drawing, the prior, or both in turn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from doodcli.model.prior import Prior
    from doodcli.model.steps import State


class Given(NamedTuple):
    """A drawing that is followed as it stands: no choice, so no log densities of its own."""

    present: Tensor
    """`[rows, strokes]`"""
    layout: Tensor
    """`[rows, strokes, 4]`, unconstrained"""
    strokes: Tensor
    """`[rows, strokes, groups, size]`: control points, or one group of a code"""

    def look(self, step: int, state: State) -> State:
        """Nothing to look at."""
        return state

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """o_t as given."""
        on = state.pick(self.present[:, step])
        return on, torch.zeros_like(on)

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t as given, unconstrained."""
        value = state.pick(self.layout[:, step])
        return value, torch.zeros_like(value[:, 0])

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t as given."""
        value = state.pick(self.strokes[:, step])
        return value, torch.zeros_like(value[:, 0, 0])


class Temper(NamedTuple):
    """Factors of the deviations of the prior's Gaussians; with 1 everywhere it is the prior.

    The layout's are of unconstrained coordinates, where its Gaussians live.  Nothing else is
    sharpened: the weights of a mixture's components, and the chances of going on, stay the
    prior's.  What is drawn with other factors than 1 is no sample of the model.
    """

    scale: float = 1.0
    shift: float = 1.0
    rotation: float = 1.0
    part: float = 1.0
    """of control points, or of a code"""
    pen: float = 1.0
    """of a latent pen; 0 is its median"""

    @staticmethod
    def of(temperature: float) -> Temper:
        """The same factor, from 0 on, for every deviation."""
        return Temper(*[temperature] * len(Temper._fields))


UNTEMPERED = Temper()
"""The prior as it is."""

PAPER_TEMPER = Temper(math.sqrt(0.7), 0.1, math.sqrt(0.7), 0.1, 0.0)
"""The paper's samples (Fig. 6), by its reference implementation: deviations of control points and
shifts × 0.1, variances of scale and rotation × 0.7, and the pen that is typical."""


class PriorNoise(NamedTuple):
    """The random numbers of drawings from the prior."""

    on: Tensor
    """uniform `[rows, strokes]`"""
    component: Tensor
    """uniform `[rows, strokes, 1 + groups]`: which component of each mixture; one of a whole stroke
    reads the second alone"""
    normal: Tensor
    """`[rows, strokes, 4 + part_size]`"""

    def tempered(self, temper: Temper) -> PriorNoise:
        """Numbers that stray from the mean of any Gaussian as if its deviations were tempered."""
        layout = [temper.scale, temper.shift, temper.shift, temper.rotation]
        parts = [temper.part] * (self.normal.shape[-1] - len(layout))
        return self._replace(normal=self.normal * self.normal.new_tensor(layout + parts))


class Imagination(NamedTuple):
    """The prior as the chooser (Eqs. 2 to 4); log densities under a posterior are zeros."""

    prior: Prior
    noise: PriorNoise

    def look(self, step: int, state: State) -> State:
        """The prior sees the canvas, which is in the state already."""
        return state

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """o_t ~ p_on."""
        assert state.canvas_features is not None
        chance = torch.sigmoid(self.prior.on(state.canvas_features, state.layout_memory))
        on = (state.pick(self.noise.on[:, step]) < chance).float()
        return on, torch.zeros_like(on)

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t ~ p_layout."""
        p = self.prior.layout(state.layout_memory)
        which = state.pick(self.noise.component[:, step, 0])
        value = p.sample(which, state.pick(self.noise.normal[:, step, :4]))
        return value, torch.zeros_like(which)

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t ~ p_stroke."""
        p = self.prior.stroke(state.stroke_memory, state.layout, frame)
        noise = p.grouped(state.pick(self.noise.normal[:, step, 4:]))
        which = state.pick(self.noise.component[:, step, 1 : 1 + noise.shape[1]])
        return p.sample(which, noise).reshape_as(state.stroke), torch.zeros_like(which[:, 0])


class Continuation(NamedTuple):
    """Follows the parse of a partial picture, puts the picture itself on the canvas, imagines."""

    parse: Given
    rest: Imagination
    canvas: Tensor
    """`[rows, R, R]`, the partial pictures"""
    total: Tensor
    """`[rows, R, R]`, the sums of strokes of which those are the composites"""

    def look(self, step: int, state: State) -> State:
        """Where the parse ends, the picture takes the place of what the parse drew."""
        ends = (self.parse.present[:, :step].sum(1) == step) & (self.parse.present[:, step] == 0)
        ends = state.pick(ends)[:, None, None]
        return state.now(
            total=torch.where(ends, state.pick(self.total), state.total),
            canvas=torch.where(ends, state.pick(self.canvas), state.canvas),
            canvas_features=None,
        )

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """1 while the parse lasts, then o_t ~ p_on."""
        on, log_q = self.rest.on(step, state)
        return torch.maximum(on, self.parse.on(step, state)[0]), log_q

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t of the parse while it lasts, then from the prior."""
        new, log_q = self.rest.layout_at(step, state)
        given = state.pick(self.parse.present[:, step])[:, None] > 0
        return torch.where(given, self.parse.layout_at(step, state)[0], new), log_q

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t of the parse while it lasts, then from the prior."""
        new, log_q = self.rest.stroke_at(step, state, where, frame)
        given = state.pick(self.parse.present[:, step])[:, None, None] > 0
        return torch.where(given, self.parse.stroke_at(step, state, where, frame)[0], new), log_q

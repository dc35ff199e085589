"""Who decides at each step when it is not the posterior: a drawing, the prior, or both in turn."""

from __future__ import annotations

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
        on = self.present[state.row, step]
        return on, torch.zeros_like(on)

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t as given, unconstrained."""
        value = self.layout[state.row, step]
        return value, torch.zeros_like(value[:, 0])

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t as given."""
        value = self.strokes[state.row, step]
        return value, torch.zeros_like(value[:, 0, 0])


class PriorNoise(NamedTuple):
    """The random numbers of drawings from the prior."""

    on: Tensor
    """uniform `[rows, strokes]`"""
    component: Tensor
    """uniform `[rows, strokes, 1 + groups]`: which component of each mixture"""
    normal: Tensor
    """`[rows, strokes, 4 + part_size]`"""


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
        on = (self.noise.on[state.row, step] < chance).float()
        return on, torch.zeros_like(on)

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t ~ p_layout."""
        p = self.prior.layout(state.layout_memory)
        which = self.noise.component[state.row, step, 0]
        value = p.sample(which, self.noise.normal[state.row, step, :4])
        return value, torch.zeros_like(which)

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t ~ p_stroke."""
        p = self.prior.stroke(state.stroke_memory, state.layout, frame)
        which = self.noise.component[state.row, step, 1:]
        noise = self.noise.normal[state.row, step, 4:].reshape_as(state.stroke)
        return p.sample(which, noise), torch.zeros_like(which[:, 0])


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
        ends = ends[state.row, None, None]
        return state.now(
            total=torch.where(ends, self.total[state.row], state.total),
            canvas=torch.where(ends, self.canvas[state.row], state.canvas),
            canvas_features=None,
        )

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """1 while the parse lasts, then o_t ~ p_on."""
        on, log_q = self.rest.on(step, state)
        return torch.maximum(on, self.parse.on(step, state)[0]), log_q

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t of the parse while it lasts, then from the prior."""
        new, log_q = self.rest.layout_at(step, state)
        given = self.parse.present[state.row, step, None] > 0
        return torch.where(given, self.parse.layout_at(step, state)[0], new), log_q

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t of the parse while it lasts, then from the prior."""
        new, log_q = self.rest.stroke_at(step, state, where, frame)
        given = self.parse.present[state.row, step, None, None] > 0
        return torch.where(given, self.parse.stroke_at(step, state, where, frame)[0], new), log_q

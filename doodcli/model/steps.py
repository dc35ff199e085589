"""The values that travel through one pass over the steps of a drawing."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


@dataclass
class State:
    """Everything that the next step is told, one row per drawing that is still carried along."""

    row: Tensor | None
    """int64 `[n]`, which drawing of the batch a row belongs to; None where none was dropped"""
    alive: Tensor
    """`[n]`, 0 for a drawing that has stopped and is only carried along (static shapes)"""
    pen: Tensor
    """`[n, 3]`, constrained"""
    total: Tensor
    """`[n, R, R]`, sum of the strokes' pictures, before the compositing's tanh"""
    canvas: Tensor
    """`[n, R, R]`, the canvas so far: x_{<t}"""
    layout: Tensor
    """`[n, 4]`, the previous layout, unconstrained"""
    stroke: Tensor
    """`[n, groups, size]`, the previous part: control points, or one group of a code"""
    layout_memory: Tensor
    """`[n, hidden]`, h^l"""
    stroke_memory: Tensor
    """`[n, hidden]`, h^s"""
    canvas_features: Tensor | None = None
    """`[n, features]`, embedding of the canvas so far, without gradients to the canvas; `[n, 0]`
    where it guides nothing"""
    evidence: Tensor | None = None
    """`[n, features]`, what the posterior alone sees: embedding of target and residual"""

    def take(self, keep: Tensor) -> State:
        """The rows `keep` (int64) of every field."""
        parts: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            parts[item.name] = None if value is None else value.index_select(0, keep)
        return State(**parts)

    def pick(self, values: Tensor) -> Tensor:
        """Of `[rows, ...]` those of the drawings that are still carried along, `[n, ...]`."""
        return values if self.row is None else values[self.row]

    def now(self, **changes: Any) -> State:
        """The state with some fields replaced."""
        return replace(self, **changes)


class Chooser(Protocol):
    """Who decides at each step: the posterior, the prior, or a drawing that is given.

    Each method returns values and their log densities under the posterior (zeros where there is
    none), one per row of the state.
    """

    def look(self, step: int, state: State) -> State:
        """The state with whatever this chooser looks at, before it decides to go on."""
        ...

    def on(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """o_t, `[n]`, in {0, 1}."""
        ...

    def layout_at(self, step: int, state: State) -> tuple[Tensor, Tensor]:
        """l_t, unconstrained, `[n, 4]`."""
        ...

    def stroke_at(
        self, step: int, state: State, where: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s_t, `[n, groups, size]`.

        `where` `[n, 4]` is the constrained layout, `frame` `[n, size, size]` what it frames of
        the canvas (`[n, 0, 0]` where that guides nothing).
        """
        ...


class Decision(NamedTuple):
    """One stopping variable o_t of the drawings that had not stopped before it."""

    step: int
    row: Tensor | None
    alive: Tensor
    on: Tensor
    log_q: Tensor
    canvas_features: Tensor
    layout_memory: Tensor
    evidence: Tensor | None


class Mark(NamedTuple):
    """One stroke of the drawings that went on, and what the prior knows when it scores it."""

    step: int
    row: Tensor | None
    alive: Tensor
    layout: Tensor
    stroke: Tensor
    log_q: Tensor
    layout_memory: Tensor
    stroke_memory: Tensor
    frame: Tensor


class Unrolled(NamedTuple):
    """One pass over the steps."""

    decisions: list[Decision]
    marks: list[Mark]
    canvas: Tensor
    """`[rows, R, R]`, the final canvas of every drawing"""


def spread(
    items: list[Decision] | list[Mark], values: list[Tensor], rows: int, steps: int
) -> Tensor:
    """Values of `items`, one tensor an item, put at [row, step] of `[rows, steps, ...]`.

    Rows that were not alive, and steps that were not reached, are 0.
    """
    alive = [item.alive for item in items]
    if items[0].row is None:
        value, there = torch.stack(values, 1), torch.stack(alive, 1)
        return value * there.reshape(*there.shape, *[1] * (value.dim() - 2))
    row = torch.cat([item.row for item in items if item.row is not None])
    step = torch.cat([torch.full_like(item.alive, item.step, dtype=torch.int64) for item in items])
    value = torch.cat(values)
    value = value * torch.cat(alive).reshape(-1, *[1] * (value.dim() - 1))
    return value.new_zeros(rows, steps, *value.shape[1:]).index_put((row, step), value)

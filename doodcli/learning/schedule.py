"""How far a run is, and what depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from doodcli.settings import LearningSettings, ModelSettings

LEAST_BLUR = 0.3
"""Pixels below which a blur changes nothing that could be seen."""


class Phase(NamedTuple):
    """What a step does and does not do; all steps of a phase are the same operations."""

    first: bool
    """there are no means of earlier steps yet"""
    blurred: bool
    """canvas and target are compared blurred"""
    stopping: bool
    """the stopping posterior learns"""


class Numbers(NamedTuple):
    """What a step computes with that another step has otherwise: floats, or tensors `[]`."""

    rate: float | Tensor
    kl_weight: float | Tensor
    beta: float | Tensor
    blur: float | Tensor
    scale_floor: float | Tensor
    remembered: float | Tensor
    """total weight of what the running means of errors are of: 1 after many steps"""


def phase(learning: LearningSettings, step: int) -> Phase:
    """The phase that a step is in."""
    return Phase(step == 0, blur(learning, step) > 0, step >= learning.stop_delay)


def remembered(learning: LearningSettings, step: int) -> float:
    """The total weight of what the running means are of, before a step."""
    return 1 - learning.scale_memory**step


def numbers(
    model: ModelSettings, learning: LearningSettings, step: int, done: float, began: int = 0
) -> Numbers:
    """The numbers of a step; `done` is the :func:`progress` of the run, `began` as of `rate`."""
    return Numbers(
        rate(learning, step, done, began),
        kl_weight(learning, step),
        beta(learning, step),
        blur(learning, step),
        scale_floor(model, learning, step),
        remembered(learning, step),
    )


def progress(settings: LearningSettings, step: int, seconds: float) -> float:
    """Fraction of the run that is done: 1 or more when it is over.

    A run of `steps` counts steps, so it is the same run on any machine; a run of `minutes`
    counts the time that it has trained, over all its sessions.
    """
    if settings.steps is not None:
        return step / settings.steps
    assert settings.minutes is not None
    return seconds / (60 * settings.minutes)


def rate(settings: LearningSettings, step: int, done: float, began: int = 0) -> float:
    """Adam's rate: a linear warm-up, then constant, then linear to 0 at the end of the run.

    `began` is the step before which Adam saw no gradient.
    """
    warm = min(1.0, (step - began + 1) / max(1, settings.warmup_steps))
    left = min(1.0, max(0.0, 1 - done) / max(1e-9, 1 - settings.decay_from))
    return settings.lr * warm * left


def kl_weight(settings: LearningSettings, step: int) -> float:
    """The weight of the KL, rising to 1."""
    risen = min(1.0, step / max(1, settings.kl_steps))
    return settings.kl_start + (1 - settings.kl_start) * risen


def beta(settings: LearningSettings, step: int) -> float:
    """The weight on the stopping variable: geometrically from its start to its final value.

    A stroke that is still learned is not yet worth what a good one will be.
    """
    start = settings.beta if settings.beta_start is None else settings.beta_start
    done = min(1.0, step / settings.beta_steps) if settings.beta_steps else 1.0
    return start * (settings.beta / start) ** done


def blur(settings: LearningSettings, step: int) -> float:
    """The deviation, in pixels, of the blur of what the likelihood compares; falls to 0."""
    if step >= settings.blur_steps:
        return 0.0
    left = settings.blur_start * (1 - step / settings.blur_steps)
    return left if left > LEAST_BLUR else 0.0


def scale_floor(model: ModelSettings, learning: LearningSettings, step: int) -> float:
    """The floor of the Laplace scales, falling geometrically to the model's own.

    A model that cannot draw yet does best on blank border pixels; at the final floor their
    likelihood would drown the rest.
    """
    start = max(learning.scale_start, model.scale_floor)
    fallen = min(1.0, step / max(1, learning.scale_steps))
    return start * (model.scale_floor / start) ** fallen

"""What depends on how far a run is."""

from __future__ import annotations

from itertools import pairwise

import pytest

from doodcli.learning import schedule
from doodcli.settings import LearningSettings, ModelSettings


def test_beta_rises_by_equal_factors_and_then_stays():
    settings = LearningSettings(beta=4.0, beta_start=1.0, beta_steps=100)
    values = [schedule.beta(settings, step) for step in range(0, 101, 10)]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(4.0)
    factors = [after / before for before, after in pairwise(values)]
    assert factors == pytest.approx([factors[0]] * 10)
    assert schedule.beta(settings, 1000) == pytest.approx(4.0)


def test_beta_may_be_the_same_all_along():
    settings = LearningSettings(beta=2.5)
    assert [schedule.beta(settings, step) for step in (0, 1, 50)] == [2.5, 2.5, 2.5]


def test_the_rate_rises_again_where_the_optimiser_starts_anew():
    settings = LearningSettings(lr=1.0, warmup_steps=10, decay_from=0.5)
    at_first = [schedule.rate(settings, step, 0.1) for step in range(12)]
    again = [schedule.rate(settings, 500 + step, 0.1, began=500) for step in range(12)]
    assert again == at_first
    assert at_first[0] == pytest.approx(0.1)
    assert schedule.rate(settings, 500, 0.75, began=400) == pytest.approx(0.5)


def test_steps_of_a_phase_do_the_same_and_phases_follow_each_other():
    settings = LearningSettings(blur_start=4.0, blur_steps=20, stop_delay=8)
    phases = [schedule.phase(settings, step) for step in range(30)]
    changes = [step for step in range(1, 30) if phases[step] != phases[step - 1]]
    blurred = [step for step in range(30) if schedule.blur(settings, step) > 0]
    assert changes == [1, 8, blurred[-1] + 1]
    assert phases[0] == (True, True, False)
    assert phases[29] == (False, False, True)


def test_the_numbers_of_a_step_are_those_of_the_schedule():
    model, learning = ModelSettings(), LearningSettings(scale_memory=0.9, beta=4.0)
    found = schedule.numbers(model, learning, 2, 0.75)
    assert found == schedule.Numbers(
        rate=schedule.rate(learning, 2, 0.75),
        kl_weight=schedule.kl_weight(learning, 2),
        beta=4.0,
        blur=schedule.blur(learning, 2),
        scale_floor=schedule.scale_floor(model, learning, 2),
        remembered=pytest.approx(0.1 + 0.9 * 0.1),
    )

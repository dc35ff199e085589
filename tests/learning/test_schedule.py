"""How much the stopping variable weighs as training goes on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from doodcli.learning import schedule
from doodcli.settings import LearningSettings


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

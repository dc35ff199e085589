"""Steps that are recorded as CUDA graphs, against the same steps operation by operation."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from doodcli.data.load import load_images
from doodcli.learning.graphs import AS_THEY_COME
from doodcli.learning.train import Plan, train
from doodcli.learning.trainer import Trainer
from doodcli.settings import Settings, change, preset
from doodcli.variants import VARIANTS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

STEPS = 4 * (AS_THEY_COME + 3)


def settings(model: str = "dood", **changes: object) -> Settings:
    """Of a run whose three phases are all long enough to be recorded."""
    few = AS_THEY_COME + 3
    values = {
        "data.dataset": "digits",
        "learning.steps": STEPS,
        "learning.blur_steps": 2 * few,
        "learning.blur_start": 9.0,
        "learning.stop_delay": few,
        "learning.warmup_steps": 1,
    }
    return change(preset("tiny", "digits", model), {**values, **changes})


def trainer(graphed: bool, model: str = "dood", **changes: object) -> Trainer:
    images = load_images("digits")
    return Trainer(settings(model, **changes), images.images, images.index, "cuda", graphed=graphed)


def after_each_step(one: Trainer) -> list[torch.Tensor]:
    """The terms of every step of a run."""
    terms, before = [], torch.zeros_like(one.window.sums)
    for row in one.steps():
        if row is None:
            one._wait()
            terms.append(one.window.sums - before)
            before = one.window.sums.clone()
        else:
            before = torch.zeros_like(before)
    return terms


@pytest.mark.parametrize("model", VARIANTS)
def test_a_recorded_step_is_the_step_itself(model: str) -> None:
    recorded, plain = trainer(True, model), trainer(False, model)
    found, expected = after_each_step(recorded), after_each_step(plain)
    assert recorded.graphed is not None
    assert len(recorded.graphed.graphs) == 3  # blurred, blurred and stopping, stopping
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=2e-3, atol=2e-3)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(recorded.model.state_dict()[name], value, rtol=0, atol=2e-3)


def test_models_in_turns_learn_what_each_learns_alone() -> None:
    together = [trainer(True, seed=seed) for seed in (0, 1)]
    runs = [one.steps() for one in together]
    for _ in range(STEPS):
        for run in runs:
            next(run)
    alone = trainer(True, seed=1)
    list(alone.steps())
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(together[1].model.state_dict()[name], value, rtol=0, atol=2e-3)


def test_a_run_goes_on_from_its_checkpoint(tmp_path) -> None:
    whole = train(settings(), Plan(tmp_path / "whole", device="cuda"))
    one = trainer(True)
    list(islice(one.steps(), STEPS // 2))
    one._wait()
    two = trainer(True)
    facts = {"step": one.step, "seconds": one.seconds}
    two.restore(one.weights(), one.training_state(), facts)
    list(two.steps())
    for name, value in whole.model("cuda").state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, rtol=0, atol=2e-3)

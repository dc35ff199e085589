"""Which stage an operation belongs to, forward and backward."""

from __future__ import annotations

import pytest
import torch

from doodcli.experiments import stages
from doodcli.experiments.bench import QUICK, ink_images, training_settings
from doodcli.learning.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*profile.*")
STAGES = {
    "encoders", "heads", "recurrent states", "renderer", "glimpses", "canvas and likelihood",
    "densities", stages.REST,
}  # fmt: skip


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    images = ink_images(16)
    return Trainer(training_settings(QUICK), images, torch.arange(len(images)), "cpu")


def test_backward_operations_belong_to_the_stage_of_their_forward_ones(trainer):
    images = torch.rand(4, 1, 50, 50, requires_grad=True)

    def work() -> None:
        trainer.model.posterior.target_encoder(images).sum().backward()

    seconds = stages.stage_seconds(work, trainer, 2, "cpu")
    assert set(seconds) == {"encoders", stages.REST}
    # The sum is the rest; convolutions are by far the most, and two thirds of them backward.
    assert seconds["encoders"] > 5 * seconds[stages.REST]


def test_every_stage_of_a_step_and_of_a_likelihood_is_found():
    table = stages.stages(QUICK, rounds=1)
    for work, part in table.groupby("work"):
        assert set(part.stage) >= STAGES, work
        assert part.share.sum() == pytest.approx(1)
        assert (part.milliseconds > 0).all()
    assert {"optimiser", "objective"} <= set(table[table.work == "training"].stage)
    training, likelihood = (table[table.work == w].iloc[0] for w in ("training", "likelihood"))
    assert training.gflop > likelihood.gflop > 0


def test_the_labels_are_gone_afterwards(trainer):
    before = trainer.model.decoder.forward, stages.core.glimpse
    with stages._labelled(trainer):
        assert stages.core.glimpse is not before[1]
    assert (trainer.model.decoder.forward, stages.core.glimpse) == before


def test_bytes_are_those_of_what_goes_in_and_what_comes_out():
    a, b = torch.zeros(10, 20), torch.zeros(20, 5)
    with stages.BytesMoved() as moved:
        _ = (a @ b).T
    assert moved.bytes == 4 * (200 + 100 + 50)

"""What settings reach on validation images, as a command."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.command import dood, refused


@pytest.fixture
def command(tmp_path):
    return ["bench", "quality", "--preset", "tiny", "--dataset", "digits", "--samples", 3,
            "--limit", 10, "--runs", tmp_path / "runs", "--device", "cpu"]  # fmt: skip


def test_every_candidate_is_trained_and_measured_on_validation_images(capsys, command, tmp_path):
    made = dood(capsys, *command, "--try", "model.pen=global learning.lr=5e-4", "--quiet",
                "--out", tmp_path)  # fmt: skip
    assert made.code == 0, made
    table = pd.read_csv(tmp_path / "quality.csv")
    assert table.changes.fillna("").tolist() == ["", "model.pen=global learning.lr=5e-4"]
    assert table.pen.tolist() == ["latent", "global"]
    assert set(table.part) == {"validation"}
    assert set(table.images) == {10}
    assert table.weights.nunique() == 2
    # The number is what the run gives, and beside it stands the blank page's.
    run = tmp_path / "runs" / table.run[0]
    again = dood(capsys, "likelihood", run, "--dataset", "digits", "--part", "validation",
                 "--samples", 3, "--limit", 10, "--device", "cpu", "--json", "-q")  # fmt: skip
    ours, blank = json.loads(again.out)
    assert ours["iwae_nats"] == pytest.approx(table.iwae_nats[0], abs=1e-6)
    assert blank["iwae_nats"] == pytest.approx(table.blank_nats[0], abs=1e-6)
    assert blank["mean_abs_error"] == pytest.approx(table.blank_error[0], abs=1e-6)


def test_what_was_trained_is_not_trained_again(capsys, command):
    first = json.loads(dood(capsys, *command, "--json", "-q").out)
    again = json.loads(dood(capsys, *command, "--json", "-q").out)
    assert first[0]["training_seconds"] == again[0]["training_seconds"]
    assert first[0]["iwae_nats"] == again[0]["iwae_nats"]


def test_a_try_that_is_no_setting_is_refused_before_anything_is_trained(capsys, command, tmp_path):
    refused(dood(capsys, *command, "--try", "learning.betta=2"), "learning.betta", "learning.beta")
    assert not (tmp_path / "runs").exists()

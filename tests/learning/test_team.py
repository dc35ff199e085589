"""Several processes train the model that one would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch

from doodcli.learning.runs import open_run

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ("train", "--dataset", "digits", "--preset", "tiny", "--device", "cpu", "--quiet")


def command(runs: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "doodcli", *ARGUMENTS, "--runs", str(runs), *more]


def trained(runs: Path, *more: str) -> Path:
    done = subprocess.run(
        command(runs, *more), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return runs / line.rpartition("/")[2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("together"), "--devices", "2")


def test_two_processes_train_what_one_does(alone, together):
    assert alone.name == together.name
    one, two = open_run(alone), open_run(together)
    columns = ["elbo", "likelihood", "kl_on", "kl_marks", "strokes", "error", "gradient_norm"]
    pd.testing.assert_frame_equal(
        two.log()[columns], one.log()[columns], check_exact=False, rtol=1e-4, atol=1e-4
    )
    weights = two.checkpoint.weights()
    for name, value in one.checkpoint.weights().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=2e-4, msg=name)
    state = two.checkpoint.training()
    for name, value in one.checkpoint.training().items():
        if name.startswith("baseline.") or name == "error":
            torch.testing.assert_close(state[name], value, rtol=2e-3, atol=2e-4, msg=name)
    assert (one.checkpoint.facts["processes"], two.checkpoint.facts["processes"]) == (1, 2)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    done = subprocess.run(
        command(tmp_path, "--devices", "2", "--batch-size", "15"),
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "batch_size=15: 2 processes cannot share it evenly" in done.stderr
    assert not list(tmp_path.glob("*/checkpoint-*"))


def test_a_team_that_is_stopped_goes_on_where_it_was(tmp_path):
    long = ("--steps", "400", "--checkpoint-minutes", "0.02")
    with subprocess.Popen(
        command(tmp_path, "--devices", "2", *long), stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 180
        while not list(tmp_path.glob("*/checkpoint-*")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "no checkpoint in 180 s"
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143, said
    (path,) = tmp_path.glob("dood-*")
    step = open_run(path).checkpoint.facts["step"]
    assert 0 < step < 400
    assert trained(tmp_path, *long) == path  # alone, from the team's checkpoint
    facts = open_run(path).checkpoint.facts
    assert facts["finished"]
    assert facts["step"] == 400
    assert list(open_run(path).log().step.diff().dropna().unique()) != [0]

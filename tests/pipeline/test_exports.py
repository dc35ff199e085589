"""Models that are kept with the results serve in their runs' place."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from doodcli.learning.train import Plan
from doodcli.pipeline import engine, grid
from doodcli.pipeline.graph import Suite, profile
from doodcli.settings import settings_hash

RESULTS = Path(__file__).resolve().parents[2] / "results"


def suite(folder: Path) -> Suite:
    tiny = dataclasses.replace(
        profile("tiny"), trainings=(("dood", "digits"),), targets=("digits",), exports=True
    )
    return Suite("tiny", tiny, folder / "results", Plan(folder / "runs"))


def outcome(of: Suite, *names: str) -> engine.Outcome:
    tasks = engine.only(of.tasks(), names)
    return engine.run(tasks, engine.Ledger(of.out / engine.LEDGER), lambda _: None)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A folder with a training, its export and one cell."""
    folder = tmp_path_factory.mktemp("suite")
    made = outcome(suite(folder), "export-*", "cell-*")
    assert not made.failed, made.reasons
    return folder


@pytest.fixture
def moved(done, tmp_path) -> Path:
    """The results on another machine, without the runs."""
    shutil.copytree(done / "results", tmp_path / "results")
    return tmp_path


def test_what_was_measured_with_a_run_is_done_where_only_its_export_is(moved):
    tasks = suite(moved).tasks()
    states = engine.plan(tasks, engine.Ledger(moved / "results" / engine.LEDGER)).states
    assert states["train-dood-digits-s0"] == engine.DONE
    assert states["cell-dood-digits-s0-digits"] == engine.DONE


def test_what_is_missing_is_measured_with_the_export(moved):
    (moved / "results" / engine.LEDGER).unlink()
    before = (moved / "results" / "cells" / "dood-digits-s0-digits.csv").read_text()
    made = outcome(suite(moved), "cell-*")
    assert not made.failed, made.reasons
    assert not (moved / "runs").exists()
    after = (moved / "results" / "cells" / "dood-digits-s0-digits.csv").read_text()
    assert "float32" in before
    assert "float16" in after


def test_a_run_that_is_there_comes_before_its_export(done):
    of = suite(done)
    (what,) = of.trainings
    assert of.run(what).checkpoint.exported is None
    assert (of.out / "weights" / of.run(what).name).is_dir()


def test_without_an_export_nothing_is_trusted(moved):
    shutil.rmtree(moved / "results" / "weights")
    of = suite(moved)
    assert not of.trained(of.trainings[0])
    tasks = [*of.training_tasks(), *grid.tasks(of)]
    states = engine.plan(tasks, engine.Ledger(of.out / engine.LEDGER)).states
    assert states["train-dood-digits-s0"] == engine.MISSING


def test_a_profile_finds_the_models_that_came_with_its_results(tmp_path):
    laptop = Suite("laptop", profile("laptop"), RESULTS / "laptop", Plan(tmp_path))
    for what in laptop.trainings:
        facts = json.loads((laptop.out / f"run-{what.name}.json").read_text())
        name = settings_hash(laptop.settings(*what), facts["source_fingerprint"])
        assert (laptop.out / "weights" / f"{what.name}-{name}").is_dir(), what.name

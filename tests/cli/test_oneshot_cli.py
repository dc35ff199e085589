"""`dood oneshot` from the command line, and as a task of `dood reproduce`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doodcli.learning.train import Plan, train
from doodcli.pipeline import engine
from doodcli.pipeline.graph import PROFILES, Suite, profile
from doodcli.settings import change, preset
from tests.command import dood, refused
from tests.data.test_oneshot_data import archive, members

QUICK = [
    "--set", "parse.count=1", "--set", "parse.candidates=2", "--set", "parse.refine_steps=2",
    "--set", "token.steps=2", "--set", "token.coarse_steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of a few steps on the embedded digits: one with strokes, one without."""
    plan = Plan(tmp_path_factory.mktemp("runs"))
    base = change(preset("tiny"), {"data.dataset": "digits", "learning.steps": 2})
    return {name: train(change(base, {"model.name": name}), plan).path for name in ("dood", "air")}


def oneshot(capsys, *arguments: object):
    return dood(capsys, "oneshot", *arguments, "--device", "cpu", "--quiet")


def test_scribbles_from_the_command_line(capsys, runs, tmp_path):
    both = f"{runs['dood']},{runs['air']}"
    result = oneshot(
        capsys, both, "--episodes", "scribbles", "--limit", 1, "--out", tmp_path, *QUICK,
        "--scoring", "two-way", "--seed", 3,
    )  # fmt: skip
    assert result.code == 0, result
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"oneshot.csv", "oneshot_runs.csv", "oneshot.json", "oneshot.png",
                     "oneshot.pdf", "table1.csv", "table1.tex"}  # fmt: skip
    assert names <= {Path(line).name for line in result.out.splitlines()}
    queries = pd.read_csv(tmp_path / "oneshot.csv")
    models = ["dood", "air", "true strokes", "pixel nearest neighbour",
              "modified Hausdorff distance"]  # fmt: skip
    assert queries.model.drop_duplicates().tolist() == models
    assert (queries.groupby("model").size() == 12).all()
    assert set(queries.evaluation_seed.dropna()) == {3}
    each = pd.read_csv(tmp_path / "oneshot_runs.csv").set_index("model")
    assert each.accuracy.to_dict() == pytest.approx(
        queries.groupby("model").correct.mean().to_dict()
    )
    assert each.shuffled_accuracy.to_numpy() == pytest.approx(1 / 12, abs=0.05)
    table = pd.read_csv(tmp_path / "table1.csv")
    assert table.two_way.tolist() == [False, True, False, True, False, False, False]
    # Others' numbers are of the official runs.
    assert set(table.source) == {"measured"}
    settings = json.loads((tmp_path / "oneshot.json").read_text())
    assert settings["token"]["steps"] == 2
    with Image.open(tmp_path / "oneshot.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.ptp(colours, 1) > 80).any()  # strokes in colours
    assert (tmp_path / "oneshot.pdf").read_bytes().startswith(b"%PDF")


def test_official_runs_stand_beside_what_others_report(capsys, runs, tmp_path):
    path = archive(tmp_path / "runs.zip", members())
    result = oneshot(
        capsys, runs["dood"], "--runs-file", path, "--out", tmp_path / "out", *QUICK, "--json"
    )
    rows = json.loads(result.out)
    assert [row["source"] for row in rows] == ["measured"] * 3 + ["reported"] * 6
    assert [row["runs"] for row in rows[:3]] == [2, 2, 2]
    assert rows[0]["trained_on"] == "digits"
    assert {row["model"]: row["accuracy"] for row in rows[3:]}["DooD"] == 0.735
    text = (tmp_path / "out" / "table1.tex").read_text()
    assert "not the published file" in text  # the caption does not pass it off as official
    assert "people & " in text
    assert set(pd.read_csv(tmp_path / "out" / "oneshot.csv").remark) == {"not the published file"}


def test_settings_are_compared_on_sampled_episodes_alone(capsys, runs, tmp_path):
    result = oneshot(
        capsys, runs["dood"], "--episodes", "scribbles", "--limit", 1, "--part", "validation",
        "--out", tmp_path, *QUICK, "--try", "token.blur=3", "--try", "parse.count=2 token.keep=1",
    )  # fmt: skip
    assert result.code == 0, result
    choices = pd.read_csv(tmp_path / "oneshot_choices.csv", keep_default_na=False)
    own = choices[choices.model == "dood"]
    assert own.changes.tolist() == ["", "token.blur=3", "parse.count=2 token.keep=1"]
    table = pd.read_csv(tmp_path / "table1.csv")
    assert "changes" not in table
    assert (table.model == "dood").sum() == 1
    queries = pd.read_csv(tmp_path / "oneshot.csv", keep_default_na=False)
    assert set(queries.part) == {"validation"}
    assert queries[queries.model == "dood"].settings.nunique() == 3
    # A later call without them leaves none that are outdated.
    again = oneshot(capsys, runs["dood"], "--episodes", "scribbles", "--limit", 1, "--out",
                    tmp_path, *QUICK)  # fmt: skip
    assert again.code == 0
    assert not (tmp_path / "oneshot_choices.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["omniglot-oneshot-all_runs.zip", "dood data fetch omniglot-oneshot"]),
        (["--runs-file", "nowhere.zip"], ["nowhere.zip", "no such file"]),
        (["--episodes", "mine"], ["--episodes mine", "background"]),
        (["--episodes", "background", "--part", "test"], ["--part test", "official runs"]),
        (["--episodes", "background"], ["omniglot.npz", "dood data fetch omniglot"]),
        (["--try", "token.blur=2"], ["--try", "--episodes background"]),
        (["--episodes", "scribbles", "--runs-file", "r.zip"], ["--runs-file r.zip"]),
        (["--set", "token.blurr=2"], ["token.blurr", "token.blur"]),
        (["--token-steps", "3"], ["token.coarse_steps", "3"]),
        (["--episodes", "scribbles", "--try", "token.keep=7"], ["token.keep=7"]),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, runs, tmp_path, monkeypatch, arguments, words):
    monkeypatch.delenv("DOOD_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    refused(oneshot(capsys, runs["dood"], *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(capsys, runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = oneshot(capsys, runs["dood"], "--episodes", "scribbles", "--out", tmp_path / "file")
    refused(result, "file", "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def test_dry_run_prints_every_setting_and_touches_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = dood(capsys, "oneshot", "a,b", "--parses", 12, "--token-steps", 100, "--dry-run",
                  "--set", "token.blur=2")  # fmt: skip
    shown = json.loads(result.out)
    assert shown["runs"] == ["a", "b"]
    assert shown["settings"]["parse"]["count"] == 12
    assert shown["settings"]["token"]["steps"] == 100
    assert shown["settings"]["token"]["blur"] == 2
    assert shown["scoring"] == "one-way"
    assert not list(tmp_path.iterdir())


def suite(tmp_path: Path, name: str, **changes: object) -> Suite:
    chosen = dataclasses.replace(profile(name), **changes)
    return Suite(name, chosen, tmp_path / name, Plan(tmp_path / "runs"))


def test_the_official_runs_are_a_task_where_omniglot_is_learned_from(tmp_path):
    for name, made in PROFILES.items():
        offline = made.episodes == "scribbles"
        learned = any(source == "omniglot" for _, source in made.trainings)
        names = [task.name for task in suite(tmp_path, name).tasks()]
        assert ("oneshot" in names) == (offline or learned)
    task = {t.name: t for t in suite(
        tmp_path, "laptop", trainings=(("dood", "mnist"), ("dood", "omniglot"))
    ).tasks()}["oneshot"]  # fmt: skip
    assert task.needs == ("train-dood-omniglot-s0",)
    assert "--episodes official" in task.command
    assert "--limit" not in task.command


def test_reproduce_classifies_scribbles_once(tmp_path):
    tasks = engine.only(
        suite(tmp_path, "tiny", trainings=(("dood", "digits"),)).tasks(), ["oneshot"]
    )
    ledger = engine.Ledger(tmp_path / "tiny" / engine.LEDGER)
    assert not engine.run(tasks, ledger, lambda _: None).failed
    table = pd.read_csv(tmp_path / "tiny" / "table1.csv")
    assert {"dood", "true strokes"} <= set(table.model)
    assert set(engine.plan(tasks, ledger).states.values()) == {"done"}
    (tmp_path / "tiny" / "table1.tex").unlink()
    assert engine.plan(tasks, ledger).states["oneshot"] == "missing"

"""`dood sample`, `dood exemplars`, `dood complete` as a user meets them, on tiny runs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doodcli.learning.train import Plan, train
from doodcli.pipeline import graph
from doodcli.settings import change, preset
from tests.command import Result, dood, refused

if TYPE_CHECKING:
    from pathlib import Path

MADE = {"exemplars": "exemplars", "complete": "completions"}
BOTH = pytest.mark.parametrize("command", MADE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run of a few steps of DooD and of AIR, on the embedded digits."""
    folder = tmp_path_factory.mktemp("runs")
    of = change(preset("tiny"), {"data.dataset": "digits"})
    return {
        name: train(change(of, {"model.name": name}), Plan(folder)).path for name in ("dood", "air")
    }


@pytest.fixture
def make(capsys, runs, tmp_path):
    """A command on one run, into a folder of its own."""

    def call(command: str, *more: object, run: str = "dood", dataset: str | None = "digits"):
        if command != "sample":
            few = ["--samples", 2, "--num", 2]
            more = (*([] if dataset is None else ["--dataset", dataset]), *few, *more)
        where = ["--out", tmp_path / "out", "--device", "cpu"]
        return dood(capsys, command, runs[run], *where, *more)

    return call


@pytest.fixture
def files(tmp_path):
    return lambda: sorted(p.name for p in (tmp_path / "out").rglob("*"))


def drawing(path: Path, ink: int = 0, paper: int = 255, side: int = 120) -> Path:
    """A picture of a T."""
    page = np.full((side, side + 20, 3), paper, np.uint8)
    page[side // 5 : side // 4, side // 5 : -side // 5] = ink
    page[side // 5 : -side // 5, side // 2 : side // 2 + side // 15] = ink
    Image.fromarray(page).save(path)
    return path


def seen(path: Path) -> float:
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).std())


def rows(result: Result) -> list[dict]:
    assert result.code == 0, result
    return json.loads(result.out)


# ---------------------------------------------------------------------------- dood sample


def test_a_sample_is_a_row_and_a_picture_and_says_when_it_is_tempered(make, files, tmp_path):
    plain = rows(make("sample", "--num", 6, "--json", "--quiet"))
    assert files() == ["samples.csv", "samples.pdf", "samples.png", "samples.svg"]
    page = (tmp_path / "out" / "samples.svg").read_text()
    assert "temper" not in page
    assert page.count("<rect ") == 6  # the frame of each
    assert page.count("<path ") == sum(r["strokes"] for r in plain) > 0
    before = (tmp_path / "out" / "samples.csv").read_bytes()
    for text in ("paper", "0.5"):
        cold = rows(make("sample", "--num", 6, "--temperature", text, "--json", "--quiet"))
        assert {(r["temperature"], r["tempered"]) for r in cold} == {(text, True)}
        assert [r["log_prior_nats"] for r in cold] != [r["log_prior_nats"] for r in plain]
        table = pd.read_csv(tmp_path / "out" / f"samples-{text}.csv", dtype={"temperature": str})
        assert set(table.temperature) == {text}
        assert table.tempered.all()
        assert seen(tmp_path / "out" / f"samples-{text}.png") > 10
        titles = re.findall("<title>(.*)</title>", (
            tmp_path / "out" / f"samples-{text}.svg"
        ).read_text())  # fmt: skip
        assert len(titles) == 6
        assert all("temper" in title for title in titles)
    # The model's own samples stay what they were.
    assert (tmp_path / "out" / "samples.csv").read_bytes() == before
    assert {(r["temperature"], r["tempered"]) for r in plain} == {("1", False)}
    assert [r["sample"] for r in plain] == list(range(6))
    assert all(np.isfinite(r["log_prior_nats"]) for r in plain)


def test_samples_of_several_runs_stand_side_by_side(capsys, runs, tmp_path):
    both = f"{runs['dood']},{runs['air']}"
    result = dood(capsys, "sample", both, "--num", 5, "--out", tmp_path, "--device", "cpu")
    assert result.code == 0, result
    assert set(result.out.split()) == {
        *(str(tmp_path / f"samples.{s}") for s in ("csv", "pdf", "png")),
        str(tmp_path / f"samples_{runs['dood'].name}.svg"),
    }
    assert "5 samples of air-digits" in result.err
    assert "no SVG, for air has no strokes" in result.err
    table = pd.read_csv(tmp_path / "samples.csv")
    assert table.model.tolist() == ["dood"] * 5 + ["air"] * 5


def test_a_dry_sample_shows_the_papers_factors(make, tmp_path):
    shown = rows(make("sample", "--temperature", "paper", "--dry-run"))
    assert shown["num"] == 100
    assert shown["factors"] == pytest.approx(
        {"scale": 0.7**0.5, "shift": 0.1, "rotation": 0.7**0.5, "part": 0.1, "pen": 0}
    )
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------- dood exemplars, dood complete


@BOTH
@pytest.mark.parametrize("run", ["dood", "air"])
def test_drawings_of_data_sets_have_a_row_each(make, files, tmp_path, command, run):
    found = rows(
        make(command, "--limit", 3, "--json", "--quiet", run=run, dataset="digits,scribbles")
    )
    stem = MADE[command]
    assert files() == [f"{stem}.csv", f"{stem}.pdf", f"{stem}.png"]
    assert seen(tmp_path / "out" / f"{stem}.png") > 10
    assert len(found) == 2 * 3 * 2
    assert [r["dataset"] for r in found] == ["digits"] * 6 + ["scribbles"] * 6
    assert {r["model"] for r in found} == {run}
    for row in found:
        assert np.isfinite(row["log_joint_nats"])
        assert row["samples"] == 2
        assert row["weights"]
        assert row["fingerprint"]
    table = pd.read_csv(tmp_path / "out" / f"{stem}.csv")
    assert table["index"].tolist() == [r["index"] for r in found]
    if command == "complete":
        assert [r["given"] for r in found] == ["erased"] * 6 + ["first true strokes"] * 6
        assert {r["strokes_given"] for r in found} == {1}


@BOTH
def test_pictures_of_ones_own_are_turned_around_and_named(make, tmp_path, command):
    dark = drawing(tmp_path / "dark.png")
    light = drawing(tmp_path / "light.jpg", ink=250, paper=3, side=400)
    images = f"{dark},{light}"
    result = make(command, "--images", images, "--json", dataset=None)
    found = rows(result)
    assert [r["class"] for r in found] == ["dark.png"] * 2 + ["light.jpg"] * 2
    assert {r["dataset"] for r in found} == {"pictures"}
    assert result.err.count("dark on light, inverted") == 1
    assert "dark.png: dark on light" in result.err
    if command == "complete":  # they are partial already
        assert {r["given"] for r in found} == {"whole picture"}
        assert {r["strokes_given"] for r in found} == {None}
        cut = rows(make(command, "--images", images, "--strokes-given", 2, "--json", dataset=None))
        assert {(r["given"], r["strokes_given"]) for r in cut} == {("erased", 2)}


def test_several_runs_hear_once_that_a_picture_was_turned_around(capsys, runs, tmp_path):
    both = f"{runs['dood']},{runs['air']}"
    picture = drawing(tmp_path / "dark.png")
    result = dood(capsys, "exemplars", both, "--images", picture, "--num", 1, "--samples", 2,
                  "--out", tmp_path / "out", "--device", "cpu")  # fmt: skip
    assert result.code == 0, result
    assert result.err.count("inverted") == 1
    assert pd.read_csv(tmp_path / "out" / "exemplars.csv").model.tolist() == ["dood", "air"]


def test_only_the_registrys_scribbles_have_true_strokes(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scribbles").mkdir()
    for k in range(5):
        drawing(tmp_path / "scribbles" / f"{k}.png")
    found = rows(make("complete", "--part", "all", "--json", "--quiet", dataset="./scribbles"))
    assert {(r["dataset"], r["given"]) for r in found} == {("scribbles", "erased")}


def test_a_model_that_never_stops_still_has_strokes_to_add(make, tmp_path, monkeypatch):
    from doodcli.model.posterior import Recognition

    goes_on = lambda self, step, state: (state.alive, 0 * state.alive)  # noqa: E731
    monkeypatch.setattr(Recognition, "on", goes_on)
    picture = drawing(tmp_path / "one.png")
    whole = rows(make("complete", "--images", picture, "--json", dataset=None))
    assert {r["strokes_parsed"] for r in whole} == {5}
    given = rows(make("complete", "--strokes-given", 2, "--json"))
    assert {r["strokes_parsed"] for r in given} == {2}
    assert max(r["strokes"] for r in given) > 2


@BOTH
def test_the_same_seed_draws_the_same_and_another_does_not(make, tmp_path, command):
    tables = []
    for seed in (3, 3, 4):
        assert make(command, "--limit", 2, "--seed", seed, "--quiet").code == 0
        path = tmp_path / "out" / f"{MADE[command]}.png"
        tables.append(path.read_bytes())
    assert tables[0] == tables[1] != tables[2]


@BOTH
def test_a_dry_run_touches_nothing(make, tmp_path, command):
    shown = rows(make(command, "--dry-run"))
    assert shown["datasets"] == ["digits"]
    assert (shown["num"], shown["limit"], shown["samples"]) == (2, 8, 2)
    own = rows(make(command, "--images", "a.png,b", "--dry-run", dataset=None))
    assert (own["images"], own["datasets"]) == (["a.png", "b"], [])
    neither = rows(make(command, "--dry-run", dataset=None))
    assert neither["datasets"] == ["mnist"]
    if command == "complete":
        assert (shown["strokes_given"], own["strokes_given"]) == (1, None)
    assert not (tmp_path / "out").exists()


@BOTH
def test_pictures_that_are_none_are_refused_in_one_line(make, tmp_path, command):
    fine = drawing(tmp_path / "fine.png")
    (tmp_path / "broken.png").write_bytes(fine.read_bytes()[:70])
    Image.new("L", (1, 1), 255).save(tmp_path / "dot.png")
    Image.new("L", (90, 90), 255).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    for name, words in {
        "broken.png": "cannot be read as a picture",
        "dot.png": "1×1 pixels are too few",
        "blank.png": "shows no ink",
        "none.png": "no such file",
        "empty": "holds no pictures",
    }.items():
        result = make(command, "--images", f"{fine},{tmp_path / name}", dataset=None)
        refused(result, name, words)
    refused(make(command, "--images", fine), "--images and --dataset", "one of the two")
    refused(make(command, "--images", ",", dataset=None), "--images", "is empty")
    assert not (tmp_path / "out").exists()


def test_bad_usage_is_refused_in_one_line(capsys, make, tmp_path):
    refused(make("sample", "--temperature", "warm"), "--temperature warm", "paper")
    refused(make("exemplars", dataset="scrabble"), "scrabble", "scribbles")
    refused(make("complete", "--part", "best"), "best", "test")
    for command in ("sample", "exemplars", "complete"):
        refused(dood(capsys, command, tmp_path / "nowhere"), "no such folder")
        assert "--json" in dood(capsys, command, "--help").out
    (tmp_path / "out").write_text("in the way")
    refused(make("sample", "--num", 2), "out", "cannot be written")
    assert (tmp_path / "out").read_text() == "in the way"


# --------------------------------------------------------------------------- dood reproduce


@pytest.mark.parametrize("profile", ["tiny", "smoke", "laptop"])
def test_every_profile_draws_anew_by_commands_that_exist(capsys, runs, tmp_path, profile):
    suite = graph.Suite(profile, graph.profile(profile), tmp_path / "results", Plan(tmp_path))
    tasks = {task.name: task for task in suite.tasks()}
    options = {
        "samples": ["num", 40],
        "samples-paper": ["temperature", "paper"],
        "exemplars": ["num", 8],
        "complete": ["strokes_given", 1],
    }
    for name, (key, value) in options.items():
        # What stands for the folders of the runs is done by a shell.
        command = re.sub(r"\$\([^)]*\)", str(runs["dood"]), tasks[name].command)
        shown = dood(capsys, *shlex.split(command)[1:], "--dry-run")
        assert json.loads(shown.out)[key] == value
    trainings = {model for model, _ in suite.profile.trainings}
    for name, models in {
        "samples": trainings,
        "samples-paper": {"dood"},
        "exemplars": {"dood", "air-difference"} & trainings,
        "complete": {"dood", "air-difference"} & trainings,
    }.items():
        assert {re.split("-[a-z]+-s0", need)[0] for need in tasks[name].needs} == {
            f"train-{model}" for model in models
        }


def test_a_task_writes_what_its_command_writes(capsys, runs, tmp_path):
    """The task of a suite and the command that it names give the same table."""
    folder = runs["dood"].parent
    tiny = graph.profile("tiny")
    suite = graph.Suite("tiny", replace(tiny, trainings=(("dood", "digits"),)),
                        tmp_path / "task", Plan(folder))  # fmt: skip
    tasks = {task.name: task for task in suite.tasks()}
    for name, table in {
        "samples": "samples", "samples-paper": "samples-paper",
        "exemplars": "exemplars", "complete": "completions",
    }.items():  # fmt: skip
        assert tmp_path / "task" / f"{table}.csv" in tasks[name].work()
        command = re.sub(r"\$\([^)]*\)", str(runs["dood"]), tasks[name].command)
        command = command.replace(str(tmp_path / "task"), str(tmp_path / "command"))
        assert dood(capsys, *shlex.split(command)[1:], "--device", "cpu", "-q").code == 0
        of_task, of_command = (
            (tmp_path / folder / f"{table}.csv").read_text() for folder in ("task", "command")
        )
        assert of_task == of_command

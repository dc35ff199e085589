"""The command line as a user meets it: help, bad input, and each command on tiny real data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import dood, refused


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a few steps on the embedded digits."""
    from doodcli.learning.train import Plan, train
    from doodcli.settings import change, preset

    runs = tmp_path_factory.mktemp("runs")
    return train(change(preset("tiny"), {"data.dataset": "digits"}), Plan(runs)).path


def test_help_names_every_command(capsys):
    result = dood(capsys, "--help")
    assert result.code == 0
    for name in ("train", "info", "reconstruct", "sample", "exemplars", "complete", "likelihood",
                 "probe", "trace", "fid", "export", "bench", "reproduce", "data"):  # fmt: skip
        assert f"  {name} " in result.out


@pytest.mark.parametrize(
    "command",
    ["train", "info", "reconstruct", "likelihood", "probe", "bench", "reproduce", "settings"],
)
def test_every_command_explains_itself(capsys, command):
    result = dood(capsys, command, "--help")
    assert result.code == 0
    assert "--json" in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "mnits"], ["mnits", "mnist"]),
        (["--dataset", "mnist"], ["mnist", "dood data fetch"]),
        (["--dataset", "digits", "--model", "doood"], ["--model doood", "dood"]),
        (["--dataset", "digits", "--device", "tpu9"], ["--device tpu9"]),
        (["--dataset", "digits", "--preset", "huge"], ["--preset huge", "laptop"]),
        (["--dataset", "digits", "--steps", "0"], ["learning.steps=0"]),
        (["--dataset", "digits", "--minutes", "-1"], ["learning.minutes"]),
        (["--dataset", "digits", "--set", "model.colour=red"], ["model.colour"]),
        (["--dataset", "digits", "--settings", "nowhere.json"], ["nowhere.json"]),
    ],
)
def test_train_refuses_bad_input_in_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.delenv("DOOD_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    refused(dood(capsys, "train", "--device", "cpu", *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_train_refuses_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = dood(
        capsys, "train", "--dataset", "digits", "--preset", "tiny", "--device", "cpu",
        "--runs", tmp_path / "file",
    )  # fmt: skip
    refused(result, "file", "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def archive(path: Path, **arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_train_refuses_damaged_and_empty_data(capsys, tmp_path):
    truncated = archive(tmp_path / "half.npz", images=np.zeros((20, 9, 9), np.uint8))
    truncated.write_bytes(truncated.read_bytes()[:100])
    shapes = archive(
        tmp_path / "shapes.npz", images=np.zeros((20, 9), np.uint8),
        labels=np.zeros(20, np.int16), split=np.zeros(20, np.uint8), classes=np.array(["a"]),
    )  # fmt: skip
    empty = archive(
        tmp_path / "empty.npz", images=np.zeros((0, 9, 9), np.uint8),
        labels=np.zeros(0, np.int16), split=np.zeros(0, np.uint8), classes=np.array(["a"]),
    )  # fmt: skip
    for file in (truncated, shapes, empty):
        result = dood(capsys, "train", "--dataset", file, "--preset", "tiny", "--device", "cpu",
                      "--runs", tmp_path / "runs")  # fmt: skip
        refused(result, file.name)


def test_several_models_and_sets_are_trained_at_once(capsys, tmp_path):
    asked = ("train", "--dataset", "digits,scribbles", "--model", "dood,air", "--preset", "tiny")
    dry = json.loads(dood(capsys, *asked, "--dry-run").out)
    names = [(one["model"]["name"], one["data"]["dataset"]) for one in dry]
    assert names == [(m, d) for m in ("dood", "air") for d in ("digits", "scribbles")]
    asked = (*asked, "--steps", "2", "--device", "cpu", "--runs", tmp_path)
    found = dood(capsys, *asked, "--json")
    assert found.code == 0
    runs = json.loads(found.out)
    assert [(run["model"], run["source"]) for run in runs] == names
    assert "air, scribbles: " in found.err
    again = dood(capsys, *asked)
    assert again.out.splitlines() == [run["path"] for run in runs]
    refused(dood(capsys, *asked, "--run-dir", tmp_path / "one"), "several models", "--run-dir")
    refused(dood(capsys, "train", "--dataset", ","), "--dataset", "is empty")


@pytest.mark.parametrize("command", ["info", "reconstruct", "likelihood"])
def test_a_folder_that_is_no_run_is_refused(capsys, tmp_path, command):
    refused(dood(capsys, command, tmp_path), str(tmp_path), "no run")
    refused(dood(capsys, command, tmp_path / "nothing"), "no such folder")


def test_a_settings_file_is_heeded_unless_an_option_says_otherwise(capsys, tmp_path):
    file = tmp_path / "mine.json"
    mine = {"data": {"dataset": "scribbles"}, "learning": {"steps": 7}, "seed": 3}
    file.write_text(json.dumps(mine))
    result = json.loads(dood(capsys, "train", "--settings", file, "--lr", 0.5, "--dry-run").out)
    assert result["data"]["dataset"] == "scribbles"
    assert result["seed"] == 3
    assert (result["learning"]["steps"], result["learning"]["minutes"]) == (7, None)
    assert result["learning"]["lr"] == 0.5
    result = json.loads(dood(capsys, "train", "--settings", file, "--seed", 4, "--dry-run").out)
    assert result["seed"] == 4


def test_dry_run_prints_the_settings_and_touches_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = dood(capsys, "train", "--dataset", "digits", "--set", "model.strokes=8", "--dry-run")
    assert json.loads(result.out)["model"]["strokes"] == 8
    assert not list(tmp_path.iterdir())


def test_a_stranger_trains_and_looks_at_what_it_drew(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = dood(capsys, "train", "--dataset", "digits", "--preset", "tiny", "--device", "cpu")
    assert made.code == 0, made
    path = Path(made.out.strip())
    assert path.parent == Path("runs")
    assert "elbo" in made.err
    names = {p.name for p in path.iterdir()}
    assert {"run.json", "log.csv", "progress.png"} <= names
    again = dood(capsys, "train", "--dataset", "digits", "--preset", "tiny", "--device", "cpu")
    assert "finished" in again.err
    facts = json.loads(dood(capsys, "info", path, "--json").out)
    assert facts["checkpoint"]["step"] == 6
    assert facts["settings"]["data.dataset"] == "digits"


def test_reconstruct_draws_runs_and_sets_side_by_side(capsys, run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    result = dood(
        capsys, "reconstruct", f"{run},{other},{run}", "--dataset", "digits,scribbles", "--num", 3,
        "--out", tmp_path, "--device", "cpu", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result
    assert (tmp_path / "reconstruct.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "reconstruct.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    import pandas as pd

    table = pd.read_csv(tmp_path / "reconstruct.csv")
    assert len(table) == 2 * 2 * 3
    assert set(table["dataset"]) == {"digits", "scribbles"}


def test_likelihood_stands_beside_the_blank_page(capsys, run, tmp_path):
    result = dood(
        capsys, "likelihood", run, "--dataset", "digits", "--samples", 3, "--limit", 8,
        "--out", tmp_path, "--device", "cpu", "--json", "--quiet",
    )  # fmt: skip
    rows = json.loads(result.out)
    assert [row["model"] for row in rows] == ["dood", "blank"]
    assert [row["kind"] for row in rows] == ["bound", "exact"]
    assert rows[0]["images"] == 8
    assert rows[0]["samples"] == 3
    for name in ("weights", "settings_hash", "target_fingerprint", "version", "steps"):
        assert rows[0][name]
    assert (tmp_path / "likelihood.csv").exists()


def test_likelihood_with_posteriors_of_each_images_own(capsys, run):
    same = ["likelihood", run, "--dataset", "digits", "--samples", 3, "--limit", 8, "--device",
            "cpu", "--quiet"]  # fmt: skip
    amortised, refined, scaled, blank = json.loads(
        dood(capsys, *same, "--refine", 4, "--scale-images", 5, "--json").out
    )
    assert [row["refine_steps"] for row in (amortised, refined, scaled)] == [0, 4, 4]
    assert [row["scale_images"] for row in (amortised, refined, scaled)] == [0, 0, 5]
    assert blank["refine_steps"] is None
    assert refined["weights"] == amortised["weights"]
    assert refined["elbo_nats"] > amortised["elbo_nats"]
    alone = json.loads(dood(capsys, *same, "--json").out)
    assert alone[0]["iwae_nats"] == amortised["iwae_nats"]
    assert "refine_steps" in dood(capsys, *same, "--refine", 1).out.splitlines()[0]
    refused(dood(capsys, *same, "--scale-images", 5), "--scale-images", "--refine")


def test_a_pen_read_off_the_target_never_shares_a_column_with_bounds(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = dood(capsys, "train", "--dataset", "digits", "--preset", "tiny", "--pen", "amortised",
                "--device", "cpu", "--quiet")  # fmt: skip
    result = dood(capsys, "likelihood", made.out.strip(), "--dataset", "digits", "--samples", 2,
                  "--limit", 4, "--transpose", "--json", "--device", "cpu", "--quiet")  # fmt: skip
    leaky, blank = json.loads(result.out)
    assert leaky["kind"] == "not a bound"
    assert leaky["iwae_nats"] is None
    assert leaky["leaky_iwae_nats"] is not None
    assert blank["iwae_nats"] is not None
    result = dood(capsys, "likelihood", made.out.strip(), "--dataset", "digits", "--samples", 2,
                  "--limit", 4, "--refine", 2, "--json", "--device", "cpu", "--quiet")  # fmt: skip
    *every, _ = json.loads(result.out)
    assert [row["refine_steps"] for row in every] == [0, 2]
    assert all(row["leaky_iwae_nats"] is not None for row in every)
    assert leaky["remark"] == "transposed"


def test_a_folder_of_pictures_is_a_data_set(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for k in range(15):
            page = np.full((40, 30), 255, np.uint8)
            x, y = generator.integers(5, 20, 2)
            page[y : y + 12, x : x + 2] = 0
            Image.fromarray(page).save(tmp_path / "mine" / label / f"{k}.png")
    made = dood(capsys, "train", "--dataset", "mine", "--preset", "tiny", "--device", "cpu",
                "--steps", 2, "--quiet")  # fmt: skip
    assert made.code == 0, made
    shown = dood(capsys, "reconstruct", made.out.strip(), "--dataset", "mine", "--num", 2,
                 "--device", "cpu", "--quiet")  # fmt: skip
    assert shown.code == 0, shown


def test_reproduce_makes_every_table_and_picture_and_then_rests(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = json.loads(dood(capsys, "reproduce", "--profile", "tiny", "--dry-run").out)
    assert {row["state"] for row in before} == {"missing"}
    made = dood(capsys, "reproduce", "--profile", "tiny", "--device", "cpu", "--quiet")
    assert made.code == 0, made
    results = tmp_path / "results" / "tiny"
    for name in ("transfer.csv", "transfer_claims.csv", "training.csv", "training.tex",
                 "reconstruct.csv", "reconstruct.png", "samples.pdf", "training.png",
                 "samples.csv", "samples-paper.csv", "samples-paper.png", "exemplars.csv",
                 "exemplars.png", "exemplars.pdf", "completions.csv", "completions.png",
                 "stroke_counts.csv", "stroke_counts.png", "stroke_counts.pdf",
                 "stroke_claims.csv", "stroke_claims.tex",
                 "strokes.csv", "strokes.tex", "strokes_dood.png", "strokes_air.pdf",
                 "probe.csv", "probe.tex", "fid.csv", "fid.tex",
                 "trace.csv", "trace.tex", "trace.svg", "trace.png", "trace.pdf",
                 "models/compare.png", "models/compare.pdf", "models/reconstruct.csv",
                 "animations.json", "index.html", "report.tex"):  # fmt: skip
        assert (results / name).stat().st_size > 0
    after = json.loads(dood(capsys, "reproduce", "--profile", "tiny", "--dry-run").out)
    assert {row["state"] for row in after} == {"done"}
    (results / "stroke_claims.csv").unlink()
    again = dood(capsys, "reproduce", "--profile", "tiny", "--device", "cpu")
    assert again.err.count("done before") == len(after) - 1
    assert again.out.splitlines()[-1] == "results/tiny/index.html"
    assert (results / "stroke_claims.csv").exists()
    # Results that came without their runs: the runs are made again.  A blank page needs none.
    shutil.rmtree(tmp_path / "runs")
    lost = json.loads(dood(capsys, "reproduce", "--profile", "tiny", "--dry-run").out)
    kept = {row["task"] for row in lost if row["state"] == "done"}
    assert kept == {row["task"] for row in lost if row["task"].startswith("blank-")}
    assert dood(capsys, "reproduce", "--profile", "tiny", "--device", "cpu", "-q").code == 0


def test_an_unknown_profile_is_refused(capsys):
    refused(dood(capsys, "reproduce", "--profile", "poster"), "--profile poster", "smoke")


def test_the_python_api_of_the_readme(run):
    import doodcli
    from doodcli.data.load import load_images

    model = doodcli.load(run)
    images = load_images("digits", "test", limit=4).images
    drawing, log_q = model.infer(images)
    assert drawing.strokes.shape == (1, 4, 6, 5, 2)
    assert log_q.shape == (1, 4)
    assert model.render(drawing).shape == (1, 4, 50, 50)


def test_help_answers_before_torch_is_imported():
    code = "import sys, doodcli.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""`dood reproduce` from the command line: which tasks, where, and how long."""

from __future__ import annotations

import json
import socket

import pandas as pd
import pytest

from doodcli.pipeline import executors
from tests.command import dood, refused


def shown(capsys, *options):
    made = dood(capsys, "reproduce", "--dry-run", *options)
    assert made.code == 0, made
    return {row["task"]: row for row in json.loads(made.out)}, made.err


def test_the_papers_names_stand_for_tasks(capsys, tmp_path):
    rows, _ = shown(capsys, "--profile", "tiny", "--only", "fig8,table1", "--out", tmp_path)
    trainings = {name for name in rows if name.startswith("train-")}
    assert set(rows) - trainings == {"complete", "oneshot"}
    assert len(trainings) == 6
    rows, _ = shown(capsys, "--profile", "tiny", "--only", "fig6,train-air-*", "--out", tmp_path)
    assert {"samples", "samples-paper", "fid", "train-air-difference-digits-s0"} <= set(rows)
    assert "complete" not in rows
    rows, _ = shown(capsys, "--profile", "tiny", "--only", "ablations", "--out", tmp_path)
    assert {"transfer", "cell-dood-eg-digits-s0-scribbles"} <= set(rows)


def test_an_unknown_name_lists_tasks_and_the_papers_names(capsys, tmp_path):
    refused(
        dood(capsys, "reproduce", "--profile", "tiny", "--only", "fig2", "--out", tmp_path),
        "--only fig2", "train-dood-digits-s0", "samples-paper", "fig4", "table1", "ablations",
    )  # fmt: skip


def test_every_name_of_the_paper_is_a_task_of_the_paper_profile(capsys, tmp_path):
    from doodcli.pipeline.aliases import ALIASES

    rows, _ = shown(capsys, "--profile", "paper", "--out", tmp_path)
    for names in ALIASES.values():
        assert set(names) <= set(rows)


def test_several_seeds_are_trained_and_tested_and_the_first_is_drawn(capsys, tmp_path):
    rows, _ = shown(
        capsys, "--profile", "tiny", "--out", tmp_path, "--seeds", "3,4", "--only",
        "cell-dood-digits-*,reconstruct",
    )  # fmt: skip
    assert {"train-dood-digits-s3", "train-dood-digits-s4"} <= set(rows)
    assert {"cell-dood-digits-s3-digits", "cell-dood-digits-s4-digits"} <= set(rows)
    assert "train-dood-digits-s4" not in rows["reconstruct"]["needs"]
    assert "--seed 0" in rows["cell-dood-digits-s4-digits"]["command"].rsplit("--dataset")[-1]
    one = dood(capsys, "reproduce", "--profile", "tiny", "--seeds", "0,x", "--out", tmp_path)
    refused(one, "--seeds 0,x")


def test_a_dry_run_says_what_a_task_needs_and_how_long_it_takes(capsys, tmp_path):
    ledger = tmp_path / "smoke" / "ledger.json"
    ledger.parent.mkdir()
    ledger.write_text(json.dumps({
        "cell-dood-digits-s0-digits": {"seconds": 8.0},
        "reconstruct": {"seconds": 5.0},
        "probe": {"seconds": 6.0},
    }))  # fmt: skip
    rows, said = shown(capsys, "--profile", "smoke", "--out", tmp_path,
                       "--only", "cell-dood-digits-*,reconstruct,exemplars")  # fmt: skip
    assert rows["reconstruct"]["needs"] == ["train-dood-digits-s0", "train-dood-scribbles-s0"]
    times = {name: (row["seconds"], row["estimate"]) for name, row in rows.items()}
    assert times == {
        # 2.2 minutes are what the preset trains.
        "train-dood-digits-s0": (132.0, "its settings"),
        "train-dood-scribbles-s0": (132.0, "its settings"),
        "cell-dood-digits-s0-digits": (8.0, "the last time"),
        # As many images and samples.
        "cell-dood-digits-s0-scribbles": (8.0, "1 of its kind in smoke"),
        "reconstruct": (5.0, "the last time"),
        "exemplars": (None, "unknown"),
    }
    assert "0 tasks are done, 6 are not" in said
    assert "1 of unknown length" in said
    # 16 images of 4 samples instead of 200 of 50; six runs instead of two.
    rows, _ = shown(capsys, "--profile", "tiny", "--out", tmp_path,
                    "--only", "cell-dood-digits-*,probe")  # fmt: skip
    cell = rows["cell-dood-digits-s0-digits"]
    assert (cell["seconds"], cell["estimate"]) == (0.1, "1 of its kind in smoke")
    assert rows["probe"]["seconds"] == 18.0
    assert rows["train-dood-digits-s0"]["estimate"] == "unknown"


def test_without_training_the_models_that_are_trained_are_used(capsys, tmp_path):
    where = ("--profile", "tiny", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    refused(dood(capsys, "reproduce", "--no-train", *where), "--no-train", "profile tiny")
    # Of AIR alone there are no curves to draw: what is of curves alone is left out.
    for model in ("air", "dood"):
        made = dood(capsys, "train", "--model", model, "--preset", "tiny", "--dataset", "digits",
                    "--runs", tmp_path / "runs", "--quiet", "--device", "cpu")  # fmt: skip
        assert made.code == 0, made
        if model == "air":
            rows, _ = shown(capsys, "--no-train", *where)
            assert {"samples", "compare", "transfer"} <= set(rows)
            assert not {"reconstruct", "samples-paper", "trace"} & set(rows)
    rows, _ = shown(capsys, "--no-train", *where)
    models = {name.removeprefix("train-") for name in rows if name.startswith("train-")}
    assert models == {"dood-digits-s0", "air-digits-s0"}
    assert {"transfer", "samples", "cell-air-digits-s0-digits", "report"} <= set(rows)
    asked = ("--no-train", "--only", "samples,training,report", "--quiet", "--device", "cpu")
    made = dood(capsys, "reproduce", *where, *asked)
    assert made.code == 0, made
    drawn = pd.read_csv(tmp_path / "out" / "tiny" / "samples.csv")
    assert drawn.model.unique().tolist() == ["dood", "air"]
    # What the profile has and these results have not is still said to be missing.
    page = (tmp_path / "out" / "tiny" / "index.html").read_text(encoding="utf-8")
    assert "train-dood-eg-digits-s0" in page


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_are_one_or_more(capsys, jobs):
    made = dood(capsys, "reproduce", "--profile", "tiny", "--jobs", jobs)
    assert made.code == 2
    assert "--jobs" in made.err


def test_options_of_a_cluster_are_refused_without_one(capsys, monkeypatch, tmp_path):
    call = ("reproduce", "--profile", "tiny", "--out", tmp_path)
    refused(dood(capsys, *call, "--gpus-per-task", "0.25"), "--gpus-per-task", "--executor ray")
    refused(dood(capsys, *call, "--cpus-per-task", "2"), "--cpus-per-task", "--executor ray")
    refused(dood(capsys, *call, "--executor", "spark"), "--executor spark", "slurm")
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    refused(dood(capsys, *call, "--executor", "ray"), "package ray", "make setup")
    # Also where nothing would be run.
    refused(dood(capsys, *call, "--executor", "slurm", "--dry-run"), "package submitit")
    assert not list(tmp_path.iterdir())


def test_without_a_cluster_ray_is_told_how_to_start_one(capsys, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed")

    # Ray looks at all processes of the machine, and one may well be of a cluster.
    def init(address, **_):
        assert address == "auto"
        raise ConnectionError("Could not find any running Ray instance.\nMore of it.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = dood(capsys, "reproduce", "--profile", "tiny", "--out", tmp_path, "--executor", "ray")
    refused(made, "--executor ray", "any running Ray", "ray start --head", "$RAY_ADDRESS")


def test_an_address_where_nothing_answers_is_refused_at_once(capsys, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        made = dood(
            capsys, "reproduce", "--profile", "tiny", "--out", tmp_path, "--executor", "ray"
        )
    refused(made, f"$RAY_ADDRESS {address}", "no cluster to join", "ray start --head")

"""`dood strokes cluster` and `dood probe` from end to end, on tiny models of the embedded sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from doodcli.learning.train import Plan, train
from doodcli.pipeline import studies
from doodcli.settings import change, preset
from tests.command import dood, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """Tiny runs: two seeds of `dood`, one that learned from scribbles, and `air`."""
    folder = tmp_path_factory.mktemp("runs")
    runs = {"dood": {}, "second": {"seed": 1}, "scribbles": {"data.dataset": "scribbles"},
            "air": {"model.name": "air"}}  # fmt: skip
    base = {"data.dataset": "digits", "learning.steps": 3}
    return {
        name: train(change(preset("tiny"), {**base, **values}), Plan(folder)).path
        for name, values in runs.items()
    }


@pytest.fixture
def call(capsys, tmp_path, trained):
    """A command on some runs, by their names, that writes to a folder of the test."""

    def command(words: str, names: str, *more: object):
        runs = ",".join(str(trained[name]) for name in names.split(","))
        return dood(
            capsys, *words.split(), runs, "--out", tmp_path / "out", "--device", "cpu", *more
        )  # fmt: skip

    return command


@pytest.fixture
def plain(monkeypatch) -> list[str]:
    """Empty pictures, which take no time, and the titles of those that they stand for."""
    titles: list[str] = []
    monkeypatch.setattr(
        studies, "clusters_figure", lambda found: titles.append(found.title) or Figure((1, 1))
    )
    return titles


def own_set(path: Path, test_classes: list[int]) -> Path:
    """Twenty pictures of two classes to train on, and as many of these classes to test on."""
    labels = np.repeat([0, 1, *test_classes], 10).astype(np.int16)
    arrays = {
        "images": np.random.default_rng(0).integers(0, 256, (40, 20, 20), dtype=np.uint8),
        "labels": labels,
        "split": np.repeat([0, 1], 20).astype(np.uint8),
        "classes": np.array(list("abcd")),
    }
    np.savez_compressed(path, **arrays)
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


# ------------------------------------------------------------------------ dood strokes cluster


def test_strokes_are_clustered_drawn_and_tabled(call, tmp_path, trained):
    result = call("strokes cluster", "dood,second,air", "--limit-strokes", 60, "--clusters", 4)
    assert result.code == 0, result
    out = tmp_path / "out"
    pictures = [f"strokes_{name}.{kind}" for name in ("air", "dood") for kind in ("pdf", "png")]
    assert files(out) == sorted(["strokes.csv", "strokes.tex", *pictures])
    table = pd.read_csv(out / "strokes.csv")
    assert table.groupby("run").clusters.apply(list).tolist() == [[4, 5, 8, 10, 15]] * 3
    assert set(table.run) == {trained[name].name for name in ("dood", "second", "air")}
    assert set(table.strokes) == {60}
    assert set(table.dataset) == {"digits"}
    assert set(table.part) == {"train"}
    assert table.silhouette.between(-1, 1).all()
    assert table[table.model == "dood"].silhouette_one_way.notna().all()
    assert table[table.model == "air"].silhouette_one_way.isna().all()
    for name in ("air", "dood"):
        with Image.open(out / f"strokes_{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    # For people: means over seeds, the claim, and where it all is.
    mean = table[(table.model == "dood") & (table.clusters == 4)].silhouette.mean()
    for words in (f"{mean:.4f}", "dood's strokes cluster better than air's codes",
                  str(out / "strokes_dood.png")):  # fmt: skip
        assert words in result.out
    assert "clustering up to 60 strokes" in result.err
    assert " ± " in (out / "strokes.tex").read_text()


def test_clusters_as_json_are_those_of_the_table(call, tmp_path, plain):
    result = call("strokes cluster", "dood", "--limit-strokes", 30, "--json", "--quiet")
    assert result.code == 0, result
    assert result.err == ""
    table = pd.read_csv(tmp_path / "out" / "strokes.csv")
    rows = json.loads(result.out)
    assert [row["silhouette"] for row in rows] == pytest.approx(table.silhouette.tolist())


def test_runs_of_one_model_have_pictures_of_their_own(call, tmp_path, plain):
    result = call("strokes cluster", "dood,scribbles,air", "--limit-strokes", 30, "--quiet")
    assert result.code == 0, result
    stems = {name for name in files(tmp_path / "out") if name.endswith(".png")}
    assert stems == {"strokes_dood-digits.png", "strokes_dood-scribbles.png", "strokes_air.png"}
    table = pd.read_csv(tmp_path / "out" / "strokes.csv")
    assert (table.dataset == table.source).all()
    for title, words in zip(plain, ("images of digits", "images of scribbles"), strict=False):
        assert words in title
    # A data set that is named is that of all runs.
    result = call("strokes cluster", "dood,scribbles", "--limit-strokes", 30, "--quiet",
                  "--dataset", "scribbles")  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "strokes.csv")
    assert set(table.dataset) == {"scribbles"}
    assert set(table.source) == {"digits", "scribbles"}


def test_a_run_that_draws_too_little_is_in_the_table_without_a_picture(call, tmp_path, monkeypatch):
    import torch

    from doodcli.experiments import clusters

    parts = clusters.Parts(torch.randn(6, 5, 2), torch.ones(3), 10)
    monkeypatch.setattr(clusters, "gather", lambda *_: parts)
    result = call("strokes cluster", "dood")
    assert result.code == 0, result
    assert "no picture" in result.err
    assert files(tmp_path / "out") == ["strokes.csv", "strokes.tex"]
    table = pd.read_csv(tmp_path / "out" / "strokes.csv").set_index("clusters")
    assert table.silhouette[5] == table.silhouette[5]
    assert table.note[8] == "6 strokes are too few for 8 clusters"


def test_dry_runs_touch_nothing(call, trained, tmp_path):
    shown = json.loads(call("strokes cluster", "dood,air", "--clusters", 6, "--dry-run").out)
    assert shown == {
        "runs": [str(trained["dood"]), str(trained["air"])], "dataset": None, "clusters": 6,
        "limit_strokes": 10_000,
    }  # fmt: skip
    shown = json.loads(call("probe", "air", "--target", "digits,scribbles", "--dry-run").out)
    assert shown == {
        "runs": [str(trained["air"])], "targets": ["digits", "scribbles"], "limit_train": None,
        "limit": None,
    }  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_in_one_line(call, capsys, tmp_path):
    refused(call("strokes cluster", "dood", "--dataset", "scrabble"), "scrabble", "scribbles")
    assert call("strokes cluster", "dood", "--clusters", 1).code == 2
    assert call("strokes cluster", "dood", "--limit-strokes", 0).code == 2
    refused(call("probe", "dood", "--target", "digits,scrabble"), "scrabble", "scribbles")
    refused(call("probe", "dood", "--target", ","), "--target")
    nowhere = tmp_path / "nowhere"
    for words in (("strokes", "cluster"), ("probe",)):
        refused(dood(capsys, *words, nowhere), "no such folder")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------- dood probe


def test_every_run_is_probed_on_every_target(call, tmp_path, trained):
    mine = own_set(tmp_path / "mine.npz", [0, 1])
    result = call("probe", "dood,second,air", "--target", f"digits,{mine}",
                  "--limit-train", 18, "--limit", 20)  # fmt: skip
    assert result.code == 0, result
    assert files(tmp_path / "out") == ["probe.csv", "probe.tex"]
    table = pd.read_csv(tmp_path / "out" / "probe.csv")
    pairs = {(trained[n].name, t) for n in ("dood", "second", "air") for t in ("digits", "mine")}
    assert set(zip(table.run, table.target, strict=True)) == pairs
    assert len(table) == 6
    assert set(table.train_images) == {18}
    assert set(table.test_images) == {20}
    assert set(table.features) == {6 * 14}
    assert table.accuracy.between(0, 1).all()
    mean = table[(table.model == "dood") & (table.target == "digits")].accuracy.mean()
    text = (tmp_path / "out" / "probe.tex").read_text()
    assert f"{mean:.3f} ± " in text
    assert f"{mean:.4f}" in result.out
    assert "commonest class" in text
    assert result.err.count("probing ") == 6


def test_a_probe_as_json_is_that_of_the_table(call, tmp_path):
    result = call("probe", "dood", "--target", "digits", "--limit-train", 50, "--limit", 30,
                  "--json", "--quiet")  # fmt: skip
    (row,) = json.loads(result.out)
    table = pd.read_csv(tmp_path / "out" / "probe.csv")
    assert row["accuracy"] == table.accuracy.item()
    assert row["chance"] == table.chance.item()
    assert result.err == ""


def test_a_set_that_cannot_be_probed_is_named_and_the_others_are_probed(call, tmp_path):
    apart = own_set(tmp_path / "apart.npz", [2, 3])
    both = call("probe", "dood", "--target", f"digits,{apart}", "--limit", 20,
                "--limit-train", 40)  # fmt: skip
    assert both.code == 0, both
    assert "no probe: apart: its test classes are others than its training classes" in both.err
    assert pd.read_csv(tmp_path / "out" / "probe.csv").target.tolist() == ["digits"]
    alone = call("probe", "dood", "--target", apart, "--quiet")
    refused(alone, "nothing to probe", "apart")
    # Nothing that existed is lost.
    assert pd.read_csv(tmp_path / "out" / "probe.csv").target.tolist() == ["digits"]


# ------------------------------------------------------------------------------------ reproduce


def test_the_tasks_of_a_profile_name_commands_that_do_the_same(capsys, tmp_path):
    shown = dood(capsys, "reproduce", "--profile", "laptop", "--only", "clusters,probe",
                 "--dry-run", "--data-root", tmp_path)  # fmt: skip
    assert shown.code == 0, shown
    rows = {row["task"]: row["command"] for row in json.loads(shown.out)}
    for words in ("dood strokes cluster", "--limit-strokes 10000", "--clusters 8"):
        assert words in rows["clusters"]
    for words in ("dood probe", "--limit-train 10000", "--limit 2000",
                  "--target mnist,emnist,kmnist,quickdraw,omniglot"):  # fmt: skip
        assert words in rows["probe"]
    for name in ("dood-eg", "air-difference"):
        assert f"--model {name} --dataset mnist" in rows["probe"]
        assert f"--model {name} --dataset mnist" in rows["clusters"]

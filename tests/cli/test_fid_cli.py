"""`dood fid` as a user meets it, on tiny runs, and as a task of `dood reproduce`."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from PIL import Image

from doodcli.data.load import load_images
from doodcli.learning.features import SHIPPED, open_features
from doodcli.learning.train import Plan, train
from doodcli.pipeline import engine, fidelity
from doodcli.pipeline.graph import PROFILES, Suite, profile
from doodcli.report import paper
from doodcli.report.fid import write_fid_tex
from doodcli.settings import change, preset
from tests.command import Result, dood, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of a few steps on the embedded digits: one with control points, one without."""
    plan = Plan(tmp_path_factory.mktemp("runs"))
    base = change(preset("tiny"), {"data.dataset": "digits", "learning.steps": 2})
    return {name: train(change(base, {"model.name": name}), plan).path for name in ("dood", "air")}


@pytest.fixture
def score(capsys, tmp_path):
    """The command, into a folder of its own."""

    def call(*arguments: object) -> Result:
        where = ("--out", tmp_path / "out", "--device", "cpu")
        return dood(capsys, "fid", "score", *arguments, *where)

    return call


def pictures(folder: Path, count: int, dark: bool = False) -> Path:
    """A folder of real digits as picture files, dark on light or as they are."""
    folder.mkdir()
    for number, image in enumerate(load_images("digits", "train", limit=count).images.numpy()):
        Image.fromarray(255 - image if dark else image).save(folder / f"{number}.png")
    return folder


def cells(path: Path) -> list[list[str]]:
    """The rows of a LaTeX table."""
    body = path.read_text().split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]


def compiles(path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{%s}\end{document}"
    (path.parent / "page.tex").write_text(page % path.name)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=path.parent, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-800:]


def test_runs_a_folder_and_the_floor_are_rows_of_one_table(runs, score, tmp_path):
    folder = pictures(tmp_path / "gns_samples", 45, dark=True)
    both = f"{runs['dood']},{runs['air']}"
    result = score(both, "--images", folder, "--num", 60, "--sample-seeds", 2, "--seed", 3)
    assert result.code == 0, result
    assert "gns_samples, pictures: only 45, so every row is of 45 and not of 60" in result.err
    assert "warning: 45 pictures are fewer than 10 × 128 features" in result.err
    table = pd.read_csv(tmp_path / "out" / "fid.csv")
    rows = ["dood", "dood, tempered as in the paper", "air", "gns_samples", "floor"]
    assert table.drawn_by.tolist() == rows * 2
    assert table.sample_seed.tolist() == [3] * 5 + [4] * 5
    assert set(table.images) == {45}
    assert set(table.dataset) == {"digits"}
    assert table.groupby("drawn_by").temperature.first().dropna().to_dict() == {
        "dood": "1", "dood, tempered as in the paper": "paper", "air": "1",
    }  # fmt: skip
    means = table.groupby("drawn_by").fid.mean()
    # Pictures of real digits are as near as real digits, what two steps teach is far.
    assert means.gns_samples == pytest.approx(means.floor, rel=0.2)
    assert (means[["dood", "air"]] > 2 * means.floor).all()
    models = table[table.kind == "model"]
    assert models.weights.notna().all()
    assert set(models.seed) == {0}
    digest = open_features(SHIPPED).digest
    assert set(table.extractor) == {digest}
    assert set(table.version.notna()) == set(table.torch_fidelity.notna()) == {True}
    assert table.fingerprint.nunique() == 1
    assert [row[1] for row in cells(tmp_path / "out" / "fid.tex")] == [
        name.replace("_", r"\_").removesuffix(" as in the paper") for name in rows
    ]
    shown = result.out.splitlines()
    assert shown[0].split()[:2] == ["dataset", "drawn_by"]
    assert shown[-2:] == [str(tmp_path / "out" / name) for name in ("fid.csv", "fid.tex")]
    compiles(tmp_path / "out" / "fid.tex")


def test_the_papers_number_has_a_column_of_its_own(tmp_path):
    values = {f"{name}{end}": 1.0 for name in ("fid", "kid", "precision", "recall")
              for end in ("", "_std")}  # fmt: skip
    summary = pd.DataFrame(
        [
            {"dataset": "mnist", "drawn_by": name, "features": "strokes", "feature_size": 128,
             "images": 1000, "sample_seeds": 5, "part": "test", "remark": "", "paper_fid": number,
             "paper_fid_std": std, **values}
            for name, (number, std) in
            {"dood": (None, None), "dood, tempered": paper.FID["dood"]["mnist"]}.items()
        ]
    )  # fmt: skip
    write_fid_tex(summary, tmp_path / "fid.tex", "tab:fid")
    assert [row[-1] for row in cells(tmp_path / "fid.tex")] == ["--", "0.134 ± 0.013"]
    text = (tmp_path / "fid.tex").read_text()
    assert "on another scale" in text
    assert "Fewer pictures than 10 for each of 128 features" in text
    write_fid_tex(summary.assign(images=1280), tmp_path / "fid.tex", "tab:fid")
    assert "Fewer pictures" not in (tmp_path / "fid.tex").read_text()


def test_a_folder_needs_no_run(score, tmp_path):
    folder = pictures(tmp_path / "mine", 20)
    result = score("--images", folder, "--dataset", "digits,scribbles", "--num", 20,
                   "--sample-seeds", 1, "--json", "--quiet")  # fmt: skip
    found = json.loads(result.out)
    assert [(row["dataset"], row["drawn_by"]) for row in found] == [
        (name, label) for name in ("digits", "scribbles") for label in ("mine", "floor")
    ]
    assert {row["images"] for row in found} == {20}
    assert found[0]["fid"] < found[2]["fid"]  # digits are no scribbles
    assert "only" not in result.err


def test_each_set_is_scored_by_what_was_trained_on_it(runs, score):
    few = ("--num", 20, "--sample-seeds", 1)
    result = score(runs["air"], "--dataset", "digits,scribbles", *few, "--json")
    rows = [(row["dataset"], row["drawn_by"]) for row in json.loads(result.out)]
    assert rows == [("digits", "air"), ("digits", "floor"), ("scribbles", "floor")]
    refused(score(runs["air"], "--dataset", "scribbles", *few), "--dataset scribbles", "none")


def test_settings_can_be_chosen_by_images_that_are_no_test_images(runs, score, tmp_path):
    few = ("--num", 20, "--sample-seeds", 1, "--quiet")
    tables = {}
    for part in ("test", "validation"):
        assert score(runs["dood"], "--part", part, *few).code == 0
        tables[part] = pd.read_csv(tmp_path / "out" / "fid.csv")
        assert set(tables[part].part) == {part}
        assert f"against its {part} images" in (tmp_path / "out" / "fid.tex").read_text()
    assert not set(tables["test"].fid) & set(tables["validation"].fid)
    wrong = score(runs["dood"], "--part", "train", *few)  # which is the floor's
    assert wrong.code == 2
    assert "'train' is not one of 'test', 'validation'" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["RUNS", "--images"]),
        (["--images", "nowhere", "--dataset", "digits"], ["--images nowhere", "no such folder"]),
        (["--images", "nowhere"], ["--dataset"]),
        (["RUN", "--temperature", "hot"], ["--temperature hot"]),
        (["RUN", "--features", "inception"], ["--features inception", "inception-2048"]),
        (["RUN", "--weights", "nowhere"], ["nowhere", "features.json"]),
        (["RUN", "--features", "inception-64", "--weights", __file__], ["sha256", "not opened"]),
        (["RUN", "--dataset", "mnits"], ["mnits", "mnist"]),
        (["nowhere"], ["nowhere", "no such folder"]),
    ],
)
def test_bad_input_is_refused_in_one_line(runs, score, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    refused(score(*(runs["dood"] if a == "RUN" else a for a in arguments)), *words)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_what_would_be_compared(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)  # it needs none
    result = dood(capsys, "fid", "score", "a,b", "--num", 100, "--temperature", "1,.5", "--dry-run")
    shown = json.loads(result.out)
    assert shown["runs"] == ["a", "b"]
    assert shown["num"] == 100
    assert list(shown["temperatures"]) == ["1", "0.5"]
    taught = dood(capsys, "fid", "train-features", "--steps", 7, "--dry-run")
    assert json.loads(taught.out)["steps"] == 7
    assert not list(tmp_path.iterdir())


def test_an_extractor_of_ones_own_is_trained_and_used(capsys, score, tmp_path):
    out = tmp_path / "features"
    made = dood(capsys, "fid", "train-features", "--dataset", "digits", "--steps", 3, "--out", out,
                "--device", "cpu", "--quiet")  # fmt: skip
    assert made.code == 0, made
    assert made.out.splitlines()[-1] == str(out)
    assert not made.err
    folder = pictures(tmp_path / "mine", 12)
    result = score("--images", folder, "--dataset", "digits", "--num", 12, "--sample-seeds", 1,
                   "--weights", out, "--json", "-q")  # fmt: skip
    assert {row["extractor"] for row in json.loads(result.out)} == {open_features(out).digest}


# ------------------------------------------------------------------------------------ reproduce


def suite(tmp_path: Path, name: str, **changes: object) -> Suite:
    chosen = dataclasses.replace(profile(name), **changes)
    return Suite(name, chosen, tmp_path / name, Plan(tmp_path / "runs"))


def test_every_profile_has_the_task_with_its_sizes(tmp_path):
    assert set(fidelity.SIZES) == set(PROFILES)
    assert fidelity.SIZES["paper"] == (5000, 5)
    task = {t.name: t for t in suite(tmp_path, "laptop").tasks()}["fid"]
    every = "mnist,emnist,kmnist,quickdraw,omniglot"
    assert f"--dataset {every} --num 2000 --sample-seeds 5" in task.command
    assert "train-air-difference-omniglot-s0" in task.needs


def test_reproduce_scores_once_and_without_torch_fidelity_does_the_rest(tmp_path, monkeypatch):
    tasks = engine.only(
        suite(tmp_path, "tiny", trainings=(("dood", "digits"),)).tasks(), ["fid", "samples"]
    )
    ledger = engine.Ledger(tmp_path / "tiny" / engine.LEDGER)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch_fidelity", None)
        outcome = engine.run(tasks, ledger, lambda _: None)
    assert outcome.failed == ["fid"]
    assert "pip install 'doodcli[fid]'" in outcome.reasons["fid"]
    assert outcome.states["samples"] == "done"
    assert not engine.run(tasks, ledger, lambda _: None).failed
    table = pd.read_csv(tmp_path / "tiny" / "fid.csv")
    assert set(table.images) == {40}
    assert set(table.kind) == {"model", "floor"}
    assert set(engine.plan(tasks, ledger).states.values()) == {"done"}
    (tmp_path / "tiny" / "fid.tex").unlink()
    assert engine.plan(tasks, ledger).states["fid"] == "missing"


def test_a_missing_torch_fidelity_is_refused_with_its_remedy(runs, score, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    refused(score(runs["dood"]), "torch-fidelity", "pip install 'doodcli[fid]'")

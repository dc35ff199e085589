"""`dood transfer-grid` from end to end: the grid, what it says of itself, and what goes wrong."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doodcli.cli import main
from doodcli.data.load import embedded_arrays
from doodcli.errors import RunFailed
from doodcli.experiments import likelihood
from tests.command import Result, dood, refused

SETS = ("digits", "scribbles")
PROMISED = (
    "iwae_nats", "iwae_se", "mean_abs_error", "mean_strokes", "samples", "images", "resolution",
    "pen", "place", "likelihood_family", "training_images", "steps", "device", "seconds", "run",
    "weights", "source_fingerprint", "target_fingerprint", "settings_hash", "version", "git",
    "evaluation_seed", "kind",
)  # fmt: skip


class Grid(NamedTuple):
    """A grid's folder, which holds its runs and its results."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def command(self, *more: object) -> list[object]:
        """The command that made it, or that makes it grow."""
        return [
            "transfer-grid", "--preset", "tiny", "--out", self.folder / "results",
            "--runs", self.folder / "runs", "--device", "cpu", *more,
        ]  # fmt: skip

    def copy(self, to: Path) -> Grid:
        """Another of the same, to do things to."""
        shutil.copytree(self.folder, to, copy_function=shutil.copy2)
        return Grid(to)

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.results / "transfer.csv")

    def names(self) -> list[tuple[str, str, str, int | None]]:
        """Model, source, target and seed of each row of the table."""
        with (self.results / "transfer.csv").open(encoding="utf-8", newline="") as file:
            return [
                (row["model"], row["source"], row["target"], int(row["seed"] or -1))
                for row in csv.DictReader(file)
            ]

    def tex(self, name: str) -> list[list[str]]:
        """The body of a table."""
        text = (self.results / name).read_text(encoding="utf-8")
        body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip()
        return [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()]


def called(*arguments: object) -> Result:
    """`dood ARGUMENTS` where there is no `capsys`: in a fixture of the module."""
    code = 0
    with (
        patch("sys.argv", ["dood", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def made_of_digits(path: Path, first: int) -> Path:
    """Sixty digits as a data file, half of them for test."""
    arrays = embedded_arrays("digits")
    some = slice(60 * first, 60 * first + 60)
    np.savez_compressed(
        path, images=arrays["images"][some], labels=arrays["labels"][some],
        split=(np.arange(60) % 2).astype(np.uint8), classes=arrays["classes"],
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Grid, Result]:
    """One model and two seeds on the embedded sets."""
    grid = Grid(tmp_path_factory.mktemp("grid"))
    return grid, called(*grid.command("--model", "dood", "--seeds", "0,1", "--json"))


@pytest.fixture
def grid(made, tmp_path) -> Grid:
    """A copy of that grid."""
    return made[0].copy(tmp_path / "grid")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder of data sets that have the names of the paper's."""
    folder = tmp_path_factory.mktemp("data")
    for k, name in enumerate(("mnist", "emnist", "omniglot")):
        made_of_digits(folder / f"{name}.npz", k)
    return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory, root) -> tuple[Grid, Result]:
    """Two models on small sets of the paper's names."""
    grid = Grid(tmp_path_factory.mktemp("papers"))
    command = grid.command(
        "--model", "dood,dood-eg", "--sources", "mnist", "--targets", "mnist,emnist",
        "--data-root", root, "--quiet",
    )  # fmt: skip
    return grid, called(*command)


def shade(path: Path) -> float:
    """How much there is to see in a picture."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).std())


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file was written, and its size."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


# ------------------------------------------------------------------------------ the grid


def test_every_run_every_cell_and_the_tables_are_done(made):
    result = made[1]
    assert result.code == 0, result
    runs = [f"dood-{source}-s{seed}" for source in SETS for seed in (0, 1)]
    assert list(json.loads(result.out)["states"].items()) == [
        *((f"train-{run}", "done") for run in runs),
        *((f"cell-{run}-{target}", "done") for run in runs for target in SETS),
        *((f"blank-{source}-{target}", "done") for source in SETS for target in SETS),
        ("transfer", "done"),
    ]


def test_the_table_has_a_row_a_cell_and_a_blank_one_a_pair(made):
    grid, _ = made
    pairs = list(itertools.product(SETS, SETS))
    cells = [("dood", source, target, seed) for source, target in pairs for seed in (0, 1)]
    rows = grid.names()
    assert sorted(rows) == sorted([*cells, *(("blank", *pair, -1) for pair in pairs)])
    # Models first, the blank page last.
    assert [row[0] for row in rows] == ["dood"] * 8 + ["blank"] * 4
    assert len(list((grid.results / "cells").iterdir())) == 12


def test_every_row_says_where_it_comes_from(made):
    table = made[0].table()
    assert not set(PROMISED) - set(table)
    ours, blank = table[table.model == "dood"], table[table.model == "blank"]
    # Without a repository there is no commit.
    assert not ours[list(PROMISED)].drop(columns="git").isna().any(axis=None)
    for name, value in {
        "samples": 4, "images": 16, "resolution": 50, "pen": "latent", "place": "points",
        "likelihood_family": "laplace", "steps": 6, "training_images": 6 * 16, "preset": "tiny",
        "kind": "bound", "evaluation_seed": 0, "part": "test",
    }.items():  # fmt: skip
        assert set(ours[name]) == {value}, name
    assert ours.weights.nunique() == ours.settings_hash.nunique() == ours.run.nunique() == 4
    assert (ours.groupby("source").source_fingerprint.nunique() == 1).all()
    assert set(ours.source_fingerprint) == set(ours.target_fingerprint)
    assert ours.source_fingerprint.nunique() == 2
    assert (blank.kind == "exact").all()
    assert (blank.mean_strokes == 0).all()
    assert not blank.iwae_nats.isna().any()
    # Whole numbers stay whole beside rows that lack them.
    with (made[0].results / "transfer.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["seed"], first["steps"], first["samples"]) == ("0", "6", "4")


def test_the_square_shows_the_means_over_seeds_and_the_best_of_a_column_in_bold(made):
    grid, _ = made
    table = grid.table()
    ours = table[table.model == "dood"].groupby(["source", "target"]).iwae_nats
    blank = table[table.model == "blank"].set_index(["source", "target"]).iwae_nats
    errors = table.groupby(["model", "source", "target"]).mean_abs_error.mean()
    mean, std = ours.mean(), ours.std()
    expected = []
    for source in SETS:
        row = [source]
        for target in SETS:
            text = f"{mean[source, target]:,.1f} ± {std[source, target]:,.1f}"
            text += f" ({errors['dood', source, target]:.3f})"
            best = mean[source, target] == max(mean[other, target] for other in SETS)
            row.append(rf"\textbf{{{text}}}" if best else text)
        expected.append(row)
    for s in SETS:
        numbers = [f"{blank[s, t]:,.1f} ({errors['blank', s, t]:.3f})" for t in SETS]
        expected.append([f"blank, {s}", *numbers])
    assert grid.tex("transfer_dood.tex") == expected


def test_the_grid_is_drawn(made):
    grid, _ = made
    assert shade(grid.results / "transfer_dood.png") > 10
    assert (grid.results / "transfer_dood.pdf").read_bytes().startswith(b"%PDF")


def test_the_claims_are_those_of_the_means(made):
    grid, _ = made
    table = grid.table()
    mean = table[table.model == "dood"].groupby(["source", "target"]).iwae_nats.mean()
    found = pd.read_csv(grid.results / "transfer_claims.csv")
    assert len(found) == 2
    for target, other, row in zip(SETS, SETS[::-1], found.itertuples(), strict=True):
        assert row.where == f"{target}; next best {other}"
        assert row.value == pytest.approx(mean[target, target])
        assert row.against == pytest.approx(mean[other, target])
        assert row.holds == (row.value > row.against)
    # Nothing of the paper is trained on or tried on these sets.
    assert not list(grid.results.glob("transfer_vs_paper*"))


# ------------------------------------------------------------------------- again, and more


def test_the_same_command_again_does_nothing(capsys, grid):
    # A copy is as good as the original: no path is in what decides.
    before = state_of(grid.folder)
    command = grid.command("--model", "dood", "--seeds", "0,1")
    plan = json.loads(dood(capsys, *command, "--dry-run").out)
    assert {row["state"] for row in plan} == {"done"}
    result = dood(capsys, *command)
    assert result.code == 0, result
    assert result.err.splitlines() == [f"{row['task']}: done before" for row in plan]
    assert state_of(grid.folder) == before


def test_another_model_keeps_the_cells_that_were_there(capsys, grid):
    before = grid.table().set_index(["model", "source", "target", "seed"])
    result = dood(capsys, *grid.command("--model", "dood,air", "--seeds", "0,1"))
    assert result.code == 0, result
    assert result.err.count("done before") == 4 + 8 + 4
    names = grid.names()
    assert len(names) == 12 + 8
    assert {("air", "digits", target, 0) for target in SETS} <= set(names)
    after = grid.table().set_index(["model", "source", "target", "seed"])
    pd.testing.assert_frame_equal(after.loc[before.index, list(before)], before, check_dtype=False)
    assert [row[0] for row in grid.tex("transfer_air.tex")][:2] == ["digits", "scribbles"]
    assert shade(grid.results / "transfer_air.png") > 10
    assert len(grid.tex("transfer_dood.tex")) == 4
    # A narrower command tells of what it names, and measures nothing.
    first = dood(capsys, *grid.command("--model", "dood", "--seeds", "0,1", "--json"))
    assert "dood train --" not in first.err
    assert "dood likelihood" not in first.err
    assert set(json.loads(first.out)["states"].values()) == {"done"}
    assert len(grid.names()) == 12


def test_a_cell_that_is_lost_is_made_again_and_no_other(capsys, grid):
    lost = grid.results / "cells" / "dood-digits-s1-scribbles.csv"
    before = lost.read_text(encoding="utf-8")
    lost.unlink()
    command = grid.command("--model", "dood", "--seeds", "0,1")
    plan = json.loads(dood(capsys, *command, "--dry-run").out)
    missing = [row["task"] for row in plan if row["state"] == "missing"]
    assert missing == ["cell-dood-digits-s1-scribbles", "transfer"]
    result = dood(capsys, *command)
    assert result.err.count("done before") >= len(plan) - 2
    rows = [dict(next(csv.DictReader(io.StringIO(t)))) for t in (before, lost.read_text())]
    for row in rows:
        del row["seconds"]
    assert rows[0] == rows[1]


def test_the_command_of_a_cell_gives_its_number_exactly(capsys, grid, tmp_path):
    plan = json.loads(
        dood(capsys, *grid.command("--model", "dood", "--seeds", "0,1", "--dry-run")).out
    )
    name = "dood-digits-s1-scribbles"
    (command,) = [row["command"] for row in plan if row["task"] == f"cell-{name}"]
    parts = re.fullmatch(r"dood likelihood \$\(dood (train .+?)\) (.+)", command)
    assert parts
    train, rest = map(shlex.split, parts.groups())
    run = dood(capsys, *train, "--device", "cpu", "--quiet").out.strip()
    assert Path(run).parent == grid.folder / "runs"
    result = dood(capsys, "likelihood", run, *rest, "--device", "cpu", "--quiet", "--json")
    ours, blank = json.loads(result.out)
    for row, file in ((ours, name), (blank, "blank-digits-scribbles")):
        text = (grid.results / "cells" / f"{file}.csv").read_text(encoding="utf-8")
        found = next(csv.DictReader(io.StringIO(text)))
        for number in ("iwae_nats", "iwae_se", "elbo_nats", "mean_abs_error", "mean_strokes"):
            assert float(found[number]) == row[number]
        assert found["target_fingerprint"] == row["target_fingerprint"]
    assert (ours["samples"], ours["images"], ours["seed"]) == (4, 16, 1)


def test_a_seed_that_is_added_has_its_own_run(capsys, grid):
    more = ["--model", "dood", "--sources", "digits", "--targets", "digits", "--seeds", "0,1,2"]
    result = dood(capsys, *grid.command(*more, "--quiet"))
    assert result.code == 0, result
    table = grid.table()
    cell = table[(table.model == "dood") & (table.source == "digits") & (table.target == "digits")]
    assert cell.seed.tolist() == [0, 1, 2]
    assert cell.iwae_nats.nunique() == cell.run.nunique() == 3
    shown = grid.tex("transfer_dood.tex")[0][1]
    assert f"{cell.iwae_nats.mean():,.1f} ± {cell.iwae_nats.std():,.1f}" in shown


# ---------------------------------------------------------------------- what goes wrong


def test_without_training_what_is_missing_is_named_with_its_command(capsys, tmp_path):
    grid = Grid(tmp_path / "empty")
    result = dood(
        capsys, *grid.command("--model", "dood", "--sources", "digits", "--targets", "digits"),
        "--no-train", "--quiet",
    )  # fmt: skip
    assert result.code == 1
    (line,) = [line for line in result.out.splitlines() if "train-dood-digits-s0 " in line]
    assert line.startswith("failed")
    command = "dood train --model dood --dataset digits --preset tiny --seed 0"
    assert f"is not trained; {command} --runs {grid.folder / 'runs'}" in line
    assert "failed: train-dood-digits-s0, cell-dood-digits-s0-digits, transfer" in result.err
    assert "Traceback" not in result.err
    assert not (grid.folder / "runs").exists()
    assert not (grid.results / "transfer.csv").exists()


def test_without_training_what_is_trained_is_tried(capsys, grid):
    shutil.rmtree(grid.results)
    more = ["--model", "dood", "--sources", "digits", "--targets", "digits", "--no-train"]
    result = dood(capsys, *grid.command(*more, "--seeds", "1,5", "--quiet"))
    assert result.code == 1
    assert "failed: train-dood-digits-s5, cell-dood-digits-s5-digits\n" in result.err
    assert grid.names() == [("dood", "digits", "digits", 1), ("blank", "digits", "digits", -1)]


def test_a_cell_that_fails_is_named_and_stops_no_other(capsys, grid, tmp_path):
    shutil.rmtree(grid.results)
    more = ["--model", "dood", "--sources", "digits", "--targets", "kmnist,digits"]
    result = dood(capsys, *grid.command(*more, "--data-root", tmp_path / "nothing", "--json"))
    assert result.code == 1
    outcome = json.loads(result.out)
    lost = ["cell-dood-digits-s0-kmnist", "blank-digits-kmnist"]
    failed = {name for name, state in outcome["states"].items() if state == "failed"}
    assert failed == set(lost)
    assert all("dood data fetch kmnist" in outcome["reasons"][name] for name in lost)
    assert result.err.endswith(f"dood: failed: {', '.join(lost)}\n")
    assert grid.names() == [("dood", "digits", "digits", 0), ("blank", "digits", "digits", -1)]
    # The next time it is tried again, and what was done is not.
    made_of_digits(tmp_path / "kmnist.npz", 0)
    again = dood(capsys, *grid.command(*more, "--data-root", tmp_path))
    assert again.code == 0, again
    assert "cell-dood-digits-s0-digits: done before" in again.err
    assert {name[2] for name in grid.names()} == {"digits", "kmnist"}


def test_a_source_that_fails_stops_its_own_row_only(capsys, grid, tmp_path):
    shutil.rmtree(grid.results)
    more = ["--model", "dood", "--sources", "kmnist,digits", "--targets", "digits"]
    result = dood(capsys, *grid.command(*more, "--data-root", tmp_path / "nothing", "--json"))
    assert result.code == 1
    assert json.loads(result.out)["states"] == {
        "train-dood-kmnist-s0": "failed", "train-dood-digits-s0": "done",
        "cell-dood-kmnist-s0-digits": "blocked", "cell-dood-digits-s0-digits": "done",
        "blank-kmnist-digits": "failed", "blank-digits-digits": "done", "transfer": "done",
    }  # fmt: skip


def test_a_dry_run_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = dood(capsys, "transfer-grid", "--preset", "tiny", "--seeds", "3,4", "--dry-run")
    assert result.code == 0, result
    plan = json.loads(result.out)
    assert {row["state"] for row in plan} == {"missing"}
    kinds = [row["task"].split("-")[0] for row in plan]
    # Two models, sources, targets and seeds.
    assert [kinds.count(kind) for kind in ("train", "cell", "blank", "transfer")] == [8, 16, 4, 1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "huge"], ["--preset huge", "tiny", "paper"]),
        (["--model", "doood"], ["doood", "dood-eg"]),
        (["--model", ","], ["--model", "empty"]),
        (["--seeds", "0,x"], ["--seeds 0,x", "whole numbers"]),
        (["--seeds", "-1"], ["--seeds -1"]),
        (["--seeds", "1.5"], ["--seeds 1.5"]),
        (["--seeds", "4294967296"], ["--seeds 4294967296"]),
        (["--seeds", "²"], ["--seeds ²"]),
        (["--seeds", ""], ["--seeds", "empty"]),
        (["--sources", ""], ["--sources", "empty"]),
        (["--targets", ""], ["--targets", "empty"]),
        (["--targets", ","], ["--targets", "empty"]),
        (["--device", "tpu9"], ["--device tpu9"]),
        (["--set", "model.colour=red"], ["model.colour"]),
        (["--set", "learning.steps=0"], ["learning.steps=0"]),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = dood(capsys, "transfer-grid", "--preset", "tiny", *arguments, "--dry-run")
    refused(result, *words)
    assert result.out == ""
    assert not list(tmp_path.iterdir())


# -------------------------------------------------- sets of the paper's names, own images


def test_ours_stand_beside_the_papers_and_say_what_is_not_canonical(papers):
    grid, result = papers
    assert result.code == 0, result
    found = pd.read_csv(grid.results / "transfer_vs_paper.csv")
    targets = ["mnist", "emnist", "emnist-transposed"]
    assert found[found.model == "dood-eg"].target.tolist() == targets
    assert set(found[found.model == "dood-eg"].figure) == {"ablations"}
    figures = found[found.model == "dood"].groupby("target").figure.apply(list).to_dict()
    assert figures == {target: ["Fig. 4", "ablations"] for target in targets}
    assert not found.like_for_like.any()
    assert found.why_not.str.contains("30/30 images instead of 60,000/10,000").any()
    # That a target is transposed is its name, no remark.
    assert not found.why_not.str.contains("; transposed").any()
    shown = grid.tex("transfer_vs_paper.tex")
    assert len(shown) == len(found)
    assert {row[-1] for row in shown} == {"no"}
    assert shown[0][6] == "7,094.0"


def test_all_models_of_one_source_share_a_table(papers):
    grid, _ = papers
    rows = grid.tex("transfer_ablations.tex")
    assert [row[0] for row in rows] == ["dood", "dood-eg", "blank, mnist"]
    assert all(sum("textbf" in row[k] for row in rows[:2]) == 1 for k in (1, 2, 3))
    # Of one seed, ± is the standard error over images.
    table = grid.table().set_index(["model", "source", "target"])
    cell = table.loc[("dood", "mnist", "mnist")]
    assert f"{cell.iwae_nats:,.1f} ± {cell.iwae_se:,.1f}" in rows[0][1]


def test_upright_and_transposed_emnist_are_two_targets_of_one_file(papers):
    table = papers[0].table().set_index(["model", "source", "target"])
    upright, swapped = (table.loc[("dood", "mnist", name)] for name in
                        ("emnist", "emnist-transposed"))  # fmt: skip
    assert upright.target_fingerprint == swapped.target_fingerprint
    assert upright.iwae_nats != swapped.iwae_nats
    assert swapped.remark.endswith("transposed")
    assert "transposed" not in upright.remark


def test_a_grid_with_gaps_has_its_tables_and_pictures(capsys, papers, root, tmp_path, monkeypatch):
    grid = papers[0].copy(tmp_path / "grid")
    measure = likelihood.row_of_run

    def some(run, model, target, effort):
        if (run.record["data"]["name"], target.name) == ("omniglot", "mnist"):
            raise RunFailed("no luck")
        return measure(run, model, target, effort)

    monkeypatch.setattr(likelihood, "row_of_run", some)
    sets = ["--sources", "mnist,omniglot", "--targets", "mnist,omniglot"]
    result = dood(capsys, *grid.command("--model", "dood", *sets, "--data-root", root, "--quiet"))
    assert result.code == 1
    assert result.err.endswith("failed: cell-dood-omniglot-s0-mnist\n")
    shown = {row[0]: row[1:] for row in grid.tex("transfer_dood.tex")}
    assert shown["omniglot"][0] == "--"
    assert all("±" in text for text in (*shown["mnist"], shown["omniglot"][1]))
    compiles(grid, tmp_path)


def compiles(grid: Grid, folder: Path) -> None:
    """Assert: a document takes every table of the grid."""
    tables = sorted(grid.results.glob("*.tex"))
    inputs = "\n".join(rf"\input{{{path.stem}}}" for path in tables)
    for path in tables:
        shutil.copy(path, folder)
    (folder / "page.tex").write_text(
        r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}"
        rf"\begin{{document}}{inputs}\end{{document}}",
        encoding="utf-8",
    )
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-800:]
    assert b"undefined" not in done.stdout


def test_every_table_compiles(papers, tmp_path):
    grid, _ = papers
    assert {path.name for path in grid.results.glob("*.tex")} == {
        "transfer_dood.tex", "transfer_dood-eg.tex", "transfer_vs_paper.tex",
        "transfer_ablations.tex",
    }  # fmt: skip
    compiles(grid, tmp_path)


def test_ones_own_images_are_a_target_and_a_source(capsys, grid, tmp_path):
    mine = made_of_digits(tmp_path / "mine.npz", 0)
    shutil.rmtree(grid.results)
    more = ["--model", "dood", "--sources", f"digits,{mine}", "--targets", mine]
    result = dood(capsys, *grid.command(*more, "--quiet"))
    assert result.code == 0, result
    assert [name[0] for name in grid.names()] == ["dood", "dood", "blank", "blank"]
    # The diagonal is where a source and a target have one name.
    (claim,) = pd.read_csv(grid.results / "transfer_claims.csv").itertuples()
    assert claim.where.endswith("next best digits")

"""Every model of the paper from the command line, on the embedded digits: train, draw, count."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doodcli.cli import main
from doodcli.learning.runs import open_run
from doodcli.variants import VARIANTS
from tests.command import dood, refused

EVERY = pytest.mark.parametrize("name", VARIANTS)


def training(name: str, runs: Path, *more: str) -> list[str]:
    """`dood train` of a tiny model of that name."""
    return [
        "train", "--model", name, "--dataset", "digits", "--preset", "tiny", "--steps", "3",
        "--runs", str(runs), "--device", "cpu", "--quiet", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """A run of each variant, as the command made and named it."""
    runs = tmp_path_factory.mktemp("variants")
    paths = {}
    for name in VARIANTS:
        out = io.StringIO()
        arguments = patch("sys.argv", ["dood", *training(name, runs)])
        with arguments, contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main()
        paths[name] = Path(out.getvalue().strip())
    return paths


@pytest.fixture
def files(tmp_path):
    """What a command wrote into a folder."""
    return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))


def shade(path: Path) -> float:
    """How much there is to see in a picture."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).std())


@EVERY
def test_every_variant_is_trained_and_found_again(capsys, trained, name):
    path = trained[name]
    assert path.name.startswith(f"{name}-digits-s0-")
    run = open_run(path)
    assert run.checkpoint.facts["finished"]
    assert run.checkpoint.facts["step"] == 3
    assert run.settings.model.name == name
    before = {k: v.clone() for k, v in run.model().state_dict().items()}
    # The same command finds it, and has nothing to do.
    assert dood(capsys, *training(name, path.parent)).out.strip() == str(path)
    after = open_run(path).model().state_dict()
    assert all(after[key].equal(value) for key, value in before.items())
    log = run.log()
    assert np.isfinite(log.to_numpy(float)).all()
    facts = json.loads(dood(capsys, "info", path, "--json").out)
    assert facts["run"]["model"] == name
    assert facts["run"]["pen"] == run.settings.model.pen


@EVERY
def test_every_variant_reconstructs_from_its_checkpoint(capsys, trained, name, tmp_path, files):
    result = dood(
        capsys, "reconstruct", trained[name], "--dataset", "digits", "--num", 2,
        "--out", tmp_path, "--device", "cpu", "--quiet", "--json",
    )  # fmt: skip
    assert result.code == 0, result
    assert files() == ["reconstruct.csv", "reconstruct.pdf", "reconstruct.png"]
    rows = json.loads(result.out)
    assert [row["model"] for row in rows] == [name, name]
    for row in rows:
        assert 0 <= row["strokes"] <= 6
        assert 0 < row["mean_abs_error"] < 1
        assert np.isfinite(row["elbo_nats"])
        assert row["elbo_nats"] != row["log_likelihood_nats"]
    assert shade(tmp_path / "reconstruct.png") > 10


def test_all_variants_stand_beside_each_other_on_the_same_targets(capsys, trained, tmp_path, files):
    result = dood(
        capsys, "reconstruct", ",".join(map(str, trained.values())), "--dataset", "digits",
        "--num", 3, "--out", tmp_path, "--device", "cpu", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result
    assert {"compare.png", "compare.pdf", "reconstruct.csv"} <= set(files())
    assert {str(tmp_path / name) for name in files()} == set(result.out.split())
    assert shade(tmp_path / "compare.png") > 10
    found = pd.read_csv(tmp_path / "reconstruct.csv")
    assert found.model.drop_duplicates().tolist() == list(VARIANTS)
    assert (found.groupby("model")["index"].apply(tuple) == tuple(found["index"][:3])).all()


def test_the_bounds_of_variants_share_a_column(capsys, trained):
    runs = f"{trained['air']},{trained['dood-dr']}"
    result = dood(
        capsys, "likelihood", runs, "--dataset", "digits", "--samples", 2, "--limit", 6,
        "--device", "cpu", "--json", "--quiet",
    )  # fmt: skip
    rows = {row["model"]: row for row in json.loads(result.out)}
    assert rows.keys() == {"air", "blank", "dood-dr"}
    assert rows["air"]["kind"] == rows["dood-dr"]["kind"] == "bound"
    assert all(np.isfinite(row["iwae_nats"]) for row in rows.values())


def test_a_normal_likelihood_is_trained_measured_and_named(capsys, tmp_path, trained):
    made = dood(capsys, *training("air", tmp_path, "--set", "model.likelihood=normal"))
    assert made.code == 0, made
    path = Path(made.out.strip())
    assert path.name != trained["air"].name
    run = open_run(path)
    assert run.settings.model.likelihood == "normal"
    result = dood(
        capsys, "likelihood", path, "--dataset", "digits", "--samples", 2, "--limit", 6,
        "--device", "cpu", "--json", "--quiet",
    )  # fmt: skip
    normal, blank = json.loads(result.out)
    assert normal["likelihood_family"] == "normal"
    # The blank page has the same family: per pixel the mean and the deviation of the source.
    from torch.distributions import Normal

    from doodcli.data.load import load_images

    source = load_images("digits", "train").images.float() / 255
    target = load_images("digits", "test", limit=6).images.float() / 255
    page = Normal(source.mean(0), source.std(0, correction=0).clamp(0.01, 1))
    expected = page.log_prob(target).sum((1, 2)).mean().item()
    assert blank["iwae_nats"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model", "air", "--pen", "latent"], ["model.pen=latent", "air has none"]),
        (["--pen", "none"], ["model.pen=none", "dood has latent"]),
        (["--model", "dood-dr", "--place", "points"], ["model.place=points", "dood-dr"]),
        (["--model", "dood-sp", "--set", "model.prior=learned"], ["model.prior", "fixed"]),
        (["--model", "air", "--set", "model.code=0"], ["model.code=0"]),
    ],
)
def test_a_variant_that_is_none_is_refused_in_one_line(capsys, tmp_path, more, words):
    arguments = ["train", "--dataset", "digits", "--preset", "tiny", "--runs", tmp_path]
    refused(dood(capsys, *arguments, "--device", "cpu", *more), *words)
    assert not list(tmp_path.iterdir())


def test_an_option_counts_more_than_where_a_variant_starts(capsys):
    arguments = ["train", "--dataset", "digits", "--dry-run"]
    for more in (["--beta", 3], ["--set", "learning.beta=3"]):
        shown = json.loads(dood(capsys, *arguments, "--model", "air", *more).out)
        assert shown["learning"]["beta"] == 3
        assert shown["model"]["latent"] == "code"


# ------------------------------------------------------------------------- dood strokes count


@pytest.fixture
def counted(capsys, trained, tmp_path):
    """`dood strokes count` of two variants on two sets."""

    def count(*more: object, dataset: str = "digits,scribbles"):
        runs = f"{trained['dood']},{trained['air']}"
        return dood(
            capsys, "strokes", "count", runs, "--dataset", dataset, "--limit", 12,
            "--out", tmp_path, "--device", "cpu", *more,
        )  # fmt: skip

    return count


def test_strokes_are_counted_drawn_and_compared_with_the_paper(counted, trained, tmp_path, files):
    result = counted("--quiet")
    assert result.code == 0, result
    assert files() == [
        "stroke_claims.csv", "stroke_counts.csv", "stroke_counts.pdf", "stroke_counts.png",
    ]  # fmt: skip
    assert result.err == ""
    counts = pd.read_csv(tmp_path / "stroke_counts.csv")
    assert len(counts) == 2 * 2 * 7
    sums = counts.groupby(["model", "dataset"]).drawings.sum()
    assert sums.to_dict() == {(m, d): 12 for m in ("air", "dood") for d in ("digits", "scribbles")}
    assert set(counts.run) == {trained[name].name for name in ("dood", "air")}
    claims = pd.read_csv(tmp_path / "stroke_claims.csv")
    assert len(claims) == 2 * 4
    # The paper speaks of trainings on MNIST, not of these.
    assert not claims.paper.any()
    assert (tmp_path / "stroke_counts.pdf").read_bytes().startswith(b"%PDF")
    assert shade(tmp_path / "stroke_counts.png") > 5
    # For people: the means, the claims about these models, and where it all is.
    for words in ("mean_strokes", "uses no more strokes on other sets", "stroke_counts.png"):
        assert words in result.out


def test_the_counts_as_json_are_those_of_the_table(counted, tmp_path):
    rows = json.loads(counted("--json", "--quiet").out)
    table = pd.read_csv(tmp_path / "stroke_counts.csv")
    assert [row["drawings"] for row in rows] == table.drawings.tolist()
    assert {row["dataset"] for row in rows} == {"digits", "scribbles"}


def test_without_a_runs_own_set_there_is_nothing_to_claim(counted, tmp_path):
    result = counted(dataset="scribbles")
    assert result.code == 0, result
    assert "no claims" in result.err
    assert "paper" not in result.out
    assert len(pd.read_csv(tmp_path / "stroke_counts.csv")) == 2 * 7


def test_a_dry_count_touches_nothing(counted, trained, tmp_path):
    shown = json.loads(counted("--dry-run").out)
    assert shown["runs"] == [str(trained["dood"]), str(trained["air"])]
    assert shown["datasets"] == ["digits", "scribbles"]
    assert shown["limit"] == 12
    assert not list(tmp_path.iterdir())


def test_a_bad_count_is_refused_in_one_line(counted, capsys, tmp_path):
    refused(counted(dataset="digits,scrabble"), "scrabble", "scribbles")
    refused(counted(dataset=","), "--dataset")
    refused(counted("--part", "best"), "best", "test")
    nowhere = tmp_path / "nowhere"
    refused(dood(capsys, "strokes", "count", nowhere, "--dataset", "digits"), "no such folder")
    assert not list(tmp_path.iterdir())

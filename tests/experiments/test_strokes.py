"""Counts of strokes, their means, and the paper's claims on tables made by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from doodcli.data.load import load_images
from doodcli.experiments import strokes
from doodcli.learning.train import Plan, train
from doodcli.model.posterior import LOGIT_MOST
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run

ALWAYS = "always uses the most strokes"
PARSIMONIOUS = "is parsimonious: half its drawings of its own set or more use fewer than the most"
MORE = "uses more strokes on every other set"
NO_MORE = "uses no more strokes on other sets"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run of a few steps, of at most three strokes on small pages."""
    values = {"data.dataset": "digits", "model.resolution": 24, "model.strokes": 3}
    return train(change(preset("tiny"), values), Plan(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("scribbles", "test", resolution=24, limit=60)


def table(model: str, source: str, run: str = "r", **shares: list[float]) -> pd.DataFrame:
    """Counts of one run: of each set the shares of 0, 1, 2, … strokes among a hundred images."""
    rows = [
        {"run": run, "model": model, "source": source, "dataset": dataset, "fingerprint": dataset,
         "images": 100,
         "strokes": k, "drawings": round(100 * share), "share": share}
        for dataset, row in shares.items() for k, share in enumerate(row)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def claimed(counts: pd.DataFrame) -> dict[str, tuple[float, bool, bool]]:
    """Value, holds and paper of each claim."""
    found = strokes.claims(counts)
    assert found.claim.is_unique
    return {r.claim: (r.value, bool(r.holds), bool(r.paper)) for r in found.itertuples()}


# ------------------------------------------------------------------------------ counting


def test_every_image_is_counted_once_as_the_posterior_draws_it(run, images):
    counts = strokes.count(run, images, 5, "cpu")
    drawing, _ = run.model().infer(images.images, 1, 5, images.index)
    each = drawing.present[0].sum(-1).tolist()
    assert counts.strokes.tolist() == [0, 1, 2, 3]
    assert counts.drawings.tolist() == [each.count(k) for k in range(4)]
    assert counts.drawings.sum() == 60
    assert (counts.drawings > 0).sum() > 2
    assert counts.share.tolist() == pytest.approx((counts.drawings / 60).tolist())
    assert set(counts.images) == {60}


def test_a_count_says_where_it_comes_from(run, images):
    counts = strokes.count(run, images, 5, "cpu")
    for name, value in {
        "run": run.name, "model": "dood", "source": "digits", "dataset": "scribbles",
        "part": "test", "fingerprint": images.fingerprint, "evaluation_seed": 5,
        "weights": run.provenance()["weights"],
    }.items():  # fmt: skip
        assert set(counts[name]) == {value}


def test_counts_are_repeatable_and_do_not_depend_on_what_is_parsed_at_once(
    run, images, monkeypatch
):
    whole = strokes.count(run, images, 5, "cpu")
    pd.testing.assert_frame_equal(strokes.count(run, images, 5, "cpu"), whole)
    monkeypatch.setattr(strokes, "ROWS", 7)
    pd.testing.assert_frame_equal(strokes.count(run, images, 5, "cpu"), whole)
    others = [strokes.count(run, images, seed, "cpu").drawings.tolist() for seed in (6, 7, 8)]
    assert whole.drawings.tolist() not in others


def test_means_and_their_errors_are_those_of_the_single_drawings():
    generator = np.random.default_rng(0)
    counts, expected = [], {}
    for name in ("near", "far"):
        each = generator.integers(0, 5, 100)
        shares = (np.bincount(each, minlength=5) / 100).tolist()
        counts.append(table("dood", "near", **{name: shares}))
        error = each.std() / math.sqrt(100)
        expected[name] = (each.mean(), error, (each == 4).mean())
    found = strokes.means(pd.concat(counts, ignore_index=True))
    assert found.dataset.tolist() == ["near", "far"]
    for row in found.itertuples():
        numbers = (row.mean_strokes, row.mean_strokes_se, row.share_at_most)
        assert numbers == pytest.approx(expected[row.dataset])
        assert row.images == 100


def test_means_of_several_runs_stay_apart():
    both = pd.concat([
        table("air", "a", "one", a=[0, 1.0, 0], b=[0, 0, 1.0]),
        table("dood", "a", "two", a=[1.0, 0, 0], b=[0, 0.5, 0.5]),
    ])  # fmt: skip
    found = strokes.means(both)
    assert found.mean_strokes.tolist() == [1, 2, 0, 1.5]
    assert found.model.tolist() == ["air", "air", "dood", "dood"]


# ---------------------------------------------------------------------------- the claims


@pytest.mark.parametrize(
    ("model", "claim", "shares", "value", "holds"),
    [
        # All but one in ten, on every set.
        ("dood-eg", ALWAYS, {"a": [0, 0, 1], "b": [0, 0.1, 0.9]}, 0.9, True),
        ("dood-eg", ALWAYS, {"a": [0, 0, 1], "b": [0, 0.11, 0.89]}, 0.89, False),
        ("dood-eg", ALWAYS, {"a": [0, 0.5, 0.5], "b": [0, 0, 1]}, 0.5, False),
        # Only its own set counts.
        ("dood", PARSIMONIOUS, {"a": [0, 0.5, 0.5], "b": [0, 0, 1]}, 0.5, True),
        ("dood-dr", PARSIMONIOUS, {"a": [0, 0.49, 0.51], "b": [1, 0, 0]}, 0.51, False),
        # The mean on each other set less that on its own, a quarter of a stroke at least.
        ("dood", MORE, {"a": [0, 1, 0], "b": [0, 0.75, 0.25], "c": [0, 0, 1]}, 0.25, True),
        ("dood", MORE, {"a": [0, 1, 0], "b": [0, 0.76, 0.24], "c": [0, 0, 1]}, 0.24, False),
        ("air-difference", MORE, {"a": [0, 0, 1], "b": [0, 1, 0]}, -1, False),
        # No set may need a quarter more; fewer is no more.
        ("air", NO_MORE, {"a": [0, 1, 0], "b": [1, 0, 0], "c": [0, 0.8, 0.2]}, 0.2, True),
        ("air", NO_MORE, {"a": [0, 1, 0], "b": [1, 0, 0], "c": [0, 0.7, 0.3]}, 0.3, False),
    ],
)
def test_a_claim_holds_or_does_not(model, claim, shares, value, holds):
    found = claimed(table(model, "a", **shares))
    assert found.keys() == {ALWAYS, PARSIMONIOUS, MORE, NO_MORE}
    assert found[claim] == (pytest.approx(value), holds, False)


@pytest.mark.parametrize(
    ("model", "made"),
    [
        ("dood", {PARSIMONIOUS, MORE}),
        ("dood-eg", {ALWAYS}),
        ("dood-dr", {PARSIMONIOUS}),
        ("dood-sp", set()),
        ("air", {NO_MORE}),
        ("air-difference", {MORE}),
    ],
)
def test_the_papers_claims_are_told_from_those_that_it_does_not_make(model, made):
    # The paper speaks of trainings on MNIST.
    for source, papers in (("mnist", made), ("a", set())):
        counts = table(model, source, **{source: [0, 1, 0], "b": [0, 0, 1]})
        assert {claim for claim, (_, _, paper) in claimed(counts).items() if paper} == papers
        printed = strokes.of_their_models(strokes.claims(counts))
        assert set(printed.claim) == made
        assert set(printed.holds) <= {"yes", "no"}
        assert set(printed.paper) <= {"yes" if papers else "no"}
        assert "run" not in printed.columns


def test_always_is_reached_by_a_posterior_that_always_goes_on_and_by_no_other():
    surest = torch.sigmoid(torch.tensor(LOGIT_MOST)).item()
    most = surest**6
    # Also on the worst of five sets of 300 images, which four errors below never is.
    assert most - 4 * math.sqrt(most * (1 - most) / 300) > strokes.ALWAYS
    assert torch.sigmoid(torch.tensor(LOGIT_MOST - 1)).item() ** 6 < strokes.ALWAYS


def test_a_claim_stands_beside_its_limit():
    found = strokes.claims(table("dood", "a", a=[0, 1, 0], b=[0, 0, 1])).set_index("claim")
    expected = {ALWAYS: 0.9, PARSIMONIOUS: 0.5, MORE: 0.25, NO_MORE: 0.25}
    assert found.limit.to_dict() == expected
    assert found.holds.to_dict() == {
        ALWAYS: False, PARSIMONIOUS: True, MORE: True, NO_MORE: False,
    }  # fmt: skip


@pytest.mark.parametrize("shares", [{"b": [0, 1], "c": [0, 1]}, {"a": [0, 1]}])
def test_a_run_without_its_own_set_or_without_another_claims_nothing(shares):
    alone = table("dood", "a", "lonely", **shares)
    found = strokes.claims(alone)
    assert found.empty
    assert strokes.of_their_models(found).empty
    # Nor does it silence the others.
    other = table("air", "a", "whole", a=[0, 1], b=[0, 1])
    both = strokes.claims(pd.concat([alone, other]))
    assert set(both.run) == {"whole"}
    assert list(both.columns) == list(found.columns)


def test_a_growth_is_from_each_runs_own_set():
    both = pd.concat([
        table("dood", "a", "one", a=[0, 1, 0], b=[0, 0, 1]),
        table("dood", "b", "two", a=[0, 1, 0], b=[0, 0, 1]),
    ])  # fmt: skip
    found = strokes.claims(both)
    growth = found[found.claim == MORE].set_index("run")
    assert growth.value.to_dict() == {"one": 1, "two": -1}
    assert growth.holds.to_dict() == {"one": True, "two": False}


def test_a_measured_table_is_one_that_claims_can_be_read_off(run, images):
    own = load_images("digits", "test", resolution=24, limit=30)
    counts = pd.concat([strokes.count(run, s, 0, "cpu") for s in (own, images)])
    found = strokes.claims(counts)
    assert set(found.run) == {run.name}
    means = strokes.means(counts).set_index("dataset").mean_strokes
    value = found[found.claim == MORE].value.item()
    assert value == pytest.approx(means["scribbles"] - means["digits"])
    drawing, _ = run.model().infer(own.images, 1, 0, own.index)
    assert means["digits"] == pytest.approx(torch.mean(drawing.stroke_count).item())

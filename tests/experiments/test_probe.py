"""Linear probes: the features, the fit, what stands in the way of one, and the summary."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from doodcli.data.load import load_images
from doodcli.experiments import probe, strokes
from doodcli.learning.train import Plan, train
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run of a few steps, of at most three strokes on small pages."""
    values = {"data.dataset": "digits", "model.resolution": 24, "model.strokes": 3}
    return train(change(preset("tiny"), values), Plan(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def learn() -> ImageSet:
    return load_images("digits", "train", resolution=24, limit=80)


@pytest.fixture(scope="module")
def unseen() -> ImageSet:
    return load_images("digits", "test", resolution=24, limit=50)


def test_features_are_the_strokes_and_then_the_layouts_with_zeros_for_what_is_absent(
    run, unseen, monkeypatch
):
    found = probe.features(run.model(), unseen, 2)
    with torch.no_grad():
        drawing, _ = run.model().infer(unseen.images, 1, 2, unseen.index)
    assert found.shape == (50, 3 * 10 + 3 * 4)
    for k, row in enumerate(found):
        count = int(drawing.present[0, k].sum())
        points, layouts = row[:30].reshape(3, 5, 2), row[30:].reshape(3, 4)
        assert points[:count] == pytest.approx(drawing.strokes[0, k, :count].numpy())
        assert layouts[:count] == pytest.approx(drawing.layout[0, k, :count].numpy())
        assert not points[count:].any()
        assert not layouts[count:].any()
    assert 0 < drawing.present.mean() < 1
    monkeypatch.setattr(strokes, "ROWS", 7)
    assert probe.features(run.model(), unseen, 2) == pytest.approx(found, abs=1e-5)


def test_codes_are_features_too(tmp_path, unseen):
    values = {"model.name": "air", "data.dataset": "digits", "model.resolution": 24}
    run = train(change(preset("tiny"), {**values, "learning.steps": 1}), Plan(tmp_path))
    assert probe.features(run.model(), unseen, 0).shape == (50, 6 * (10 + 4))


def made(labels: torch.Tensor, seed: int, stretch: float = 1.0) -> np.ndarray:
    """Latents from which the labels can be read, each coordinate on a scale of its own."""
    noise = np.random.default_rng(seed).normal(0, 0.8, (len(labels), 10))
    return (np.eye(10)[labels.numpy()] + noise) * np.logspace(0, stretch, 10)


def fitted(run, learn, unseen, monkeypatch, stretch: float = 1.0) -> dict:
    values = {"train": made(learn.labels, 0, stretch), "test": made(unseen.labels, 1, stretch)}
    monkeypatch.setattr(probe, "features", lambda model, images, seed: values[images.part])
    return probe.probe(run, run.model(), learn, unseen, 0)


def test_a_probe_is_fitted_to_training_images_and_scored_on_test_images(
    run, learn, unseen, monkeypatch
):
    row = fitted(run, learn, unseen, monkeypatch)
    scale = made(learn.labels, 0)
    middle, spread = scale.mean(0), scale.std(0)
    machine = LogisticRegression(max_iter=1000).fit((scale - middle) / spread, learn.labels)
    expected = machine.score((made(unseen.labels, 1) - middle) / spread, unseen.labels)
    assert row["accuracy"] == pytest.approx(expected)
    assert 0.3 < row["accuracy"] < row["train_accuracy"] <= 1
    error = math.sqrt(expected * (1 - expected) / 50)
    assert row["accuracy_se"] == pytest.approx(error)
    commonest = torch.bincount(learn.labels).argmax()
    assert row["chance"] == pytest.approx((unseen.labels == commonest).float().mean().item())
    # The scale of a latent does not count.
    assert fitted(run, learn, unseen, monkeypatch, 6)["accuracy"] == row["accuracy"]


def test_a_probe_says_where_it_comes_from(run, learn, unseen, monkeypatch):
    row = fitted(run, learn, unseen, monkeypatch)
    for name, value in {
        "run": run.name, "source": "digits", "target": "digits", "train_images": 80,
        "test_images": 50, "classes": 10, "features": 10, "evaluation_seed": 0,
        "target_fingerprint": learn.fingerprint, "converged": True, "note": "",
        "weights": run.provenance()["weights"],
    }.items():  # fmt: skip
        assert row[name] == value
    assert 1 < row["iterations"] < probe.ITERATIONS


def test_a_probe_that_does_not_converge_says_so_and_goes_on(run, learn, unseen, monkeypatch):
    monkeypatch.setattr(probe, "ITERATIONS", 2)
    row = fitted(run, learn, unseen, monkeypatch)
    assert row["converged"] is False
    assert "converge" in row["note"]
    assert "\n" not in row["note"]
    assert row["iterations"] == 2
    assert row["accuracy"] > row["chance"]


def test_the_latents_of_a_real_model_can_be_probed(run, learn, unseen):
    row = probe.probe(run, run.model(), learn, unseen, 0)
    assert row["features"] == 42
    assert 0 <= row["accuracy"] <= 1
    assert row["train_accuracy"] > row["chance"]
    again = probe.probe(run, run.model(), learn, unseen, 0)
    assert {**again, "seconds": 0} == {**row, "seconds": 0}


def test_sets_without_common_classes_are_not_probed(learn, unseen):
    assert probe.obstacle(learn, unseen) == ""
    other = replace(unseen, labels=unseen.labels + 10)
    assert "test classes are others" in probe.obstacle(learn, other)
    alone = replace(learn, labels=torch.zeros_like(learn.labels))
    assert "one label" in probe.obstacle(alone, unseen)


def test_the_summary_is_over_seeds_with_the_papers_number_beside():
    def row(model: str, source: str, target: str, seed: int, value: float) -> dict:
        return {
            "model": model, "source": source, "recipe": f"{model}-{source}", "target": target,
            "target_fingerprint": target, "remark": "", "seed": seed, "accuracy": value,
            "accuracy_se": 0.01 * (seed + 1), "train_images": 9, "test_images": 5, "chance": 0.1,
        }  # fmt: skip

    table = pd.DataFrame(
        [
            row("dood", "mnist", "mnist", 0, 0.8), row("dood", "mnist", "mnist", 1, 0.9),
            row("dood", "omniglot", "quickdraw", 0, 0.5),
            row("air-difference", "emnist", "kmnist", 0, 0.5),
            row("air", "mnist", "mnist", 0, 0.5), row("dood", "mnist", "omniglot", 0, 0.5),
        ]
    )  # fmt: skip
    found = probe.summary(table)
    assert found.accuracy.tolist() == pytest.approx([0.85, 0.5, 0.5, 0.5, 0.5])
    assert found["std"].iloc[0] == pytest.approx(0.05 * math.sqrt(2))
    assert found["std"].iloc[1:].isna().all()
    assert found.se.iloc[0] == pytest.approx(0.015)
    assert found.seeds.tolist() == [2, 1, 1, 1, 1]
    reported = found.paper_accuracy.tolist()
    assert reported[:3] == [0.95, 0.64, 0.50]
    assert all(math.isnan(value) for value in reported[3:])

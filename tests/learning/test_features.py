"""The extractor of features of ink: its training, its folder, and the one that ships."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from doodcli.data.load import load_images
from doodcli.errors import InputError
from doodcli.learning.checkpoints import WEIGHTS
from doodcli.learning.features import (
    RECORD,
    SHIPPED,
    FeatureSettings,
    Lesson,
    open_features,
    train_features,
)
from doodcli.pipeline.fidelity import extractor_of
from doodcli.report.paper import SETS

QUICK = FeatureSettings(
    datasets=("digits", "scribbles"), channels=(8, 8, 16), size=24, steps=60, warmup=5
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An extractor of a few steps on the embedded sets, and what was said meanwhile."""
    said: list[str] = []
    folder = tmp_path_factory.mktemp("features") / "one"
    return extractor_of(QUICK, folder, None, "cpu", said.append), said


def test_it_learns_all_sets_at_once_and_records_how(trained):
    found, said = trained
    digits, scribbles = found.record["data"]
    assert digits["test_accuracy"] > 0.6  # chance is a tenth, and for scribbles a sixtieth
    assert scribbles["test_accuracy"] > 0.6
    assert (digits["classes"], digits["tested_on"]) == (10, "test images")
    assert digits["test_images"] == 360
    assert found.settings == QUICK
    assert said == [f"step 60 of 60: loss {said[0].rpartition(' ')[2]}"]
    card = (found.path / "README.md").read_text()
    assert f"{digits['test_accuracy']:.3f}" in card
    assert found.record["sha256"] in card
    assert {item.name for item in found.path.iterdir()} == {"README.md", RECORD, WEIGHTS}


def test_features_are_normalised_over_the_training_images(trained):
    network = trained[0].network()
    images = [load_images(name, "train").images[:400] for name in QUICK.datasets]
    with torch.no_grad():
        found = network.features(torch.cat(images))
    assert found.shape == (800, 24)
    assert found.mean(0).abs().mean() < 0.3
    assert found.std(0).mean() == pytest.approx(1, abs=0.2)
    assert (found < 0).float().mean() == pytest.approx(0.5, abs=0.1)  # nothing is cut off at 0


def test_the_recorded_accuracy_is_that_of_the_written_weights(trained):
    found = trained[0]
    lesson = Lesson.load("digits", None, QUICK.seed)
    accuracy = lesson.accuracy(found.network(), "cpu")
    assert accuracy == pytest.approx(found.record["data"][0]["test_accuracy"], abs=1e-4)
    kinds = {str(t.dtype) for t in load_file(found.path / WEIGHTS).values() if t.numel() >= 4096}
    assert kinds == {"torch.float16"}


def test_where_test_classes_are_others_training_drawings_are_held_out():
    lesson = Lesson.load("scribbles", None, seed=0)
    everything = load_images("scribbles", "train")
    assert lesson.tested_on == "training drawings that were held out"
    assert len(lesson.test) == len(everything) // 10
    held_out, learned = set(lesson.test.index.tolist()), set(lesson.learn.index.tolist())
    assert not held_out & learned
    assert held_out | learned == set(everything.index.tolist())
    assert set(lesson.test.labels.tolist()) <= set(lesson.classes.tolist())


def test_a_seed_decides_the_weights(tmp_path):
    short = dataclasses.replace(QUICK, steps=3, datasets=("digits",))
    one, again = (train_features(short, tmp_path / name) for name in ("a", "b"))
    other = train_features(dataclasses.replace(short, seed=1), tmp_path / "c")
    assert one.digest == again.digest != other.digest
    # An extractor takes the place of one, of nothing else.
    assert train_features(dataclasses.replace(short, seed=1), tmp_path / "a").digest == other.digest
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="no extractor"):
        train_features(short, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_altered_weights_are_refused(trained, tmp_path):
    found = trained[0]
    (tmp_path / RECORD).write_text((found.path / RECORD).read_text())
    weights = bytearray((found.path / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(weights)
    with pytest.raises(InputError, match="altered"):
        open_features(tmp_path)
    with pytest.raises(InputError, match="train-features"):
        open_features(tmp_path / "nowhere")


def test_the_one_that_ships_is_small_and_knows_the_five_sets():
    assert sum(item.stat().st_size for item in SHIPPED.iterdir()) < 1_000_000
    found = open_features(SHIPPED)
    assert found.settings.size == 128
    accuracy = {item["name"]: item["test_accuracy"] for item in found.record["data"]}
    assert tuple(accuracy) == SETS == found.settings.datasets
    assert accuracy["mnist"] > 0.98
    assert min(accuracy[name] for name in ("emnist", "kmnist", "quickdraw")) > 0.85
    assert accuracy["omniglot"] > 0.7  # one in 888 is chance
    assert json.loads((SHIPPED / RECORD).read_text())["git"]
    assert found.record["sha256"] in (SHIPPED / "README.md").read_text()


def test_the_one_that_ships_reads_real_digits_as_its_record_says(data_root):
    found = open_features(SHIPPED)
    recorded = found.record["data"][0]
    lesson = Lesson.load("mnist", data_root, found.settings.seed)
    if lesson.learn.fingerprint != recorded["fingerprint"]:
        pytest.skip("this is another file of MNIST")
    accuracy = lesson.accuracy(found.network(), "cpu")
    assert accuracy == pytest.approx(recorded["test_accuracy"], abs=2e-3)

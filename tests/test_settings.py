"""Settings: one tree of defaults, changed by name, saved and found again."""

from __future__ import annotations

import json

import pytest

from doodcli import settings as s
from doodcli.errors import InputError


def test_presets_keep_to_the_papers_protocol():
    """What may not move where a number stands beside the paper's."""
    for name in ("laptop", "paper"):
        model = s.preset(name).model
        assert (model.resolution, model.strokes, model.scale_floor) == (50, 6, 0.01)
        assert all(getattr(model, k) == v for k, v in s.PAPER_PROTOCOL.items() if k != "samples")
        assert model.points == 5
        assert model.pen != "amortised"
        assert model.place == "points"
    assert s.preset("paper").model.components == 40
    from doodcli.pipeline.graph import PROFILES

    assert PROFILES["laptop"].samples == PROFILES["paper"].samples == 200


def test_settings_survive_json():
    for name in s.PRESETS:
        one = s.preset(name)
        assert s.from_dict(json.loads(json.dumps(s.as_dict(one)))) == one


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model.strokes", "NAME=VALUE"),
        ("model.stroke=8", "did you mean model.strokes"),
        ("model.strokes=many", "type int"),
        ("model.pen=feather", "latent, global, amortised"),
        ("learning.lr=nan", "finite"),
        ("learning.signal_scaling=perhaps", "true or false"),
        ("nonsense=1", "no such setting"),
        ("model=dood", "group of settings"),
    ],
)
def test_a_bad_assignment_is_refused_with_its_remedy(text, words):
    with pytest.raises(InputError, match=words):
        s.change_by_text(s.Settings(), [text])


def test_texts_become_values_of_the_fields_types():
    texts = ["model.channels=4,8", "learning.steps=7", "learning.minutes=none", "model.pen=global",
             "learning.signal_scaling=false"]  # fmt: skip
    changed = s.change_by_text(s.Settings(), texts)
    assert changed.model.channels == (4, 8)
    assert changed.learning.steps == 7
    assert changed.learning.minutes is None
    assert changed.model.pen == "global"
    assert changed.learning.signal_scaling is False


@pytest.mark.parametrize(
    "values",
    [
        {"learning.steps": 0, "learning.minutes": None},
        {"learning.steps": 5},
        {"learning.minutes": None},
        {"learning.minutes": -1.0},
        {"learning.batch_size": 1},
        {"model.strokes": 0},
        {"model.points": 1},
        {"learning.lr": 0.0},
        {"learning.scale_memory": 1.0},
        {"model.scale_least": 0.0},
        {"model.channels": ()},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_train_are_refused(values):
    with pytest.raises(InputError):
        s.check(s.change(s.preset("laptop"), values))


@pytest.mark.parametrize(
    "values", [{"model.strokes": 8.7}, {"model.strokes": True}, {"data.dataset": None},
               {"model.channels": 5}, {"learning.lr": [1]}]
)  # fmt: skip
def test_values_of_another_type_are_refused(values):
    with pytest.raises(InputError):
        s.change(s.Settings(), values)


def test_a_length_replaces_the_one_that_was_there():
    timed = s.preset("laptop")
    counted = s.change_by_text(timed, ["learning.steps=9"])
    assert (counted.learning.steps, counted.learning.minutes) == (9, None)


def test_the_hash_is_of_what_decides_the_run():
    one = s.preset("laptop")
    same = s.change(one, {"preset": "mine", "data.dataset": "a/path/to/mnist.npz"})
    assert s.settings_hash(one, "f") == s.settings_hash(same, "f")
    for values in ({"seed": 1}, {"learning.lr": 0.5}, {"model.strokes": 5}):
        assert s.settings_hash(one, "f") != s.settings_hash(s.change(one, values), "f")
    assert s.settings_hash(one, "f") != s.settings_hash(one, "g")


def test_every_setting_has_a_help_text():
    described = dict(s.describe())
    assert described.keys() == s.flat(s.Settings()).keys()
    assert all(described.values())

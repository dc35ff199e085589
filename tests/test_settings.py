"""Settings: one tree of defaults, changed by name, saved and found again."""

from __future__ import annotations

import json

import pytest

from doodcli import settings as s
from doodcli.errors import InputError
from doodcli.variants import SLOTS, VARIANTS
from tests.command import dood


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


def named(name, **values):
    """The tiny preset's settings of a variant, then changed."""
    return s.change(s.preset("tiny"), {"model.name": name, **values})


def filled(settings):
    """Latent, decoder, guidance, prior, memories, pen and place."""
    m = settings.model
    return m.latent, m.decoder, m.guidance, m.prior, m.memories, m.pen, m.place


# As in Section 4 of the paper: AIR has neither curves nor a canvas that guides, and so on.
PAPERS = {
    "dood": ("points", "spline", True, "learned", "two", "latent", "points"),
    "dood-eg": ("points", "spline", False, "learned", "two", "latent", "points"),
    "dood-dr": ("points", "neural", True, "learned", "two", "latent", "image"),
    "dood-sp": ("points", "spline", True, "fixed", "two", "latent", "points"),
    "air": ("code", "neural", False, "fixed", "one", "none", "image"),
    "air-difference": ("code", "neural", True, "fixed", "one", "none", "image"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variants_name_fills_its_slots_and_nothing_else(name):
    settings = named(name)
    assert s.check(settings) is settings
    assert filled(settings) == PAPERS[name]
    before, after = s.flat(s.preset("tiny")), s.flat(settings)
    moved = {key for key in after if after[key] != before[key]}
    allowed = {"model.name", "model.pen", "model.place", *SLOTS}
    assert moved <= allowed | VARIANTS[name].keys()
    assert all(after[key] == value for key, value in VARIANTS[name].items())


def test_what_a_user_says_counts_more_than_where_a_variant_starts():
    for name in VARIANTS:
        assert named(name, **{"learning.beta": 2.5}).learning.beta == 2.5
        assert named(name, **{"model.place": "image"}).model.place == "image"


def test_the_order_of_a_name_and_its_changes_does_not_matter():
    after = s.change(s.Settings(), {"model.pen": "global", "model.name": "dood"})
    assert after.model.pen == "global"
    after = s.change(s.Settings(), {"learning.beta": 2.0, "model.name": "air"})
    assert (after.model.name, after.learning.beta) == ("air", 2.0)


def test_another_name_takes_back_what_the_first_had_set_beside_its_slots():
    air = s.change(s.Settings(), {"model.name": "air"})
    assert (air.model.pen, air.model.place) == ("none", "image")
    assert s.change(air, {"model.name": "dood"}) == s.Settings()


@pytest.mark.parametrize("name", VARIANTS)
def test_another_name_empties_the_slots_that_the_first_had_filled(name):
    for other in VARIANTS:
        again = s.change(named(name), {"model.name": other})
        assert again.model == named(other).model
        assert filled(again) == PAPERS[other]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variants_settings_survive_json(name):
    changes = {"model.strokes": 4, "model.likelihood": "normal", "learning.beta": 2.5}
    if name not in ("air", "air-difference"):
        changes |= {"model.pen": "global"}
    for one in (named(name), named(name, **changes)):
        assert s.from_dict(json.loads(json.dumps(s.as_dict(one)))) == one


OTHERWISE = {
    "model.latent": ("points", "code"),
    "model.decoder": ("spline", "neural"),
    "model.guidance": (True, False),
    "model.prior": ("learned", "fixed"),
    "model.memories": ("two", "one"),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_that_contradicts_the_name_is_refused_in_one_line(name, slot):
    own = s.flat(named(name))[slot]
    (other,) = set(OTHERWISE[slot]) - {own}
    with pytest.raises(InputError) as refusal:
        s.check(named(name, **{slot: other}))
    text = str(refusal.value)
    assert "\n" not in text
    for words in (f"{slot}={other}", f"{name} has {own}", "doodcli/variants.py"):
        assert words in text


def test_every_slot_is_tried_against_its_name():
    assert OTHERWISE.keys() == SLOTS.keys()


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"model\.name=dodo: choose from dood, .*air-difference"):
        s.change_by_text(s.preset("tiny"), ["model.name=dodo"])


@pytest.mark.parametrize("name", VARIANTS)
def test_only_codes_are_drawn_without_a_pen(name):
    wrong = ["latent", "global", "amortised"] if PAPERS[name][0] == "code" else ["none"]
    for pen in ("latent", "global", "amortised", "none"):
        settings = named(name, **{"model.pen": pen})
        if pen in wrong:
            with pytest.raises(InputError, match=f"model.pen={pen}: {name} has {PAPERS[name][5]}"):
                s.check(settings)
        else:
            assert s.check(settings).model.pen == pen


@pytest.mark.parametrize("name", VARIANTS)
def test_only_a_curve_has_points_to_be_moved(name):
    settings = named(name, **{"model.place": "points"})
    if PAPERS[name][1] == "neural":
        with pytest.raises(InputError, match=f"model.place=points: {name} has no curve"):
            s.check(settings)
    else:
        s.check(settings)
    s.check(named(name, **{"model.place": "image"}))


def test_two_variants_of_the_same_settings_are_two_runs():
    hashes = {s.settings_hash(named(name), "f") for name in VARIANTS}
    assert len(hashes) == len(VARIANTS)


def test_a_code_needs_a_coordinate():
    with pytest.raises(InputError, match=r"model\.code=0"):
        s.check(named("air", **{"model.code": 0}))


def test_a_record_that_lacks_later_settings_does_what_was_done_before_them():
    record = s.as_dict(s.preset("laptop"))
    for name in ("blur_start", "blur_steps", "beta_start", "beta_steps"):
        del record["learning"][name]
    for name in ("latent", "decoder", "guidance", "prior", "memories", "likelihood"):
        del record["model"][name]
    read = s.from_dict(record)
    assert (read.learning.blur_start, read.learning.beta_start) == (0.0, None)
    assert read.model == s.preset("laptop").model
    # Nor do such settings rename a run, where they do nothing.
    still = s.change(read, {"learning.beta_steps": 2000})
    assert s.settings_hash(still, "f") == s.settings_hash(read, "f")
    assert s.settings_hash(s.change(read, {"learning.blur_start": 1.0}), "f") != s.settings_hash(
        read, "f"
    )


def test_the_name_that_is_there_already_changes_nothing():
    mine = s.change(s.preset("smoke"), {"model.pen": "global", "model.place": "image"})
    assert s.change(mine, {"model.name": "dood"}) == mine


def test_a_preset_knows_its_data_set_and_its_model(capsys):
    def shown(*options: str) -> tuple[float, float]:
        found = json.loads(dood(capsys, "train", "--dry-run", *options).out)
        return found["learning"]["beta"], found["model"]["scale_most"]

    assert s.preset("laptop").learning.beta == 1.0
    assert shown() == shown("--dataset", "mnist") == (4.0, 0.4)  # the default set
    assert shown("--dataset", "omniglot") == (1.0, 1.0)
    assert shown("--dataset", "mnist", "--model", "dood-sp") == (4.0, 0.4)
    assert shown("--dataset", "mnist", "--model", "air") == (7.0, 1.0)
    assert shown("--dataset", "omniglot", "--model", "air") == (1.0, 1.0)
    assert shown("--dataset", "mnist", "--beta", "2") == (2.0, 0.4)


def test_the_data_set_of_a_settings_file_counts_too(tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"data": {"dataset": "omniglot"}}))
    found = json.loads(dood(capsys, "train", "--dry-run", "--settings", path).out)
    assert found["learning"]["beta"] == 1.0


def test_a_fixed_prior_has_no_mixture_to_choose_for():
    for name in ("air", "dood-sp"):
        with pytest.raises(InputError, match=f"model.mixture=stroke: {name} has a fixed prior"):
            s.check(named(name, **{"model.mixture": "stroke"}))
    s.check(named("dood-dr", **{"model.mixture": "stroke"}))

"""One-shot classification: nearest neighbours, scores, tables and controls."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from doodcli.data.oneshot import Episode, EpisodeSet, load_episodes
from doodcli.data.scribbles import MODEL, scribbles_drawings
from doodcli.errors import InputError
from doodcli.experiments import oneshot, parses, tokens
from doodcli.experiments.baselines import BASELINES, hausdorff_distances, pixel_distances
from doodcli.experiments.oneshot import Asked, OneShotSettings
from doodcli.learning.train import Plan, train
from doodcli.model.model import DrawingModel
from doodcli.settings import change, preset

QUICK = OneShotSettings().changed(
    ["parse.count=2", "parse.candidates=3", "parse.refine_steps=40", "token.steps=16",
     "token.coarse_steps=8", "token.keep=0.5"]
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a few steps on small pages, which draws as many strokes as it may."""
    values = {
        "data.dataset": "scribbles", "model.resolution": 32, "model.strokes": 4,
        "learning.draw_bias": 5.0, "learning.stop_delay": 100,
    }  # fmt: skip
    return train(change(preset("tiny"), values), Plan(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def episodes() -> EpisodeSet:
    """One episode of scribbles, of six ways."""
    found = load_episodes("scribbles", limit=1)
    (whole,) = found.episodes
    kept = whole.truth < 6
    few = dataclasses.replace(
        whole, support=whole.support[:6], support_index=whole.support_index[:6],
        queries=whole.queries[kept], query_index=whole.query_index[kept], truth=whole.truth[kept],
    )  # fmt: skip
    return dataclasses.replace(found, episodes=(few,))


def copied(episode: Episode) -> Episode:
    """The queries are the very pictures of the support, in another order."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    return dataclasses.replace(
        episode, queries=episode.support[order], query_index=episode.support_index[order] + 7000,
        truth=order,
    )  # fmt: skip


# --------------------------------------------------------------------- nearest neighbours


def test_distances_are_those_of_the_definitions():
    generator = torch.Generator().manual_seed(0)
    support = (torch.rand(3, 12, 15, generator=generator) > 0.8).byte() * 255
    queries = (torch.rand(2, 12, 15, generator=generator) > 0.8).byte() * 255
    pixel, hausdorff = pixel_distances(support, queries), hausdorff_distances(support, queries)
    for a in range(3):
        for b in range(2):
            near, far = support[a].numpy() / 255, queries[b].numpy() / 255
            assert pixel[a, b].item() == pytest.approx(np.sqrt(((near - far) ** 2).sum()))
            ink = [np.argwhere(picture > 0.5).astype(float) for picture in (near, far)]
            p, q = (points - points.mean(0) for points in ink)
            apart = np.sqrt(((p[:, None] - q) ** 2).sum(-1))
            expected = max(apart.min(1).mean(), apart.min(0).mean())
            assert hausdorff[a, b].item() == pytest.approx(expected)


def test_hausdorff_sees_past_a_shift_and_pixels_do_not():
    page = torch.zeros(2, 30, 30, dtype=torch.uint8)
    page[0, 5:20, 5] = 255
    page[1, 5, 5:20] = 255
    moved = page.roll((6, 4), (1, 2))
    assert hausdorff_distances(page, moved).diag().tolist() == [0, 0]
    assert pixel_distances(page, moved).diag().min() > 1
    blank = torch.zeros(1, 30, 30, dtype=torch.uint8)
    assert hausdorff_distances(page, blank).tolist() == [[math.inf], [math.inf]]


def test_the_modified_hausdorff_distance_errs_as_published_on_the_official_runs(data_root):
    episodes = load_episodes("official", data_root=data_root)
    table = oneshot.baselines(episodes)
    assert len(table) == 2 * 400
    right = table.groupby("model").correct.mean()
    assert 1 - right["modified Hausdorff distance"] == pytest.approx(0.388, abs=0.0006)
    assert right["pixel nearest neighbour"] < 0.3


# ------------------------------------------------------------------------------ the parses


def test_a_parse_is_the_best_of_its_samples_and_refining_raises_the_joint(run, episodes):
    model = run.model()
    support, _ = (p.float() / 255 for p in episodes.episodes[0].at(32))
    index = episodes.episodes[0].support_index
    plain = dataclasses.replace(QUICK.parse, refine_steps=0)
    chosen = model.log_joint(support, parses.parse(model, support, index, plain, seed=4))
    samples, _ = model.infer(support, 6, 4, index)
    each = model.log_joint(support, samples)
    torch.testing.assert_close(chosen, torch.stack([each[:3].amax(0), each[3:].amax(0)]))
    refined = model.log_joint(support, parses.parse(model, support, index, QUICK.parse, seed=4))
    assert (refined >= chosen - 1e-3).all()
    assert (refined - chosen).mean() > 100


def test_a_parse_that_would_lose_stays_as_it_was(run, episodes):
    model = run.model()
    support, _ = (p.float() / 255 for p in episodes.episodes[0].at(32))
    index = episodes.episodes[0].support_index
    wild = dataclasses.replace(QUICK.parse, refine_steps=1, refine_rate=30.0)
    plain = dataclasses.replace(QUICK.parse, refine_steps=0)
    before, after = (parses.parse(model, support, index, s, seed=4) for s in (plain, wild))
    same = (before.strokes == after.strokes).flatten(2).all(2)
    assert same.any()
    grew = model.log_joint(support, after) > model.log_joint(support, before)
    assert (same | grew).all()


def test_images_that_are_parsed_at_once_change_rounding_only(run, episodes, monkeypatch):
    model = run.model()
    episode = episodes.episodes[0]
    support, _ = episode.at(32)
    short = dataclasses.replace(QUICK.parse, refine_steps=3)
    whole = parses.parse(model, support, episode.support_index, short)
    monkeypatch.setattr(parses, "ROWS", 12)
    chunked = parses.parse(model, support, episode.support_index, short)
    for a, b in zip(whole, chunked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------ the scores


def test_a_copy_of_a_support_is_classified_right(run, episodes):
    # By a model that has learned nothing: its parses are refined until they explain the support.
    copy = copied(episodes.episodes[0])
    long = QUICK.changed(["parse.refine_steps=150"])
    found = oneshot.score(run.model(), copy, long)
    assert found.one_way.shape == (6, 6)
    assert found.one_way.argmax(0).equal(copy.truth)
    # And by one whose parses are perfect.
    types = scribbles_drawings().map(lambda part: part[copy.support_index][None].float())
    strokes = DrawingModel(dataclasses.replace(MODEL, hidden=8, features=8))
    found = oneshot.score(strokes, copy, QUICK, types=types)
    assert found.one_way.argmax(0).equal(copy.truth)
    assert found.one_way[copy.truth, torch.arange(6)].abs().max() < 5


def test_one_way_is_the_log_mean_over_parses_of_the_fitted_scores(run, episodes):
    model, episode = run.model(), episodes.episodes[0]
    support, queries = (p.float() / 255 for p in episode.at(32))
    types = parses.parse(model, support, episode.support_index, QUICK.parse, seed=2)
    each = tokens.fit(model, types.flat(), queries, QUICK.token).log_score
    expected = torch.log(0.5 * (each[:6].double().exp() + each[6:].double().exp())).float()
    found = oneshot.score(model, episode, QUICK, seed=2)
    assert found.two_way is None
    torch.testing.assert_close(found.one_way, expected, rtol=1e-4, atol=1e-3)


def test_two_way_adds_how_well_the_query_explains_the_support_less_its_own_parses(run, episodes):
    model, episode = run.model(), episodes.episodes[0]
    support, queries = (p.float() / 255 for p in episode.at(32))
    found = oneshot.score(model, episode, QUICK, two_way=True, seed=2)
    other = parses.parse(model, queries, episode.query_index, QUICK.parse, seed=2)
    back = tokens.fit(model, other.flat(), support, QUICK.token).log_score
    own = torch.stack([
        tokens.log_likelihood(canvas, support, QUICK.token.blur, QUICK.token)
        for canvas in model.render(found.types)
    ])  # fmt: skip
    expected = (
        found.one_way + (torch.logsumexp(back.unflatten(0, (2, -1)), 0) - math.log(2)).T
        - (torch.logsumexp(own, 0) - math.log(2))[:, None]
    )  # fmt: skip
    assert found.two_way is not None
    torch.testing.assert_close(found.two_way, expected, rtol=1e-4, atol=1e-2)
    assert not torch.allclose(found.two_way, found.one_way, atol=1)


# ------------------------------------------------------------------------------ the tables


def test_every_query_has_a_row_that_says_where_it_comes_from(run, episodes):
    asked = Asked(episodes, QUICK, two_way=True, seed=2)
    found = oneshot.measure(run, asked)
    table, episode = found.table, episodes.episodes[0]
    assert table.item.tolist() == [1, 2, 3, 4, 5, 6]
    assert table.true.tolist() == (episode.truth + 1).tolist()
    scores = oneshot.score(run.model(), episode, QUICK, two_way=True, seed=2)
    for prefix, each in (("", scores.one_way), ("two_way_", scores.two_way)):
        assert each is not None
        predicted = each.argmax(0)
        assert table[f"{prefix}predicted"].tolist() == (predicted + 1).tolist()
        assert table[f"{prefix}correct"].tolist() == (predicted == episode.truth).tolist()
        for query, margin in enumerate(table[f"{prefix}margin"]):
            true = int(episode.truth[query])
            others = [each[way, query].item() for way in range(6) if way != true]
            assert margin == pytest.approx(each[true, query].item() - max(others), abs=0.05)
            assert (margin > 0) == table[f"{prefix}correct"][query]
    for name, value in {
        "run": run.name, "model": "dood", "source": "scribbles", "episodes": "scribbles",
        "weights": run.provenance()["weights"], "episode": episode.name, "ways": 6, "types": 2,
        "fingerprint": episodes.fingerprint, "evaluation_seed": 2, "settings": QUICK.hash,
        "part": "test", "changes": "",
    }.items():  # fmt: skip
        assert set(table[name]) == {value}
    assert [decision.right for decision in found.decisions] == table.correct.tolist()
    wrong = [d for d in found.decisions if not d.right]
    assert all(d.chosen.support.equal(d.true.support) for d in found.decisions if d.right)
    assert not any(d.chosen.support.equal(d.true.support) for d in wrong)
    for decision, way in zip(found.decisions, table.predicted, strict=True):
        assert decision.chosen.support.equal(episode.at(32)[0][way - 1] / 255)


def test_true_strokes_in_the_place_of_parses_classify_scribbles(episodes):
    # Few steps of few pairs: the whole episode, but a coarse fit.
    whole = load_episodes("scribbles", limit=1)
    coarse = OneShotSettings().changed(["token.steps=12", "token.coarse_steps=12"])
    found = oneshot.measure_true_strokes(Asked(whole, coarse)).table
    assert set(found.model) == {"true strokes"}
    assert len(found) == 12
    assert found.correct.mean() > 0.9
    (row,) = oneshot.accuracies(oneshot.by_run(found)).itertuples()
    assert row.es  # who knows the strokes was told


def test_shuffled_labels_are_right_by_chance():
    labels = list(range(20))
    assert oneshot.shuffled_accuracy(labels, labels) == pytest.approx(1 / 20, abs=0.005)
    rng = np.random.default_rng(0)
    guesses = rng.integers(0, 20, 20).tolist()
    assert oneshot.shuffled_accuracy(guesses, labels) == pytest.approx(1 / 20, abs=0.005)
    assert oneshot.shuffled_accuracy(labels[:5], labels[:5]) == pytest.approx(1 / 5, abs=0.02)


def rows(run: str, episode: str, right: int, of: int = 4, both: int | None = None) -> pd.DataFrame:
    """Queries of one episode, of which so many are right."""
    table = pd.DataFrame(
        {
            "run": run, "model": "m", "source": "s", "changes": "", "episodes": "official",
            "part": "official", "episode": episode, "alphabet": "", "ways": 20, "seconds": 1.0,
            "true": range(1, of + 1), "correct": [k < right for k in range(of)],
        }
    )  # fmt: skip
    table["predicted"] = table.true.where(table.correct, 19)
    if both is not None:
        table["two_way_correct"] = [k < both for k in range(of)]
    return table


def test_accuracies_are_means_over_runs_with_their_standard_errors():
    queries = pd.concat([
        rows("a", "run01", 4, both=4), rows("a", "run02", 2, both=3), rows("a", "run03", 3, both=4),
        rows("b", "run01", 1), rows("b", "run02", 1), rows("b", "run03", 1),
    ], ignore_index=True)  # fmt: skip
    each = oneshot.by_run(queries)
    assert each.accuracy.tolist() == [1, 0.5, 0.75, 0.25, 0.25, 0.25]
    assert each.two_way_accuracy.tolist()[:3] == [1, 0.75, 1]
    assert each.two_way_accuracy[3:].isna().all()
    # Once right, of four labels that are shuffled.
    assert each.shuffled_accuracy[3] == pytest.approx(1 / 16, abs=0.02)
    table = oneshot.accuracies(each)
    assert [*zip(table.run, table.two_way, strict=True)] == [
        ("a", False), ("a", True), ("b", False),
    ]  # fmt: skip
    assert table.accuracy.tolist() == pytest.approx([0.75, 11 / 12, 0.25])
    deviation = np.std([1, 0.75, 1], ddof=1)
    assert table.se.tolist() == pytest.approx([0.25 / math.sqrt(3), deviation / math.sqrt(3), 0])
    assert list(table.columns[:7]) == [
        "model", "da", "es", "two_way", "accuracy", "se", "source",
    ]  # fmt: skip
    assert set(table.source) == {"measured"}
    assert not table.es.any()


def test_reported_rows_are_those_of_table_1_and_people():
    table = oneshot.reported().set_index("model")
    assert set(table.source) == {"reported"}
    assert table.accuracy.to_dict() == {
        "AIR": 0.145, "DooD": 0.735, "VHE": 0.813, "GNS": 0.943, "BPL": 0.967, "people": 0.955,
    }  # fmt: skip
    helps = {name: tuple(table.loc[name, ["da", "es", "two_way"]]) for name in table.index}
    assert helps["AIR"] == helps["DooD"] == (False, False, False)
    assert helps["VHE"] == (True, True, False)
    assert helps["GNS"] == helps["BPL"] == (False, True, True)
    assert helps["people"] == (None, None, None)
    assert table.reference.str.contains("Table 1|Lake").all()


def test_baselines_have_rows_of_the_same_form(episodes):
    table = oneshot.baselines(episodes)
    assert table.model.drop_duplicates().tolist() == list(BASELINES)
    assert len(table) == 2 * 6
    assert (table.correct == (table.predicted == table.true)).all()
    assert ((table.margin > 0) == table.correct).all()


@pytest.mark.parametrize(
    ("text", "word"),
    [("token.blurr=2", "token.blur"), ("token.keep=2", "token.keep=2"),
     ("parse.count=0", "least 1"), ("token.steps=1.5", "token.steps"), ("blur=2", "blur"),
     ("token.coarse_steps=99", "99"), ("nonsense", "NAME=VALUE")],
)  # fmt: skip
def test_a_wrong_setting_is_named(text, word):
    with pytest.raises(InputError) as caught:
        OneShotSettings().changed([text])
    assert word in str(caught.value)


def test_settings_have_a_name_of_their_own():
    usual = OneShotSettings()
    assert usual.changed([]) == usual
    assert usual.changed(["token.blur=2"]).token.blur == 2.0
    assert usual.changed(["token.blur=2"]).hash != usual.hash
    assert OneShotSettings().hash == usual.hash

"""Clusters of strokes: what is gathered, how it is clustered, scored and drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_blobs

from doodcli.data.load import load_images
from doodcli.experiments import cluster_map, clusters, strokes
from doodcli.experiments.clusters import Parts, cluster, one_way
from doodcli.learning.train import Plan, train
from doodcli.model.renderer import bezier
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """Runs of a few steps on small pages."""
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"model.resolution": 24, "model.strokes": 3, "data.dataset": "digits"}
    return {
        name: train(change(preset("tiny"), {"model.name": name, **sizes}), Plan(folder))
        for name in ("dood", "dood-dr", "air")
    }


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("digits", "train", resolution=24, limit=60)


def blobs(counts: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Well separated clusters of these sizes in ten dimensions, shuffled, and which is which."""
    vectors, labels = make_blobs(counts, 10, cluster_std=0.5, random_state=seed)
    return vectors, labels


# ---------------------------------------------------------------------------- one direction


def test_a_stroke_and_its_reverse_become_the_same():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 5, 2, generator=generator)
    closed = points.clone()
    closed[:, -1] = closed[:, 0]
    twice = closed.clone()
    twice[:, -2] = twice[:, 1]  # its own reverse
    level = points.clone()
    level[:, -1] = level[:, 0] + torch.tensor([-2.0, 1.0])  # x + 2y is the same at both ends
    for some in (points, closed, twice, level, points[:, :4]):
        assert one_way(some).equal(one_way(some.flip(1)))
        # Nothing is done but reversing, in about half of them.
        same = (one_way(some) == some).all(2).all(1)
        assert (same | (one_way(some) == some.flip(1)).all(2).all(1)).all()
    assert 60 < (one_way(points) == points).all(2).all(1).sum() < 140


def test_strokes_run_downwards_and_level_ones_to_the_right():
    def line(degrees: float) -> torch.Tensor:
        """A straight stroke of this direction, counterclockwise from the right."""
        turn = math.radians(degrees)
        end = torch.tensor([math.cos(turn), -math.sin(turn)])  # y down
        return torch.linspace(-1, 1, 5)[:, None] * end

    for degrees in (25, 5, 0, -45, -90, -135, -150):
        kept, turned = one_way(torch.stack([line(degrees), line(degrees + 180)]))
        assert kept.equal(line(degrees))
        assert turned.equal(line(degrees + 180).flip(0))


def test_one_direction_leaves_the_curve_where_it_is():
    points = torch.randn(50, 5, 2, generator=torch.Generator().manual_seed(1))
    before, after = bezier(points, 33), bezier(one_way(points), 33)
    apart = torch.minimum((before - after).abs().amax((1, 2)),
                          (before - after.flip(1)).abs().amax((1, 2)))  # fmt: skip
    assert apart.max() < 1e-5


# -------------------------------------------------------------------------------- gathering


@torch.no_grad()
def by_hand(run: Run, images: ImageSet, seed: int) -> tuple[torch.Tensor, list[int]]:
    """The strokes of all images in the seeded order, and how many each image has."""
    drawing, _ = run.model().infer(images.images, 1, seed, images.index)
    order = np.random.RandomState(seed).permutation(len(images))
    each = [drawing.strokes[0, k, : int(drawing.present[0, k].sum())] for k in order]
    return torch.cat(each), [len(one) for one in each]


@pytest.mark.parametrize("name", ["dood", "air"])
def test_present_strokes_are_gathered_in_a_random_order_of_images(runs, images, name):
    expected, _ = by_hand(runs[name], images, 3)
    parts = clusters.gather(runs[name].model(), images, 10_000, 3)
    assert len(parts.vectors) == len(expected) > 30
    torch.testing.assert_close(parts.vectors, expected)
    assert parts.images == 60
    assert parts.vectors.flatten(1).abs().sum(1).min() > 0
    other = clusters.gather(runs[name].model(), images, 10_000, 4)
    assert not torch.equal(parts.vectors[0], other.vectors[0])


def test_a_limit_keeps_the_first_strokes_and_counts_their_images(runs, images, monkeypatch):
    everything, counts = by_hand(runs["dood"], images, 0)
    for most in (1, 20, 21, 22):
        parts = clusters.gather(runs["dood"].model(), images, most, 0)
        torch.testing.assert_close(parts.vectors, everything[:most])
        assert parts.images == 1 + int(np.searchsorted(np.cumsum(counts), most))
    whole = clusters.gather(runs["dood"].model(), images, 22, 0)
    monkeypatch.setattr(strokes, "ROWS", 7)
    again = clusters.gather(runs["dood"].model(), images, 22, 0)
    torch.testing.assert_close(again, whole)
    drawing, _ = runs["dood"].model().infer(images.images, 1, 0, images.index)
    order = np.random.RandomState(0).permutation(60)[: whole.images]
    torch.testing.assert_close(whole.pen, drawing.pen[0, order].median(0).values)


# -------------------------------------------------------------------------------- clustering


def silhouette(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Rousseeuw's definition, stroke by stroke; that of a cluster of one is 0."""
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    values = []
    for k, label in enumerate(labels):
        others = [apart[k, labels == c].mean() for c in set(labels) - {label}]
        own = apart[k, labels == label].sum() / max((labels == label).sum() - 1, 1)
        alone = (labels == label).sum() == 1
        values.append(0 if alone else (min(others) - own) / max(min(others), own))
    return float(np.mean(values))


def test_separate_clusters_are_found_numbered_by_size_and_scored():
    vectors, truth = blobs([20, 50, 30])
    found = cluster(vectors, 3, 0)
    assert (found.labels == np.array([2, 0, 1])[truth]).all()
    for label, centre in enumerate(found.centres):
        assert centre == pytest.approx(vectors[found.labels == label].mean(0))
    assert found.silhouette == pytest.approx(silhouette(vectors, truth))
    assert found.silhouette > 0.8
    assert (found.scored, found.note) == (100, "")
    worse = cluster(vectors, 6, 0)
    assert worse.silhouette == pytest.approx(silhouette(vectors, worse.labels))
    assert worse.silhouette < found.silhouette


def test_many_strokes_are_scored_by_a_sample_that_is_recorded(monkeypatch):
    vectors, _ = blobs([40, 40, 40])
    whole = cluster(vectors, 3, 0)
    monkeypatch.setattr(clusters, "SCORED", 50)
    part = cluster(vectors, 3, 0)
    assert (part.labels == whole.labels).all()
    assert part.scored == 50
    assert part.silhouette != whole.silhouette
    assert part.silhouette == pytest.approx(whole.silhouette, abs=0.1)


def test_what_cannot_be_clustered_says_so_and_breaks_nothing():
    vectors, _ = blobs([4, 4])
    few = cluster(vectors, 8, 0)
    assert math.isnan(few.silhouette)
    assert few.note == "8 strokes are too few for 8 clusters"
    same = cluster(np.ones((30, 10)), 5, 0)
    assert math.isnan(same.silhouette)
    assert same.scored == 0
    assert "distinct clusters" in same.note
    # Three kinds of strokes in five clusters: a score, and a note.
    three = cluster(np.repeat(vectors[:3], 10, 0), 5, 0)
    assert three.silhouette == pytest.approx(1)
    assert "distinct clusters" in three.note


# ------------------------------------------------------------------------------- measuring


def test_a_run_has_a_row_for_each_number_of_clusters(runs, images):
    table, drawn = clusters.measure(runs["dood"], images, 3, 40, 1, "cpu", draw=False)
    assert drawn is None
    assert table.clusters.tolist() == [3, 5, 8, 10, 15]
    parts = clusters.gather(runs["dood"].model(), images, 40, 1)
    for name, value in {
        "run": runs["dood"].name, "model": "dood", "dataset": "digits", "part": "train",
        "fingerprint": images.fingerprint, "evaluation_seed": 1, "strokes": 40,
        "images": parts.images, "dimensions": 10, "latent": "points", "silhouette_strokes": 40,
        "weights": runs["dood"].provenance()["weights"],
    }.items():  # fmt: skip
        assert set(table[name]) == {value}
    vectors = parts.vectors.flatten(1).double().numpy()
    turned = one_way(parts.vectors).flatten(1).double().numpy()
    for row in table.itertuples():
        raw = cluster(vectors, row.clusters, 1)
        assert row.silhouette == pytest.approx(silhouette(vectors, raw.labels))
        other = cluster(turned, row.clusters, 1)
        assert row.silhouette_one_way == pytest.approx(silhouette(turned, other.labels))


@pytest.mark.parametrize(("name", "size"), [("air", 10), ("dood-dr", 10)])
def test_what_a_network_draws_has_no_direction(runs, images, name, size):
    table, drawn = clusters.measure(runs[name], images, 5, 30, 0, "cpu", draw=True)
    assert table.silhouette.notna().all()
    assert table.silhouette_one_way.isna().all()
    assert set(table.dimensions) == {size}
    assert drawn is not None
    assert ("30 codes of" if name == "air" else "30 strokes of") in drawn.title
    assert drawn.tile_starts is None
    assert drawn.row_starts is None


def test_strokes_drawn_backwards_cost_the_silhouette_that_one_direction_gives_back(
    runs, images, monkeypatch
):
    vectors, _ = blobs([40, 40, 40, 40, 40])
    points = one_way(torch.from_numpy(vectors).float().reshape(-1, 5, 2))
    back = torch.rand(200, generator=torch.Generator().manual_seed(0)) < 0.5
    mixed = torch.where(back[:, None, None], points.flip(1), points)
    parts = Parts(mixed, torch.ones(3), 200)
    monkeypatch.setattr(clusters, "gather", lambda *_: parts)
    table = clusters.measure(runs["dood"], images, 5, 200, 0, "cpu", draw=False).table
    five = table[table.clusters == 5].iloc[0]
    truth = cluster(points.flatten(1).double().numpy(), 5, 0)
    assert five.silhouette_one_way == pytest.approx(truth.silhouette)
    assert five.silhouette < truth.silhouette - 0.1


def test_a_run_without_strokes_has_rows_and_no_picture(runs, images, monkeypatch):
    none = Parts(torch.zeros(0, 5, 2), torch.ones(3), 60)
    monkeypatch.setattr(clusters, "gather", lambda *_: none)
    table, drawn = clusters.measure(runs["dood"], images, 8, 200, 0, "cpu", draw=True)
    assert drawn is None
    assert table.silhouette.isna().all()
    assert set(table.strokes) == {0}
    assert all("too few" in note for note in table.note)


# ------------------------------------------------------------------------------- the map


def test_a_map_shows_every_cluster(runs, images):
    seen = clusters.measure(runs["dood"], images, 4, 50, 0, "cpu", draw=True).map
    assert seen.places.shape == (50, 2)
    assert seen.places.min(0).tolist() == [0, 0]
    assert seen.places.max(0).tolist() == pytest.approx([1, 1])
    assert seen.sizes.sum() == 50
    assert (np.diff(seen.sizes) <= 0).all()
    assert (np.bincount(seen.labels, minlength=4) == seen.sizes).all()
    assert (seen.labels[seen.numbers] == np.arange(4)).all()
    assert seen.row_pictures.shape == (4, cluster_map.ROW, 24, 24)
    shown = (seen.row_pictures.amax((2, 3)) > 0).sum(1)
    assert shown.tolist() == np.minimum(seen.sizes, cluster_map.ROW).tolist()
    assert (~seen.row_starts.isnan().any(2)).sum(1).tolist() == shown.tolist()
    for words in ("dood, trained on digits", "50 strokes", "silhouette"):
        assert words in seen.title


def test_similar_strokes_lie_together_on_the_plane():
    vectors, labels = blobs([30, 30, 30])
    places = cluster_map.plane(vectors, 0)
    assert silhouette(places, labels) > 0.7
    assert cluster_map.plane(vectors[:, :1], 0).shape == (90, 2)


def test_exemplars_go_from_the_closest_to_the_farthest_of_their_own_cluster():
    far = np.arange(100)[::-1] / 100
    members = np.arange(100) % 2 == 0
    row = cluster_map.exemplars(members, far)
    assert row[0] == 98
    assert row[-1] == 0
    assert members[row].all()
    steps = np.diff(far[row])
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()
    few = cluster_map.exemplars(np.arange(100) < 3, far)
    assert few.tolist() == [2, 1, 0] + [-1] * (cluster_map.ROW - 3)


def test_tiles_leave_each_other_and_the_numbers_free():
    generator = np.random.default_rng(0)
    places, labels = generator.random((400, 2)), generator.integers(0, 3, 400)
    far, numbers = generator.random(400), np.array([0, 1, 2])
    tiles = cluster_map.spread_tiles(places, labels, far, numbers)
    assert np.bincount(labels[tiles]).tolist() == [cluster_map.TILES] * 3
    spots = places[np.concatenate([numbers, tiles])]
    apart = np.abs(spots[:, None] - spots).max(2) + np.eye(len(spots))
    # Numbers stand where they must, tiles keep clear of them and of each other.
    assert apart[3:].min() > cluster_map.TILE
    for label in range(3):
        assert far[tiles[labels[tiles] == label]].max() <= np.median(far[labels == label])
    # One place for all: nothing is drawn over the number.
    same = cluster_map.spread_tiles(np.zeros((10, 2)), labels[:10], far[:10], numbers)
    assert len(same) == 0


def test_a_stroke_is_drawn_in_its_own_frame_from_where_it_starts(runs):
    line = torch.linspace(-1, 1, 5)[:, None] * torch.tensor([0.0, 0.5])
    right = line + torch.tensor([0.5, 0.0])
    parts = Parts(torch.stack([line, right]), torch.tensor([0.05, 0.5, 1.0]), 2)
    pictures, starts = cluster_map.portraits(runs["dood"].model(), parts, torch.tensor([1, -1, 0]))
    assert pictures.shape == (3, 24, 24)
    # Both fill the frame alike: 0.5 half frames become FILLED of the half side.
    assert starts[0].tolist() == pytest.approx([0.8, -0.8], abs=0.05)
    assert starts[1].isnan().all()
    assert pictures[1].max() == 0
    middle = torch.linspace(-1 + 1 / 24, 1 - 1 / 24, 24)
    for picture, where in ((pictures[0], 0.8), (pictures[2], 0.0)):
        assert (picture.sum(0) @ middle / picture.sum()).item() == pytest.approx(where, abs=0.05)
        assert (picture.sum(1) @ middle / picture.sum()).item() == pytest.approx(0, abs=0.02)


def test_a_code_is_shown_as_its_decoder_draws_it(runs):
    model = runs["air"].model()
    codes = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    parts = Parts(codes, torch.ones(3), 2)
    pictures, starts = cluster_map.portraits(model, parts, torch.tensor([0, 1]))
    assert starts is None
    with torch.no_grad():
        expected = torch.sigmoid(model.decoder.network(codes)).unflatten(1, (24, 24))
    torch.testing.assert_close(pictures, expected, atol=1e-5, rtol=1e-4)


# -------------------------------------------------------------------------------- summaries


def rows(model: str, values: list[float], source: str = "mnist", k: int = 8, **other) -> list[dict]:
    """Rows of runs that differ by their seed."""
    return [
        {"model": model, "source": source, "recipe": f"{model}-{source}", "dataset": source,
         "fingerprint": source, "remark": "", "clusters": k, "seed": seed, "silhouette": value,
         "silhouette_one_way": value + 0.1, "strokes": 100 + seed, **other}
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_seeds_are_averaged_and_recipes_kept_apart():
    table = pd.DataFrame(
        rows("dood", [0.2, 0.3]) + rows("dood", [0.5], recipe="other") + rows("air", [0.1])
    )
    found = clusters.summary(table)
    assert found.silhouette.tolist() == pytest.approx([0.25, 0.5, 0.1])
    assert found["std"].iloc[0] == pytest.approx(0.05 * math.sqrt(2))
    assert found["std"].iloc[1:].isna().all()
    assert found.one_way.tolist() == pytest.approx([0.35, 0.6, 0.2])
    assert found.seeds.tolist() == [2, 1, 1]
    assert found.strokes.tolist() == [100, 100, 100]


def test_it_is_said_whether_strokes_cluster_better_than_codes():
    table = pd.DataFrame(
        rows("dood", [0.2]) + rows("air-difference", [0.1]) + rows("air", [0.3])
        + rows("dood", [0.2], "digits") + rows("air-difference", [0.2], "digits")
        + rows("dood", [0.9], k=5) + rows("air-difference", [math.nan], "omniglot")
        + rows("dood", [0.9], "omniglot") + rows("dood-sp", [0.9])
    )  # fmt: skip
    found = clusters.claims(clusters.summary(table), 8)
    got = [
        (row.claim.split()[-2], row.source, row.paper, row.value, row.against, row.holds)
        for row in found.itertuples()
    ]
    assert got == [
        ("air-difference's", "mnist", True, 0.2, 0.1, True),
        ("air's", "mnist", False, 0.2, 0.3, False),
        ("air-difference's", "digits", False, 0.2, 0.2, False),
    ]
    assert clusters.claims(clusters.summary(table), 5).empty

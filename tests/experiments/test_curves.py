"""Scores of parses made by hand: what counts, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from doodcli.data.scribbles import scribbles_drawings
from doodcli.experiments.curves import ALONG, FOUND, chamfer, curves, score
from doodcli.model.drawing import Drawing

PIXEL = 2 / 50
SIDE = [(-0.6, -0.6, 0.6, -0.6), (0.6, -0.5, 0.6, 0.5), (0.5, 0.6, -0.5, 0.6)]


def drawing(*ends: tuple[float, float, float, float], uneven: float = 1.0) -> Drawing:
    """Straight strokes from (x0, y0) to (x1, y1)."""
    strokes = torch.zeros(6, 5, 2)
    for k, (x0, y0, x1, y1) in enumerate(ends):
        time = torch.linspace(0, 1, 5)[:, None] ** uneven
        strokes[k] = torch.tensor([x0, y0]) + time * torch.tensor([x1 - x0, y1 - y0])
    present = (torch.arange(6) < len(ends)).float()
    return Drawing(present, torch.tensor([1.0, 0, 0, 0]).repeat(6, 1), strokes, torch.ones(3))


def test_the_true_strokes_score_perfectly():
    for k in (0, 500, 1700):
        true = scribbles_drawings().map(lambda part, k=k: part[k])
        found = score(true, true)
        count = int(true.present.sum())
        assert found[:4] == (count, count, 0, 0)
        assert found.order_agreement == 1 or (count == 1 and math.isnan(found.order_agreement))


def test_a_stroke_drawn_backwards_or_unevenly_is_the_same_stroke():
    backwards = [(x1, y1, x0, y0) for x0, y0, x1, y1 in SIDE]
    found = score(drawing(*backwards), drawing(*SIDE))
    assert found.matched_strokes == 3
    assert found.chamfer_pixels == pytest.approx(0, abs=1e-4)
    found = score(drawing(*SIDE, uneven=2.0), drawing(*SIDE))
    assert found.matched_chamfer_pixels < 0.2


def test_distances_are_in_pixels_of_a_50_pixel_canvas():
    moved = [(x0, y0 + 1.5 * PIXEL, x1, y1 + 1.5 * PIXEL) for x0, y0, x1, y1 in SIDE[:1]]
    found = score(drawing(*moved), drawing(*SIDE[:1]))
    assert found.chamfer_pixels == pytest.approx(1.5, rel=1e-3)
    assert found.matched_chamfer_pixels == pytest.approx(1.5, rel=1e-3)
    assert found.matched_strokes == 1
    far = [(x0, y0 + (FOUND + 0.1) * PIXEL, x1, y1 + (FOUND + 0.1) * PIXEL)
           for x0, y0, x1, y1 in SIDE[:1]]  # fmt: skip
    assert score(drawing(*far), drawing(*SIDE[:1])).matched_strokes == 0


def test_chamfer_is_the_mean_of_both_ways():
    one, other = np.array([[0.0, 0.0]]), np.array([[0.0, 3.0], [4.0, 3.0]])
    assert chamfer(one, other) == pytest.approx((3 + (3 + 5) / 2) / 2)
    assert chamfer(other, one) == chamfer(one, other)


def test_a_layout_moves_the_curve():
    one = drawing(SIDE[0])
    placed = one._replace(layout=torch.tensor([0.5, 0.2, 0.0, math.pi / 4]).repeat(6, 1))
    points = curves(placed)[0] / 25
    ends = [[-0.6, -0.6], [0.6, -0.6]]
    turned = [[0.2 + 0.5 * (x - y) / math.sqrt(2), 0.5 * (x + y) / math.sqrt(2)] for x, y in ends]
    np.testing.assert_allclose(points[[0, -1]], turned, atol=1e-5)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert len(points) == ALONG
    assert steps.max() == pytest.approx(steps.min(), rel=1e-3)


def test_order_is_the_share_of_pairs_that_agree():
    true = drawing(*SIDE)
    for order, expected in (
        ((0, 1, 2), 1), ((2, 1, 0), 0), ((1, 0, 2), 2 / 3), ((1, 2, 0), 1 / 3),
    ):  # fmt: skip
        found = score(drawing(*(SIDE[k] for k in order)), true)
        assert found.order_agreement == pytest.approx(expected), order
        assert found.matched_strokes == 3


def test_strokes_that_are_missing_or_needless_count_against_a_parse():
    missing = score(drawing(SIDE[0], SIDE[2]), drawing(*SIDE))
    assert (missing.true_strokes, missing.matched_strokes) == (3, 2)
    assert missing.matched_chamfer_pixels == pytest.approx(0, abs=1e-4)
    assert missing.chamfer_pixels > 1
    assert missing.order_agreement == 1
    needless = score(drawing(SIDE[0], (0, 0, 0.1, 0.3), *SIDE[1:]), drawing(*SIDE))
    assert (needless.true_strokes, needless.matched_strokes) == (3, 3)
    assert needless.chamfer_pixels > 0.5


def test_strokes_are_matched_for_the_least_sum_not_one_after_the_other():
    # The first is nearer to the second truth, which the second needs.
    true = drawing((-0.5, 0, 0.5, 0), (-0.5, 3 * PIXEL, 0.5, 3 * PIXEL))
    found = drawing((-0.5, 1.8 * PIXEL, 0.5, 1.8 * PIXEL), (-0.5, 4 * PIXEL, 0.5, 4 * PIXEL))
    both = score(found, true)
    assert both.matched_chamfer_pixels == pytest.approx((1.8 + 1) / 2, rel=1e-3)
    assert (both.matched_strokes, both.order_agreement) == (2, 1)


def test_nothing_has_no_distance_and_finds_nothing():
    found = score(drawing(), drawing(*SIDE))
    assert found[:2] == (3, 0)
    assert all(math.isnan(number) for number in found[2:])
    assert math.isnan(score(drawing(*SIDE), drawing()).chamfer_pixels)

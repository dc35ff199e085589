"""The best of several parses, refined: never worse, and the same in any company."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from doodcli.data.load import load_images
from doodcli.experiments import trace
from doodcli.experiments.trace import Effort
from doodcli.model.model import DrawingModel
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from doodcli.model.drawing import Drawing


@pytest.fixture(scope="module")
def model() -> DrawingModel:
    torch.manual_seed(1)
    return DrawingModel(change(preset("tiny"), {"model.resolution": 24}).model).eval()


@pytest.fixture(scope="module")
def images():
    return load_images("digits", "test", resolution=24, limit=6)


def same(one: Drawing, other: Drawing, **tolerance: float) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def test_the_parse_of_highest_log_joint_is_kept(model, images):
    x = images.images.float() / 255
    drawing, value = trace.best_parse(model, x, images.index, Effort(9, seed=4))
    every, _ = model.infer(x, 9, 4, images.index)
    with torch.no_grad():
        values = model.log_joint(x, every)
    torch.testing.assert_close(value, values.amax(0))
    assert len(set(values.argmax(0).tolist())) > 1
    for k, best in enumerate(values.argmax(0).tolist()):
        same(
            drawing.map(lambda part, k=k: part[k]), every.map(lambda part, b=best, k=k: part[b, k])
        )


def test_more_samples_never_find_less(model, images):
    found = [
        trace.trace(model, images.images, images.index, Effort(samples)).log_joint
        for samples in (1, 4, 16)
    ]
    assert (found[0] <= found[1] + 1e-2).all()
    assert (found[1] <= found[2] + 1e-2).all()
    assert (found[0] < found[2] - 1).any()


def test_a_refined_drawing_is_likelier_and_is_what_its_number_says(model, images):
    x = images.images.float() / 255
    plain = trace.trace(model, images.images, images.index, Effort(3))
    refined = trace.trace(model, images.images, images.index, Effort(3, refine=15))
    torch.testing.assert_close(refined.parsed, plain.log_joint)
    assert (refined.log_joint >= refined.parsed).all()
    assert (refined.log_joint - refined.parsed).mean() > 10
    with torch.no_grad():
        again = model.log_joint(x, refined.drawing.map(lambda part: part[None]))[0]
    torch.testing.assert_close(again, refined.log_joint, rtol=1e-4, atol=0.5)
    assert torch.equal(refined.drawing.present, plain.drawing.present)
    error = (x - model.render(refined.drawing)).abs().mean((1, 2))
    torch.testing.assert_close(refined.error, error)
    # Everything moved: where strokes are, how they bend, and the pen.
    for one, other in zip(refined.drawing[1:], plain.drawing[1:], strict=True):
        assert (one - other).abs().max() > 0.01
    low, high = torch.tensor([0.02, 0.1, 0.1]), torch.tensor([0.08, 0.9, 1.5])
    assert ((refined.drawing.pen > low) & (refined.drawing.pen < high)).all()


def test_what_cannot_be_improved_is_kept(model, images, monkeypatch):
    monkeypatch.setattr(trace, "RATE", 30.0)  # every step is a leap into nowhere
    plain = trace.trace(model, images.images, images.index, Effort(3))
    wild = trace.trace(model, images.images, images.index, Effort(3, refine=3))
    # To rounding: the first one has been to unconstrained coordinates and back.
    torch.testing.assert_close(wild.log_joint, plain.log_joint)
    same(wild.drawing, plain.drawing)


def test_the_weights_get_no_gradients_and_the_prior_holds(model, images, monkeypatch):
    trace.trace(model, images.images, images.index, Effort(2, refine=2))
    assert all(weight.grad is None for weight in model.parameters())
    # Without a likelihood a refinement climbs the prior alone.
    monkeypatch.setattr(model, "log_likelihood", lambda x, canvas: 0 * canvas.sum((-2, -1)))
    found = trace.trace(model, images.images, images.index, Effort(1, refine=10))
    assert (found.log_joint > found.parsed).all()
    drawn = found.drawing.stroke_count > 0
    assert drawn.any()
    assert (found.log_joint > found.parsed + 1)[drawn].all()


def test_a_pen_that_all_share_stays(images):
    torch.manual_seed(1)
    values = {"model.resolution": 24, "model.pen": "global"}
    shared = DrawingModel(change(preset("tiny"), values).model).eval()
    plain = trace.trace(shared, images.images, images.index, Effort(2))
    refined = trace.trace(shared, images.images, images.index, Effort(2, refine=8))
    assert torch.equal(plain.drawing.pen, refined.drawing.pen)
    # Without strokes there is nothing left to refine.
    drawn = plain.drawing.stroke_count > 0
    assert torch.equal(refined.log_joint > refined.parsed, drawn)


@pytest.mark.parametrize("steps", [0, 4])
def test_neither_chunks_nor_company_change_a_drawing(model, images, monkeypatch, steps):
    whole = trace.trace(model, images.images, images.index, Effort(4, steps))
    told: list[str] = []
    monkeypatch.setattr(trace, "ROWS", 8)
    parts = trace.trace(model, images.images, images.index, Effort(4, steps), told.append)
    assert told == [f"{k} of 6 pictures" for k in (2, 4, 6)]
    monkeypatch.setattr(trace, "ROWS", 1)
    alone = trace.trace(model, images.images[3:4], images.index[3:4], Effort(4, steps))
    torch.testing.assert_close(parts.log_joint, whole.log_joint, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(alone.log_joint, whole.log_joint[3:4], rtol=1e-5, atol=1e-2)
    same(parts.drawing, whole.drawing, rtol=1e-3, atol=1e-3)


def test_a_blank_picture_has_no_strokes(model, images):
    x = images.images.clone()
    x[2] = 0
    found = trace.trace(model, x, images.index, Effort(3, refine=2))
    counts = found.drawing.stroke_count.tolist()
    assert counts[2] == 0
    assert min(counts[:2] + counts[3:]) >= 0
    assert sum(counts) > 0
    assert found.error[2] == 0
    assert torch.isfinite(found.log_joint).all()


def test_the_models_that_can_trace_are_those_with_curves():
    assert trace.with_curves() == ["dood", "dood-eg", "dood-sp"]


def test_means_are_of_each_run_and_effort():
    nan = math.nan
    rows = pd.DataFrame(
        {
            "run": ["a", "a", "a", "b", "c"],
            "model": "dood",
            "source": "x",
            "refine_steps": [0, 0, 5, 0, 0],
            "true_strokes": [2, 4, 3, 1, nan],
            "strokes": [3, 1, 3, 0, 2],
            "matched_strokes": [2, 1, 3, 0, nan],
            "chamfer_pixels": [1.0, 2.0, 0.5, nan, nan],
            "matched_chamfer_pixels": [0.5, 1.0, 0.5, nan, nan],
            "order_agreement": [1.0, nan, 0.0, nan, nan],
        }
    )
    found = trace.means(rows)
    assert found.images.tolist() == [2, 1, 1]
    np.testing.assert_allclose(found.found, [3 / 6, 1, 0])
    np.testing.assert_allclose(found.needless, [1 / 4, 0, 1])
    np.testing.assert_allclose(found.true_strokes, [3, 3, 1])
    np.testing.assert_allclose(found.strokes, [2, 3, 0])
    np.testing.assert_allclose(found.chamfer_pixels, [1.5, 0.5, nan])
    np.testing.assert_allclose(found.order_agreement, [1, 0, nan])

"""Tempered imagination: what a factor narrows, and what it leaves alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from doodcli.model.choosers import PAPER_TEMPER, UNTEMPERED, Imagination, Temper
from doodcli.model.model import IMAGINATION, IMAGINED_PEN, DrawingModel
from doodcli.model.noise import noise_for
from doodcli.model.prior import PEN
from doodcli.variants import VARIANTS
from tests.model.test_variants import build

if TYPE_CHECKING:
    from torch import Tensor

    from doodcli.model.drawing import Drawing

COUNT = 30


def untouched(model: DrawingModel, count: int, seed: int) -> Drawing:
    """Drawings from the prior as they were before anything could be tempered."""
    with torch.no_grad():
        noise = noise_for(torch.arange(count), 1, seed, IMAGINATION)
        if model.settings.pen == "latent":
            free = noise._replace(purpose=IMAGINED_PEN).normal(3)[0]
            pen = PEN.constrain(model.prior.pen().sample(free))
        else:
            pen = PEN.constrain(model.shared_pen().expand(count, 3))
        steps = model.unroll(Imagination(model.prior, model._prior_noise(noise)), model._blank(pen))
        return model._drawing(steps, pen)


def first_layout(model: DrawingModel, temper: Temper) -> Tensor:
    """Unconstrained layouts of the first strokes, which nothing that is tempered has told yet."""
    drawing = model.imagine(COUNT, 3, temper)
    return model.interval.free(drawing.layout.double())[:, 0][drawing.present[:, 0] > 0]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("temper", [(), (UNTEMPERED,), (Temper.of(1.0),)])
def test_at_temperature_1_every_number_is_what_it_was(name: str, temper: tuple) -> None:
    model = build(name)
    before, after = untouched(model, COUNT, 5), model.imagine(COUNT, 5, *temper)
    assert all(a.equal(b) for a, b in zip(after, before, strict=True))


def test_the_papers_factors_are_those_of_its_protocol() -> None:
    # Deviations of control points and shifts × .1, variances of scale and rotation × .7.
    assert PAPER_TEMPER.part == PAPER_TEMPER.shift == 0.1
    assert PAPER_TEMPER.scale**2 == pytest.approx(0.7)
    assert PAPER_TEMPER.rotation**2 == pytest.approx(0.7)
    assert PAPER_TEMPER.pen == 0


@pytest.mark.parametrize("temper", [PAPER_TEMPER, Temper.of(0.4), Temper.of(2.0)])
def test_layouts_stray_from_the_mean_of_their_component_by_the_factor(temper: Temper) -> None:
    model = build("dood")
    means, drawn = first_layout(model, Temper.of(0.0)), first_layout(model, UNTEMPERED)
    assert len(means.unique(dim=0)) > 3  # several components are chosen, and stay chosen
    factors = torch.tensor([temper.scale, temper.shift, temper.shift, temper.rotation])
    expected = means + factors * (drawn - means)
    torch.testing.assert_close(first_layout(model, temper), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dood-sp", "air"])
def test_parts_stray_by_the_factor_and_numbers_of_strokes_stay(name: str) -> None:
    # A fixed prior is told nothing, so that every stroke can be compared.
    model = build(name)
    drawn, cold = model.imagine(COUNT, 3), model.imagine(COUNT, 3, Temper(part=0.3))
    assert drawn.stroke_count.unique().numel() > 2
    assert cold.present.equal(drawn.present)
    torch.testing.assert_close(cold.strokes, 0.3 * drawn.strokes)
    assert cold.layout.equal(drawn.layout)
    assert cold.pen.equal(drawn.pen)


def test_the_chance_of_a_first_stroke_stays() -> None:
    model = build("dood")
    drawn, cold = model.imagine(400, 3), model.imagine(400, 3, Temper.of(0.1))
    assert 0 < drawn.present[:, 0].mean() < 1
    assert cold.present[:, 0].equal(drawn.present[:, 0])


def test_the_typical_pen_is_the_median_of_the_priors_and_a_shared_pen_stays() -> None:
    model = build("dood")
    with torch.no_grad():
        model.prior.pen_raw.copy_(torch.tensor([[0.5, -0.3, 0.2], [0.1, 0.2, 0.3]]))
    pens = model.imagine(400, 3).pen
    cold = model.imagine(400, 3, Temper(pen=0.0)).pen
    assert cold.equal(PEN.constrain(model.prior.pen_raw[0]).expand(400, 3))
    assert ((pens < cold).float().mean(0) - 0.5).abs().max() < 4 * 0.5 / math.sqrt(400)
    half = PEN.free(model.imagine(400, 3, Temper.of(0.5)).pen) - model.prior.pen_raw[0]
    torch.testing.assert_close(
        2 * half, PEN.free(pens) - model.prior.pen_raw[0], rtol=1e-3, atol=1e-3
    )
    shared = build("dood", pen="global")
    assert shared.imagine(4, 3, PAPER_TEMPER).pen.equal(shared.imagine(4, 3).pen)


def test_tempered_drawings_may_be_carried_along_when_they_have_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build("dood")
    dropped = model.imagine(COUNT, 3, PAPER_TEMPER)
    monkeypatch.setattr(DrawingModel, "drops_stopped", False)
    torch.testing.assert_close(tuple(model.imagine(COUNT, 3, PAPER_TEMPER)), tuple(dropped))


@pytest.mark.parametrize("name", ["dood", "air"])
def test_imagination_may_be_done_in_chunks(name: str) -> None:
    model = build(name)
    whole = model.imagine(COUNT, 3, PAPER_TEMPER)
    parts = [model.imagine(n, 3, PAPER_TEMPER, first=first) for first, n in ((0, 7), (7, 23))]
    for part, other in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(other), part)

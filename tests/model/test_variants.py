"""Every model of the paper: one core, other slots; what each has, and what each is not told."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributions as D
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.model.decoder import NeuralDecoder
from doodcli.model.drawing import Drawing, Token
from doodcli.model.model import DrawingModel
from doodcli.model.posterior import Recognition
from doodcli.model.prior import PEN
from doodcli.variants import VARIANTS
from tests.model import test_model as core
from tests.model.test_model import BATCH, SAMPLES, gradients, pictures, score, unsquashed

if TYPE_CHECKING:
    from doodcli.model.steps import Unrolled

EVERY = pytest.mark.parametrize("name", VARIANTS)
CODES = ("air", "air-difference")
UNGUIDED = ("dood-eg", "air")
FIXED = ("dood-sp", "air", "air-difference")
NEURAL = ("dood-dr", "air", "air-difference")

close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


def build(name: str, **model: object) -> DrawingModel:
    """A tiny model of that name whose heads and network of ink answer to what they see."""
    built = core.build(name=name, **model)
    if isinstance(built.decoder, NeuralDecoder):
        with torch.no_grad():
            built.decoder.network[-1].weight.mul_(3000)  # type: ignore[operator]
    return built


def full(model: DrawingModel, count: int, seed: int = 1) -> Drawing:
    """Drawings of as many strokes as there can be, `[count, ...]`."""
    s = model.settings
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator)
    part = (s.points, 2) if s.latent == "points" else (s.code,)
    layout = model.interval.constrain(0.7 * normal(count, s.strokes, 4))
    strokes = 0.5 * normal(count, s.strokes, *part)
    return Drawing(torch.ones(count, s.strokes), layout, strokes, PEN.constrain(normal(count, 3)))


def staircase(drawing: Drawing) -> Drawing:
    """The same drawings of no stroke, one, two, …"""
    return drawing._replace(present=torch.ones_like(drawing.present).tril(-1))


def unrolled(model: DrawingModel, images: Tensor, drawing: Drawing) -> Unrolled:
    """The pass of the posterior over given drawings."""
    chooser = Recognition(
        model.posterior, images, model.posterior.target(images), torch.arange(len(images)),
        given=model._given(drawing),
    )  # fmt: skip
    return model.unroll(chooser, model._blank(drawing.pen))


def another_hand(model: DrawingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn from now on looks different, for the same drawing."""

    def scrawl(where: Tensor, part: Tensor, pen: Tensor, affine: object = None) -> Tensor:
        return torch.rand(len(where), 50, 50, generator=torch.Generator().manual_seed(7))

    monkeypatch.setattr(model.decoder, "forward", scrawl)


def placed(layout: Tensor, images: Tensor) -> Tensor:
    """The inverse transformer, by the matrix that torch inverts."""
    scale, x, y, turn = layout.unbind(-1)
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    cos, sin = scale * torch.cos(turn), scale * torch.sin(turn)
    rows = [cos, -sin, x, sin, cos, y, zero, zero, one]
    back = torch.linalg.inv(torch.stack(rows, -1).unflatten(-1, (3, 3)))[:, :2]
    grid = F.affine_grid(back, [len(images), 1, 50, 50], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


# ------------------------------------------------------------------------------- densities


@EVERY
@torch.no_grad()
def test_every_variants_fused_pass_gives_the_joint_less_the_posterior(name: str) -> None:
    model, images = build(name), pictures()
    scored = score(model, images)
    drawing, log_q = model.infer(images, SAMPLES, seed=0)
    again = model.log_posterior(images, drawing)
    assert drawing.stroke_count.unique().numel() > 2
    for mine, other in zip(drawing, scored.drawing, strict=True):
        assert mine.equal(other)
    assert scored.log_weight.shape == log_q.shape == (SAMPLES, BATCH)
    apart = model.log_joint(images, drawing) - again
    torch.testing.assert_close(scored.log_weight, apart, atol=1e-2, rtol=1e-6)
    torch.testing.assert_close(log_q, again, atol=1e-3, rtol=1e-6)
    assert log_q.std() > 0.1


@EVERY
def test_every_variant_may_carry_stopped_drawings_along(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = build(name), pictures()
    dropping = score(model, images)
    by_dropping = dict(gradients(model, dropping))
    parse = dropping.drawing.map(lambda part: part[0].detach())
    log_p, log_q = model.log_prior(parse), model.log_posterior(images, dropping.drawing)
    imagined, (completed, pictured) = model.imagine(20), model.complete(parse, images)
    monkeypatch.setattr(DrawingModel, "drops_stopped", False)
    carrying = score(model, images)
    by_carrying = dict(gradients(model, carrying))
    close(carrying._asdict() | {"drawing": 0}, dropping._asdict() | {"drawing": 0})
    close(tuple(carrying.drawing), tuple(dropping.drawing))
    close(model.log_prior(parse), log_p)
    close(model.log_posterior(images, carrying.drawing), log_q)
    close(tuple(model.imagine(20)), tuple(imagined))
    again, repictured = model.complete(parse, images)
    close((*again, repictured), (*completed, pictured))
    assert by_carrying.keys() == by_dropping.keys()
    for key, gradient in by_dropping.items():
        apart = (gradient - by_carrying[key]).norm()
        assert apart <= 1e-4 * gradient.norm() + 1e-5, key


@EVERY
@torch.no_grad()
def test_what_a_variant_would_have_drawn_after_its_last_stroke_does_not_count(name: str) -> None:
    model, images = build(name), pictures()
    drawing = staircase(full(model, BATCH))
    gone = drawing.present == 0
    rest = (...,) + (None,) * (drawing.strokes.dim() - 2)
    other = drawing._replace(
        layout=torch.where(gone[..., None], 0.3, drawing.layout),
        strokes=torch.where(gone[rest], -0.2, drawing.strokes),
    )
    assert model.log_prior(drawing).equal(model.log_prior(other))
    assert model.render(drawing).equal(model.render(other))
    log_q = [model.log_posterior(images, d.map(lambda part: part[None])) for d in (drawing, other)]
    assert log_q[0].equal(log_q[1])


@pytest.mark.parametrize("name", ["dood", "air"])
@torch.no_grad()
def test_a_normal_likelihood_is_a_normal_around_the_canvas(name: str) -> None:
    model, images = build(name, likelihood="normal"), pictures()
    model.scale.copy_(torch.rand(50, 50, generator=torch.Generator().manual_seed(0)) + 0.05)
    drawing, _ = model.infer(images, 2)
    canvas = model.render(drawing)
    expected = D.Normal(canvas, model.scale).log_prob(images).sum((-2, -1))
    found = model.log_joint(images, drawing) - model.log_prior(drawing)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(
        score(model, images, 2).log_likelihood, expected.flatten(), rtol=1e-5, atol=1e-2
    )


# -------------------------------------------------------------------- what each is made of

ROOMS = {
    "dood": set(),
    "dood-eg": {"-canvas_encoder", "-posterior.residual_encoder", "-prior.glimpse_encoder"},
    "dood-dr": {"+decoder.network"},
    "dood-sp": {
        "-prior.on_head", "-prior.layout_head", "-prior.stroke_head", "-prior.glimpse_encoder",
    },
}  # fmt: skip
ROOMS["air-difference"] = (
    ROOMS["dood-sp"] | ROOMS["dood-dr"] | {"-prior.pen_raw", "-posterior.pen_head", "-stroke_rnn"}
)
ROOMS["air"] = ROOMS["air-difference"] | ROOMS["dood-eg"]


def rooms(model: DrawingModel) -> set[str]:
    """The parts that have something to learn."""
    deep = ("prior", "posterior", "decoder")
    names = [name.split(".") for name, _ in model.named_parameters()]
    return {".".join(name[: 2 if name[0] in deep else 1]) for name in names}


@EVERY
def test_a_variant_has_the_networks_that_it_needs_and_no_others(name: str) -> None:
    expected = rooms(build("dood"))
    assert len(expected) == 15
    for change in ROOMS[name]:
        room = change[1:]
        assert (room in expected) == change.startswith("-")
        expected ^= {room}
    assert rooms(build(name)) == expected


@EVERY
def test_nothing_that_a_variant_has_is_idle(name: str) -> None:
    model = build(name)
    learning = {key for key, gradient in gradients(model, score(model, pictures())) if
                gradient.abs().max() > 0 and gradient.isfinite().all()}  # fmt: skip
    assert learning == {key for key, _ in model.named_parameters()}


@EVERY
def test_one_memory_is_one_recurrent_network_that_reads_layouts_and_parts(name: str) -> None:
    model = build(name)
    memories = [part for part in model.modules() if isinstance(part, nn.GRUCell)]
    assert len(memories) == (1 if name in CODES else 2)
    drawing = full(model, BATCH)
    with torch.no_grad():
        marks = unrolled(model, pictures(), drawing).marks
        moved = drawing._replace(layout=drawing.layout.flip(0))
        bent = drawing._replace(strokes=drawing.strokes.flip(0))
        of_moved, of_bent = (unrolled(model, pictures(), d).marks for d in (moved, bent))
    assert marks[1].layout_memory.equal(marks[1].stroke_memory) == (name in CODES)
    if name in ("dood-eg", "air"):  # where no canvas tells the memories of one another
        blind = name == "dood-eg"
        assert marks[3].stroke_memory.equal(of_moved[3].stroke_memory) == blind
        assert marks[3].layout_memory.equal(of_bent[3].layout_memory) == blind
    assert not marks[3].layout_memory.equal(of_moved[3].layout_memory)
    assert not marks[3].stroke_memory.equal(of_bent[3].stroke_memory)


# ------------------------------------------------------------------------- who sees whom


@EVERY
@torch.no_grad()
def test_only_guided_variants_are_told_what_is_on_the_canvas(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = build(name), pictures()
    drawing = full(model, BATCH)
    sampled = drawing.map(lambda part: part[None])
    noise = {"samples": 2, "seed": 3}
    log_p, log_q = model.log_prior(drawing), model.log_posterior(images, sampled)
    inferred, imagined = model.infer(images, **noise)[0], model.imagine(30, seed=2)
    another_hand(model, monkeypatch)
    same_p = model.log_prior(drawing).equal(log_p)
    same_q = model.log_posterior(images, sampled).equal(log_q)
    assert same_q == (name in UNGUIDED)
    assert same_p == (name in UNGUIDED or name in FIXED)
    assert model.infer(images, **noise)[0].strokes.equal(inferred.strokes) == (name in UNGUIDED)
    unmoved = model.imagine(30, seed=2).strokes.equal(imagined.strokes)
    assert unmoved == (name in UNGUIDED or name in FIXED)


@EVERY
def test_no_variants_prior_sees_the_target(name: str) -> None:
    model = build(name)
    drawing = full(model, BATCH)
    terms, log_q = [], []
    for seed in (0, 1):
        images = pictures(seed=seed).requires_grad_()
        steps = unrolled(model, images, drawing)
        on, marks = model.prior_terms(steps)
        terms.append(torch.stack([*on, *marks]))
        log_q.append(model._log_q(steps))
        (seen,) = torch.autograd.grad(log_q[-1].sum(), images, retain_graph=True)
        assert seen.abs().amax((1, 2)).min() > 0
        if terms[-1].requires_grad:
            (seen,) = torch.autograd.grad(terms[-1].sum(), images, allow_unused=True)
            assert seen is None
    assert terms[0].equal(terms[1])
    assert not torch.isclose(log_q[0], log_q[1]).any()


@torch.no_grad()
def test_without_guidance_what_was_drawn_before_decides_whether_to_go_on() -> None:
    model = build("dood-eg")
    drawing = full(model, BATCH)
    memory = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    logit = model.prior.on(torch.zeros(9, 0), memory)
    expected = model.prior.on_head(memory)[:, 0]  # type: ignore[operator]
    assert logit.equal(expected)
    assert logit.std() > 0.01

    def chances(one: Drawing) -> Tensor:
        steps = model.unroll(model._given(one), model._blank(one.pen))
        logits = [model.prior.on(d.canvas_features, d.layout_memory) for d in steps.decisions]
        return torch.stack(logits, -1)

    before = chances(drawing)
    layout, bent = drawing.layout.clone(), drawing.strokes.clone()
    layout[:, 0] = layout[:, 0].flip(0) * 0.9
    bent[:, 0] *= -1
    moved = chances(drawing._replace(layout=layout))
    assert moved[:, 0].equal(before[:, 0])
    assert (moved[:, 2:] != before[:, 2:]).any(0).all()
    # Neither the ink nor the pen that it was drawn with is told.
    assert chances(drawing._replace(strokes=bent, pen=drawing.pen.flip(0))).equal(before)


@torch.no_grad()
@pytest.mark.parametrize("name", UNGUIDED)
def test_without_guidance_the_last_stroke_is_known_when_the_next_is_decided_on(name: str) -> None:
    model, images = build(name), pictures()
    drawing = full(model, BATCH)
    layout = drawing.layout.clone()
    layout[:, 1, 1:] *= -1  # the second stroke goes elsewhere
    first, other = (
        [d.log_q for d in unrolled(model, images, drawing._replace(layout=where)).decisions]
        for where in (drawing.layout, layout)
    )
    close(first[0], other[0])
    close(first[1], other[1])
    assert not torch.allclose(first[2], other[2], atol=1e-4)


@torch.no_grad()
def test_a_guided_prior_decides_to_go_on_by_the_canvas_alone() -> None:
    model = build("dood")
    seen = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    logits = [model.prior.on(seen, memory) for memory in (torch.zeros(9, 32), torch.ones(9, 32))]
    assert logits[0].equal(logits[1])
    assert logits[0].std() > 0.01


# ------------------------------------------------------------------------- the fixed prior


def fixed_layouts(model: DrawingModel) -> D.Normal:
    """Around (.8, 0, 0, 0), with deviations (.2, .2, .2, .4) carried to u by a finite slope."""
    s = model.settings
    low = [s.scale_least, -s.shift_most, -s.shift_most, -s.rotation_most]
    high = [1.0, s.shift_most, s.shift_most, s.rotation_most]
    middle = torch.tensor([0.8, 0.0, 0.0, 0.0], dtype=torch.float64)
    deviation = torch.tensor([0.2, 0.2, 0.2, 0.4], dtype=torch.float64)
    step = 1e-5
    ends = [unsquashed(middle + sign * step * deviation, low, high) for sign in (1, -1)]
    return D.Normal(unsquashed(middle, low, high), (ends[0] - ends[1]) / (2 * step))


def test_a_fixed_priors_deviations_are_those_of_the_constrained_layout() -> None:
    model = build("air")
    u = fixed_layouts(model)
    step = 1e-4 * u.stddev
    apart = model.interval.constrain(u.mean + step) - model.interval.constrain(u.mean - step)
    expected = torch.tensor([0.2, 0.2, 0.2, 0.4], dtype=torch.float64)
    torch.testing.assert_close(apart / 2e-4, expected, rtol=1e-5, atol=0)
    found = model.prior.layout(torch.zeros(3, 32))
    for part, known in ((found.parts.mean, u.mean), (found.parts.deviation, u.stddev)):
        torch.testing.assert_close(part, known.float().expand(3, 1, 4))
    assert model.interval.constrain(found.parts.mean)[0, 0].tolist() == pytest.approx(
        [0.8, 0, 0, 0], abs=1e-6
    )


@pytest.mark.parametrize("name", FIXED)
@torch.no_grad()
def test_a_fixed_priors_density_is_the_textbooks(name: str) -> None:
    model = build(name)
    drawing = staircase(full(model, 7))
    assert drawing.stroke_count.tolist() == [0, 1, 2, 3, 4, 5, 6]
    s = model.settings
    low = [s.scale_least, -s.shift_most, -s.shift_most, -s.rotation_most]
    u = unsquashed(drawing.layout, low, [1, s.shift_most, s.shift_most, s.rotation_most])
    parts = D.Normal(0.0, 1.0 if name in CODES else 0.5).log_prob(drawing.strokes.double())
    each = fixed_layouts(model).log_prob(u).sum(-1) + parts.flatten(2).sum(-1)
    expected = (each * drawing.present).sum(-1)
    # A coin for each stroke, and one for stopping where there could have been another.
    tosses = (drawing.stroke_count + 1).clamp_max(6)
    expected = expected + tosses * D.Bernoulli(0.5).log_prob(torch.tensor(1.0)).item()
    if name == "dood-sp":
        raw = model.prior.pen_raw.double()
        of_pen = D.Normal(raw[0], F.softplus(raw[1]) + 0.01)
        free = unsquashed(drawing.pen, [0.02, 0.1, 0.1], [0.08, 0.9, 1.5])
        expected = expected + of_pen.log_prob(free).sum(-1)
    torch.testing.assert_close(model.log_prior(drawing).double(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_prior_learns_nothing_but_its_pen(name: str) -> None:
    names = [key for key, _ in build(name).prior.named_parameters()]
    assert names == (["pen_raw"] if name == "dood-sp" else [])


@pytest.mark.parametrize("name", ["dood-sp", "air"])
@torch.no_grad()
def test_a_fixed_prior_imagines_with_its_own_moments(name: str) -> None:
    count = 3000
    model = build(name, resolution=12)
    drawing = model.imagine(count, seed=5)
    shares = torch.bincount(drawing.stroke_count.long(), minlength=7) / count
    for strokes, share in enumerate(shares.tolist()):
        chance = 0.5 ** min(strokes + 1, 6)
        assert share == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / count))
    drawn = drawing.present > 0
    expected = fixed_layouts(model)
    layouts = unsquashed(
        drawing.layout[drawn], [0.2, -0.8, -0.8, -math.pi / 4], [1, 0.8, 0.8, math.pi / 4]
    )
    parts = drawing.strokes[drawn].flatten(1).double()
    deviation = torch.tensor(1.0 if name in CODES else 0.5, dtype=torch.float64)
    for found, mean, spread in (
        (layouts, expected.mean, expected.stddev),
        (parts, torch.zeros((), dtype=torch.float64), deviation),
    ):
        error = spread / math.sqrt(len(found))
        assert ((found.mean(0) - mean).abs() < 4 * error).all()
        assert ((found.std(0) - spread).abs() < 4 * error / math.sqrt(2)).all()
    # Independent: layouts know nothing of parts, nor one stroke of the one before it.
    both = torch.cat([layouts, parts], 1).T
    assert torch.corrcoef(both).fill_diagonal_(0).abs().max() < 5 / math.sqrt(len(layouts))
    pairs = drawing.layout[drawing.stroke_count > 1, :2].double().flatten(1)
    assert torch.corrcoef(pairs.T)[:4, 4:].abs().max() < 4 / math.sqrt(len(pairs))


# ------------------------------------------------------------------------------ the verbs


@EVERY
@torch.no_grad()
def test_a_variants_drawings_have_their_shapes_and_are_in_range(name: str) -> None:
    model, images = build(name), pictures()
    shape = (10,) if name in CODES else (5, 2)
    for drawing, lead in (
        (model.infer(images, SAMPLES)[0], (SAMPLES, BATCH)),
        (model.imagine(40, seed=1), (40,)),
    ):
        assert drawing.present.shape == (*lead, 6)
        assert drawing.layout.shape == (*lead, 6, 4)
        assert drawing.strokes.shape == (*lead, 6, *shape)
        assert drawing.pen.shape == (*lead, 3)
        assert (drawing.present.diff(dim=-1) <= 0).all()
        assert drawing.stroke_count.unique().numel() > 2
        assert drawing.layout[..., 0].min() >= 0.2
        assert drawing.layout[..., 1:3].abs().max() <= 0.8
        assert (drawing.strokes[drawing.present == 0] == 0).all()
        canvas = model.render(drawing)
        assert canvas.shape == (*lead, 50, 50)
        assert canvas.min() >= 0
        blank = drawing.stroke_count == 0
        assert (canvas[blank] == 0).all()
        assert (canvas[~blank].amax((1, 2)) > 0.05).all()


@pytest.mark.parametrize("name", CODES)
@torch.no_grad()
def test_a_code_of_another_size_works(name: str) -> None:
    model, images = build(name, code=3, strokes=4, resolution=32), pictures(resolution=32)
    scored = score(model, images)
    assert scored.drawing.strokes.shape == (SAMPLES, BATCH, 4, 3)
    apart = model.log_joint(images, scored.drawing) - model.log_posterior(images, scored.drawing)
    torch.testing.assert_close(scored.log_weight, apart, atol=1e-2, rtol=1e-6)
    assert model.render(model.imagine(3)).shape == (3, 32, 32)


@EVERY
@torch.no_grad()
def test_every_variant_completes_what_a_parse_began(name: str) -> None:
    model, images = build(name), pictures(6)
    parse = staircase(full(model, 6))  # of up to five strokes: a sixth leaves nothing to add
    finished, canvas = model.complete(parse, images, seed=3)
    kept = parse.present > 0
    new = (finished.present > 0) & ~kept
    assert new.any()
    assert (finished.present >= parse.present).all()
    assert (finished.present.diff(dim=-1) <= 0).all()
    assert finished.strokes.shape == parse.strokes.shape
    assert finished.strokes[kept].equal(parse.strokes[kept])
    close(finished.layout[kept], parse.layout[kept])
    # The given picture, with the new strokes on it.
    alone = model.uncomposite(model.render(finished._replace(present=new.float())), finished.pen)
    total = model.uncomposite(images, parse.pen) + alone
    torch.testing.assert_close(canvas, model.composite(total, parse.pen), rtol=0, atol=1e-3)
    other, _ = model.complete(parse, images, seed=4)
    assert not other.strokes.equal(finished.strokes)


# --------------------------------------------------------------------------- the pictures


@EVERY
@torch.no_grad()
def test_a_parse_of_all_strokes_leaves_the_given_picture_as_it_is(name: str) -> None:
    model, images = build(name), pictures()
    parse = full(model, BATCH)
    drawing, finished = model.complete(parse, images)
    assert finished.equal(images)
    assert drawing.strokes.equal(parse.strokes)


@EVERY
@torch.no_grad()
def test_a_variants_picture_is_drawn_stroke_by_stroke(name: str) -> None:
    model = build(name)
    drawing = full(model, 4)
    stages = torch.stack([model.render(drawing, upto=step) for step in range(7)])
    assert (stages[0] == 0).all()
    assert stages[6].equal(model.render(drawing))
    assert (stages.diff(dim=0) >= 0).all()
    assert (stages.diff(dim=0).amax((2, 3)) > 0.01).all()
    stopped = drawing._replace(present=drawing.present * (torch.arange(6) < 2))
    assert model.render(stopped).equal(stages[2])


@EVERY
@torch.no_grad()
def test_the_identity_token_changes_no_variants_picture(name: str) -> None:
    model = build(name)
    drawing = full(model, 6).map(lambda part: part.unflatten(0, (2, 3)))
    still = Token(torch.zeros_like(drawing.strokes), torch.eye(2, 3).repeat(2, 3, 1, 1))
    plain = model.render(drawing)
    assert plain.shape == (2, 3, 50, 50)
    torch.testing.assert_close(model.render(drawing, still), plain, rtol=0, atol=1e-4)
    shaken = still._replace(points=still.points + 0.3)
    assert (model.render(drawing, shaken) - plain).abs().amax((2, 3)).min() > 1e-3


@EVERY
def test_a_variants_picture_is_differentiable_in_what_was_drawn(name: str) -> None:
    model = build(name)
    drawing = full(model, 3).map(lambda part: part.clone().requires_grad_())
    weight = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    value = (model.render(drawing) * weight).sum()
    for part in torch.autograd.grad(value, drawing[:3]):
        assert part.isfinite().all()
        each = part.reshape(3, 6, -1).abs().amax(-1)  # of every drawing and stroke
        assert (each > 0).all()


# --------------------------------------------------------------- networks that draw with ink


@pytest.mark.parametrize("name", NEURAL)
@torch.no_grad()
def test_a_network_draws_in_a_frame_that_its_layout_moves(name: str) -> None:
    model = build(name)
    part = model._in_groups(full(model, 4).strokes)[:, 0]
    pen = PEN.constrain(torch.zeros(4, 3))

    def drawn(*layout: float) -> Tensor:
        return model.decoder(torch.tensor([layout]).expand(4, 4), part, pen)

    in_frame = drawn(1, 0, 0, 0)
    assert in_frame.std((1, 2)).min() > 0.05
    right_and_up = drawn(1, 6 * 2 / 50, -4 * 2 / 50, 0)
    torch.testing.assert_close(right_and_up[:, :46, 6:], in_frame[:, 4:, :44], rtol=0, atol=1e-4)
    assert right_and_up[:, 46:].abs().max() < 1e-4
    assert right_and_up[:, :, :6].abs().max() < 1e-4
    # A quarter turn takes what was to the right to the bottom.
    turned = drawn(1, 0, 0, math.pi / 2)
    torch.testing.assert_close(turned, in_frame.mT.flip(-1), rtol=0, atol=1e-4)
    # At half the size each pixel is the mean of four, in the middle of the page.
    small = drawn(0.5, 0, 0, 0)
    blocks = F.avg_pool2d(in_frame[:, None, 1:-1, 1:-1], 2)[:, 0]
    torch.testing.assert_close(small[:, 13:37, 13:37], blocks, rtol=0, atol=1e-4)
    small[:, 12:38, 12:38] = 0
    assert small.abs().max() < 1e-4


@pytest.mark.parametrize("name", CODES)
@torch.no_grad()
def test_airs_canvas_is_the_sum_of_its_parts(name: str) -> None:
    model = build(name)
    model.decoder.network[-1].bias.fill_(1.0)  # type: ignore[operator, union-attr]
    drawing = full(model, 4)
    alone = [
        model.render(drawing._replace(present=F.one_hot(torch.full((4,), step), 6).float()))
        for step in range(6)
    ]
    canvas = model.render(drawing)
    torch.testing.assert_close(canvas, sum(alone))
    assert canvas.max() > 1.5
    pen = drawing.pen.flip(0) * 0.9
    assert model.render(drawing._replace(pen=pen)).equal(canvas)


@torch.no_grad()
def test_dood_without_its_renderer_keeps_the_slopes_of_the_pen_but_not_its_width() -> None:
    model = build("dood-dr")
    drawing = full(model, 4)
    pen = drawing.pen
    total = torch.zeros(4, 50, 50)
    for step in range(6):
        network = model.decoder.network(drawing.strokes[:, step].flatten(1))  # type: ignore[operator, union-attr]
        ink = torch.tanh(torch.sigmoid(network) / pen[:, 1:2]).unflatten(1, (50, 50))
        total = total + placed(drawing.layout[:, step], ink)
    canvas = model.render(drawing)
    close(canvas, torch.tanh(total / pen[:, 2, None, None]))
    for part, told in ((0, False), (1, True), (2, True)):
        other = pen.clone()
        other[:, part] *= 1.2
        changed = model.render(drawing._replace(pen=other)) - canvas
        assert (changed.abs().amax((1, 2)) > 1e-3).all() == told
        assert (changed == 0).all() != told

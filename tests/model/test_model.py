"""The model: its densities, its verbs, and what may and may not see what."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributions as D
from torch import Tensor, nn

from doodcli.model.canvas import composite, uncomposite
from doodcli.model.drawing import Drawing, Token
from doodcli.model.layout import glimpse
from doodcli.model.model import DrawingModel, Scored
from doodcli.model.networks import Encoder, PatchEncoder
from doodcli.model.noise import noise_for
from doodcli.model.posterior import Recognition
from doodcli.model.prior import PEN
from doodcli.model.renderer import stroke_picture
from doodcli.model.steps import spread
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doodcli.model.steps import Decision, Unrolled

BATCH, SAMPLES = 5, 3
VARIANTS = pytest.mark.parametrize(
    ("pen", "place"),
    [(pen, place) for pen in ("latent", "global", "amortised") for place in ("points", "image")],
)


def build(draw_bias: float = 1.0, **model: object) -> DrawingModel:
    """A tiny model that answers to what it sees, as one that is as built hardly does."""
    settings = change(preset("tiny"), {f"model.{key}": value for key, value in model.items()})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = DrawingModel(settings.model, draw_bias)
        with torch.no_grad():
            for part in built.modules():
                if isinstance(part, Encoder | PatchEncoder):
                    for layer in part.layers.children():
                        if isinstance(layer, nn.Conv2d | nn.Linear):
                            layer.weight.mul_(4)
            for part in (*built.prior.children(), *built.posterior.children()):
                if isinstance(part, nn.Sequential):
                    part[-1].weight.mul_(50)  # type: ignore[operator]
    return built


def pictures(count: int = BATCH, resolution: int = 50, seed: int = 0) -> Tensor:
    """Pictures of two random strokes each, `[count, resolution, resolution]`."""
    generator = torch.Generator().manual_seed(seed)
    points = 1.4 * torch.rand(2 * count, 5, 2, generator=generator) - 0.7
    pen = torch.tensor([0.05, 0.4, 0.7])
    strokes = stroke_picture(points, pen.expand(2 * count, 3), 64, resolution)
    return composite(strokes.unflatten(0, (count, 2)).sum(1), pen.expand(count, 3))


def six_strokes(model: DrawingModel, count: int, seed: int = 1) -> Drawing:
    """Drawings of as many strokes as there can be, `[count, ...]`."""
    s = model.settings
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    layout = model.interval.constrain(0.7 * normal(s.strokes, 4))
    strokes = 0.5 * normal(s.strokes, s.points, 2)
    return Drawing(torch.ones(count, s.strokes), layout, strokes, PEN.constrain(normal(3)))


def score(model: DrawingModel, images: Tensor, samples: int = SAMPLES, first: int = 0) -> Scored:
    return model.score(images, noise_for(torch.arange(len(images)), samples, 0, first=first))


def gradients(model: DrawingModel, scored: Scored) -> Iterator[tuple[str, Tensor]]:
    """Of the sum of log weights and log q_on: every path through the pass."""
    model.zero_grad()
    (scored.log_weight.sum() + 3 * scored.log_q_on.sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            yield name, parameter.grad.clone()


# ------------------------------------------------------------------------------- densities


@VARIANTS
def test_the_fused_pass_gives_the_joint_less_the_posterior(pen: str, place: str) -> None:
    model, images = build(pen=pen, place=place), pictures()
    with torch.no_grad():
        scored = score(model, images)
        drawing, log_q = model.infer(images, SAMPLES, seed=0)
        apart = model.log_joint(images, drawing) - model.log_posterior(images, drawing)
        again = model.log_posterior(images, drawing)
    for mine, other in zip(drawing, scored.drawing, strict=True):
        assert mine.equal(other)
    assert 0 < drawing.stroke_count.mean() < 6
    assert drawing.stroke_count.unique().numel() > 2
    assert scored.log_weight.shape == log_q.shape == (SAMPLES, BATCH)
    torch.testing.assert_close(scored.log_weight, apart, atol=1e-3, rtol=1e-6)
    torch.testing.assert_close(log_q, again, atol=1e-3, rtol=1e-6)


def unsquashed(value: Tensor, low: list[float], high: list[float]) -> Tensor:
    """u of value = middle + half · u/√(1+u²), in float64."""
    bottom, top = (torch.tensor(end, dtype=torch.float64) for end in (low, high))
    x = (2 * value.double() - bottom - top) / (top - bottom)
    return x / (1 - x * x).sqrt()


def gaussian(
    raw: Tensor, least: float, pairs: list[int], reach: float | None = None
) -> D.Distribution:
    """The Gaussian of raw numbers (means, deviations, tilt), by its covariance's factor."""
    size = (raw.shape[-1] - 1) // 2
    raw = raw.double()
    mean, deviation = raw[..., :size], nn.functional.softplus(raw[..., size:-1]) + least
    if reach is not None:
        mean = reach * mean / (1 + mean * mean).sqrt()
    factor = torch.diag_embed(deviation)
    for second in pairs:
        factor[..., second, second - 1] = deviation[..., second] * raw[..., -1]
    return D.MultivariateNormal(mean, scale_tril=factor)


def mixture(raw: Tensor, pairs: list[int], reach: float | None = None) -> D.Distribution:
    parts = gaussian(raw[..., 1:], 0.01, pairs, reach)
    return D.MixtureSameFamily(D.Categorical(logits=raw[..., 0].double()), parts)


def by_hand(model: DrawingModel, image: Tensor, drawing: Drawing) -> tuple[float, float]:
    """(log p(z), log q(z | x)) of one drawing, Eqs. 1 and 6 term by term from the heads."""
    s, prior, posterior = model.settings, model.prior, model.posterior
    shift, turn = s.shift_most, s.rotation_most
    free = unsquashed(
        drawing.layout, [s.scale_least, -shift, -shift, -turn], [1, shift, shift, turn]
    )
    pen = unsquashed(drawing.pen, [0.02, 0.1, 0.1], [0.08, 0.9, 1.5])
    target = posterior.target_encoder(image[None, None])
    raw = posterior.pen_head(target)[0].double()
    q_pen = D.Normal(raw[:3], nn.functional.softplus(raw[3:]) + 0.002)
    p_pen = D.Normal(
        prior.pen_raw[0].double(), nn.functional.softplus(prior.pen_raw[1].double()) + 0.01
    )
    log_p, log_q = p_pen.log_prob(pen).sum(), q_pen.log_prob(pen).sum()
    layout, stroke = torch.zeros(1, 4), torch.zeros(1, 2 * s.points)
    h_layout = h_stroke = torch.zeros(1, s.hidden)
    for t in range(s.strokes):
        canvas = model.render(drawing, upto=t)
        residual = image - canvas
        seen = model.canvas_encoder(canvas[None, None])
        evidence = posterior.residual_encoder(torch.stack([image, residual])[None])
        sums = torch.stack([residual.sum() / image.sum().clamp_min(1), residual.abs().mean()])
        on = drawing.present[t].double()
        logit = posterior.on_head(torch.cat([evidence, sums[None]], -1))[0, 0].double()
        logit = logit / (1 + (logit / 5) ** 2).sqrt()  # within ±5
        log_q = log_q + D.Bernoulli(logits=logit).log_prob(on)
        log_p = log_p + D.Bernoulli(logits=prior.on_head(seen)[0, 0].double()).log_prob(on)
        if not on:
            break
        h_layout = model.layout_rnn(torch.cat([layout, seen], -1), h_layout)
        h_stroke = model.stroke_rnn(torch.cat([stroke, seen], -1), h_stroke)
        layout, stroke = free[None, t].float(), drawing.strokes[None, t].flatten(1)
        raw = posterior.layout_head(torch.cat([h_layout, evidence, target], -1))[0]
        log_q = log_q + gaussian(raw, 0.002, [2]).log_prob(free[t])
        raw = prior.layout_head(h_layout)[0].unflatten(-1, (s.components, -1))
        log_p = log_p + mixture(raw, [2]).log_prob(free[t])
        size = (s.glimpse, s.glimpse_margin)
        of_image = glimpse(drawing.layout[None, t], image[None], *size)
        of_canvas = glimpse(drawing.layout[None, t], canvas[None], *size)
        frames = posterior.glimpse_encoder(torch.stack([of_image, of_image - of_canvas], 1))
        raw = posterior.stroke_head(torch.cat([h_stroke, layout, frames, target], -1))
        q = gaussian(raw[0].unflatten(-1, (s.points, 5)), 0.002, [1], s.point_reach)
        log_q = log_q + q.log_prob(drawing.strokes[t].double()).sum()
        frame = prior.glimpse_encoder(of_canvas[:, None])
        raw = prior.stroke_head(torch.cat([h_stroke, layout, frame], -1))
        if s.mixture == "point":
            p = mixture(raw[0].unflatten(-1, (s.points, s.components, 6)), [1], s.point_reach)
        else:
            raw = raw[0].unflatten(-1, (s.components, -1))
            each = gaussian(raw[:, 1:].unflatten(-1, (s.points, 5)), 0.01, [1], s.point_reach)
            choice = D.Categorical(logits=raw[:, 0].double())
            p = D.MixtureSameFamily(choice, D.Independent(each, 1))
        log_p = log_p + p.log_prob(drawing.strokes[t].double()).sum()
    return log_p.item(), log_q.item()


@pytest.mark.parametrize("components_of", ["point", "stroke"])
@torch.no_grad()
def test_the_densities_of_a_drawing_are_those_of_the_heads(components_of: str) -> None:
    model, images = build(mixture=components_of), pictures()
    drawing, _ = model.infer(images, 2, seed=3)
    log_p, log_q = model.log_prior(drawing), model.log_posterior(images, drawing)
    assert drawing.stroke_count.unique().numel() > 2
    for sample in range(2):
        for i in range(BATCH):
            one = drawing.map(lambda part, s=sample, i=i: part[s, i])
            expected = by_hand(model, images[i], one)
            found = (log_p[sample, i].item(), log_q[sample, i].item())
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("components_of", ["point", "stroke"])
@torch.no_grad()
def test_a_component_is_chosen_for_each_point_or_for_the_stroke(components_of: str) -> None:
    model = build(mixture=components_of, components=2)
    s, last = model.settings, model.prior.stroke_head[-1]
    # Points lie to the left in the one component, to the right in the other.
    last.weight.zero_()
    raw = last.bias.view(*((2, -1) if components_of == "stroke" else (s.points, 2, 6)))
    raw.zero_()
    if components_of == "stroke":
        points = raw[:, 1:].view(2, s.points, 5)
        points[..., 0] = torch.tensor([-2.0, 2.0])[:, None]
        points[..., 2:4] = -6.0
    else:
        raw[..., 1] = torch.tensor([-2.0, 2.0])
        raw[..., 3:5] = -6.0
    drawing = model.imagine(200)
    right = (drawing.strokes[drawing.present > 0][..., 0] > 0).float().mean(-1)
    assert right.mean() == pytest.approx(0.5, abs=0.1)
    assert bool(((right == 0) | (right == 1)).all()) == (components_of == "stroke")


@torch.no_grad()
def test_the_likelihood_is_a_laplace_around_the_final_canvas() -> None:
    model, images = build(), pictures()
    model.scale.copy_(torch.rand(50, 50, generator=torch.Generator().manual_seed(0)) + 0.01)
    drawing, _ = model.infer(images, 2)
    canvas = model.render(drawing)
    expected = D.Laplace(canvas, model.scale).log_prob(images).sum((-2, -1))
    found = model.log_joint(images, drawing) - model.log_prior(drawing)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(score(model, images, 2).canvas, canvas.flatten(0, 1))


def stopping(model: DrawingModel, steps: Unrolled, of: str) -> Tensor:
    """log p or log q of the stopping variables of a pass, `[rows]`."""

    def log_density(decision: Decision) -> Tensor:
        if of == "posterior":
            return decision.log_q
        return D.Bernoulli(
            logits=model.prior.on(decision.canvas_features, decision.layout_memory)
        ).log_prob(decision.on)

    each = [log_density(d) for d in steps.decisions]
    return spread(steps.decisions, each, len(steps.canvas), model.settings.strokes).sum(-1)


@pytest.mark.parametrize("of", ["prior", "posterior"])
@torch.no_grad()
def test_the_chances_of_all_numbers_of_strokes_sum_to_one(of: str) -> None:
    model, images = build(), pictures()
    full = six_strokes(model, 1)
    outcomes = full.map(lambda part: part.expand(7, *part.shape[1:]))
    outcomes = outcomes._replace(present=torch.ones(7, 6).tril(-1))
    assert outcomes.stroke_count.tolist() == [0, 1, 2, 3, 4, 5, 6]
    given = model._given(outcomes)
    which = torch.zeros(7, dtype=torch.int64)
    target = model.posterior.target(images)
    chooser = Recognition(model.posterior, images, target, which, given=given)
    chance = stopping(model, model.unroll(chooser, model._blank(outcomes.pen)), of).exp()
    assert (chance > 0).all()
    assert chance.sum().item() == pytest.approx(1, abs=1e-5)
    assert chance.std() > 0.01


@torch.no_grad()
def test_what_comes_after_the_last_stroke_does_not_count() -> None:
    model, images = build(), pictures()
    drawing = six_strokes(model, BATCH)
    drawing = drawing._replace(present=torch.ones(BATCH, 6).tril(-1)[:BATCH])
    gone = drawing.present == 0
    other = drawing._replace(
        layout=torch.where(gone[..., None], 0.3, drawing.layout),
        strokes=torch.where(gone[..., None, None], -0.2, drawing.strokes),
    )
    for a, b in [
        (model.log_prior(drawing), model.log_prior(other)),
        (model.render(drawing), model.render(other)),
        (
            model.log_posterior(images, drawing.map(lambda part: part[None])),
            model.log_posterior(images, other.map(lambda part: part[None])),
        ),
    ]:
        assert a.equal(b)


# -------------------------------------------------------------- shapes, chunks and identity


@VARIANTS
def test_carrying_stopped_drawings_along_changes_nothing(
    pen: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = build(pen=pen, place=place), pictures()
    dropping = score(model, images)
    by_dropping = dict(gradients(model, dropping))
    parse = dropping.drawing.map(lambda part: part[0].detach())
    imagined, (completed, pictured) = model.imagine(20), model.complete(parse, images)
    log_q = model.log_posterior(images, dropping.drawing)
    monkeypatch.setattr(DrawingModel, "drops_stopped", False)
    carrying = score(model, images)
    by_carrying = dict(gradients(model, carrying))
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(carrying._asdict() | {"drawing": 0}, dropping._asdict() | {"drawing": 0})
    close(tuple(carrying.drawing), tuple(dropping.drawing))
    close(tuple(model.imagine(20)), tuple(imagined))
    again, repictured = model.complete(parse, images)
    close((*again, repictured), (*completed, pictured))
    close(model.log_posterior(images, carrying.drawing), log_q)
    assert by_carrying.keys() == by_dropping.keys()
    for name, gradient in by_dropping.items():
        apart = (gradient - by_carrying[name]).norm()
        assert apart <= 1e-4 * gradient.norm() + 1e-5, name


@torch.no_grad()
def test_chunks_of_samples_give_the_same_log_weights() -> None:
    model, images = build(), pictures()
    whole = score(model, images, 5).log_weight
    chunks = [score(model, images, n, first=first).log_weight for first, n in ((0, 2), (2, 3))]
    torch.testing.assert_close(torch.cat(chunks), whole, rtol=1e-6, atol=1e-3)


@torch.no_grad()
def test_an_image_is_parsed_the_same_in_any_company() -> None:
    model, images = build(), pictures()
    whole, log_q = model.infer(images, SAMPLES, seed=4, index=torch.arange(10, 10 + BATCH))
    alone, log_q_alone = model.infer(images[3:4], SAMPLES, seed=4, index=torch.tensor([13]))
    torch.testing.assert_close(tuple(alone), tuple(part[:, 3:4] for part in whole))
    torch.testing.assert_close(log_q_alone, log_q[:, 3:4], rtol=1e-5, atol=1e-3)
    other, _ = model.infer(images[3:4], SAMPLES, seed=4, index=torch.tensor([14]))
    assert not torch.equal(other.strokes, alone.strokes)


@torch.no_grad()
def test_images_of_bytes_are_images_in_0_to_1() -> None:
    model = build()
    as_bytes = (pictures() * 255).round().byte()
    of_bytes, log_q = model.infer(as_bytes, seed=1)
    of_floats, expected = model.infer(as_bytes.float() / 255, seed=1)
    assert of_bytes.strokes.equal(of_floats.strokes)
    assert log_q.equal(expected)
    joint = model.log_joint(as_bytes, of_bytes)
    torch.testing.assert_close(joint, model.log_joint(as_bytes.float() / 255, of_bytes))


@VARIANTS
def test_a_model_of_other_sizes_works(pen: str, place: str) -> None:
    model = build(strokes=8, points=4, resolution=32, pen=pen, place=place)
    images = pictures(resolution=32)
    scored = score(model, images)
    scored.log_weight.sum().backward()
    drawing = scored.drawing.map(lambda part: part.detach())
    assert drawing.strokes.shape == (SAMPLES, BATCH, 8, 4, 2)
    with torch.no_grad():
        apart = model.log_joint(images, drawing) - model.log_posterior(images, drawing)
        torch.testing.assert_close(scored.log_weight.detach(), apart, atol=1e-3, rtol=1e-6)
        assert model.render(drawing).shape == (SAMPLES, BATCH, 32, 32)
        assert model.render(model.imagine(3)).shape == (3, 32, 32)
        parse = drawing.map(lambda part: part[0])
        assert model.complete(parse, images)[0].present.shape == (BATCH, 8)


# ------------------------------------------------------------------------- who sees whom


@torch.no_grad()
def test_the_prior_scores_a_drawing_the_same_whatever_the_target() -> None:
    model = build()
    drawing = six_strokes(model, BATCH)
    which = torch.arange(BATCH)
    terms, log_q = [], []
    for seed in (0, 1):
        images = pictures(seed=seed)
        target = model.posterior.target(images)
        given = model._given(drawing)
        chooser = Recognition(model.posterior, images, target, which, given=given)
        steps = model.unroll(chooser, model._blank(drawing.pen))
        on, marks = model.prior_terms(steps)
        terms.append(torch.stack([*on, *marks]))
        log_q.append(torch.stack([mark.log_q for mark in steps.marks]))
    assert terms[0].equal(terms[1])
    assert not torch.isclose(log_q[0], log_q[1]).any()


def test_no_gradient_of_the_prior_reaches_the_target() -> None:
    model, images = build(), pictures().requires_grad_()
    with torch.no_grad():
        drawing, _ = model.infer(images, SAMPLES)
    (gradient,) = torch.autograd.grad(model.log_prior(drawing).sum(), images, allow_unused=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(model.log_posterior(images, drawing).sum(), images)
    assert gradient.abs().max() > 0


def test_the_prior_imagines_without_the_recognition_model() -> None:
    model = build()
    before = model.imagine(30, seed=2)
    with torch.no_grad():
        for parameter in model.posterior.parameters():
            parameter.normal_()
    after = model.imagine(30, seed=2)
    assert all(a.equal(b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("pen", ["latent", "global"])
@pytest.mark.parametrize("place", ["points", "image"])
def test_the_canvas_guides_but_carries_no_gradient(pen: str, place: str) -> None:
    # A pen of earlier strokes reaches later choices through the canvas alone.
    model, images = build(pen=pen, place=place), pictures()
    drawing = six_strokes(model, BATCH).map(lambda part: part[None])
    leaf = drawing.pen.clone().requires_grad_()
    other = drawing._replace(pen=drawing.pen.flip(1))
    densities = {
        "prior": (model.log_prior, model.prior.pen if pen == "latent" else None),
        "posterior": (
            lambda d: model.log_posterior(images, d),
            lambda: model.posterior.pen(model.posterior.target(images)),
        ),
    }
    for log_density, of_pen in densities.values():
        value = log_density(drawing._replace(pen=leaf)).sum()
        (found,) = torch.autograd.grad(value, leaf, allow_unused=True)
        if pen == "global":
            with torch.no_grad():
                assert abs(log_density(other).sum() - value) > 1e-2  # yet it is seen
            assert found is None or (found == 0).all()
        else:  # a latent pen has a density of its own, and no other gradient
            assert of_pen is not None
            own = of_pen().log_density(model.free_pen(leaf[0])).sum()
            torch.testing.assert_close(found, torch.autograd.grad(own, leaf)[0])


def test_the_likelihood_does_carry_gradients_to_everything_drawn() -> None:
    model, images = build(), pictures()
    drawing = six_strokes(model, BATCH).map(lambda part: part.clone().requires_grad_())
    likelihood = model.log_likelihood(images, model.render(drawing)).sum()
    for part in torch.autograd.grad(likelihood, tuple(drawing)):
        assert part.isfinite().all()
        assert part.abs().amax() > 0


def test_the_stopping_posterior_shapes_no_encoder() -> None:
    model, images = build(), pictures()
    model.zero_grad()
    score(model, images).log_q_on.sum().backward()
    learning = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning
    assert all(name.startswith("posterior.on_head.") for name in learning)


# ------------------------------------------------------------------------------ the verbs


@VARIANTS
def test_drawings_are_in_range_and_stop_once(pen: str, place: str) -> None:
    model, images = build(pen=pen, place=place), pictures()
    with torch.no_grad():
        inferred = model.infer(images, 20)[0].flat()
    for drawing in (inferred, model.imagine(100, seed=1)):
        assert set(drawing.present.unique().tolist()) == {0.0, 1.0}
        assert (drawing.present.diff(dim=-1) <= 0).all()
        assert drawing.stroke_count.unique().numel() > 2
        scale, x, y, turn = drawing.layout.unbind(-1)
        assert scale.min() >= 0.2
        assert scale.max() <= 1
        assert torch.stack([x, y]).abs().max() <= 0.8
        assert turn.abs().max() <= math.pi / 4
        assert ((drawing.pen - PEN.middle).abs() <= PEN.radius).all()
        assert (drawing.strokes[drawing.present == 0] == 0).all()
        canvas = model.render(drawing)
        assert canvas.min() >= 0
        assert canvas.max() <= 1


@torch.no_grad()
def test_imagination_is_repeatable_and_grows_by_appending() -> None:
    model = build()
    ten, twenty = model.imagine(10, seed=6), model.imagine(20, seed=6)
    torch.testing.assert_close(tuple(part[:10] for part in twenty), tuple(ten))
    assert not model.imagine(10, seed=7).strokes.equal(ten.strokes)


@torch.no_grad()
def test_imagination_draws_from_the_density_of_the_prior() -> None:
    # All drawings have the same chance of a first stroke, and the same density of its layout.
    model = build()
    drawing = model.imagine(4000, seed=8)
    blank = model._embed(torch.zeros(1, 50, 50))
    chance = torch.sigmoid(model.prior.on(blank, torch.zeros(1, 0))).item()
    assert drawing.present[:, 0].mean().item() == pytest.approx(
        chance, abs=4 * (chance * (1 - chance) / 4000) ** 0.5
    )
    memory = model.layout_rnn(torch.cat([torch.zeros(1, 4), blank], -1), torch.zeros(1, 32))
    p = model.prior.layout(memory)
    weight, mean = p.log_weight[0].exp()[:, None], p.parts.mean[0]
    variance = p.parts.deviation[0] ** 2 * (1 + p.parts.tilt[0] ** 2)
    centre = (weight * mean).sum(0)
    spread_of = (weight * (variance + (mean - centre) ** 2)).sum(0)
    first = model.interval.free(drawing.layout[drawing.present[:, 0] > 0, 0])
    error = (spread_of / len(first)).sqrt()
    assert ((first.mean(0) - centre).abs() < 4 * error).all()


def test_a_given_picture_is_taken_back_through_the_compositing() -> None:
    images = pictures()
    pen = PEN.constrain(torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(0)))
    again = composite(uncomposite(images, pen), pen)
    torch.testing.assert_close(again, images, rtol=0, atol=1e-5)
    full = torch.ones(1, 4, 4)
    assert uncomposite(full, pen[:1]).isfinite().all()


@pytest.mark.parametrize("place", ["points", "image"])
def test_a_completion_keeps_the_strokes_of_the_parse(place: str) -> None:
    model, images = build(place=place), pictures(7)
    parse = six_strokes(model, 7)._replace(present=torch.ones(7, 6).tril(-1))
    finished, _ = model.complete(parse, images, seed=3)
    assert (finished.present >= parse.present).all()
    assert (finished.present.diff(dim=-1) <= 0).all()
    assert (finished.stroke_count > parse.stroke_count).any()
    kept = parse.present > 0
    assert finished.strokes[kept].equal(parse.strokes[kept])
    torch.testing.assert_close(finished.layout[kept], parse.layout[kept], rtol=0, atol=1e-5)
    assert finished.pen.equal(parse.pen)
    new = (finished.present > 0) & ~kept
    assert (finished.strokes[new] != parse.strokes[new]).all()
    others, _ = model.complete(parse, images, seed=4)
    assert not others.strokes.equal(finished.strokes)


@pytest.mark.parametrize("strokes", [0, 2, 5])
def test_a_completion_goes_on_from_the_picture_itself(strokes: int) -> None:
    model, image = build(), pictures(1)
    with torch.no_grad():
        last = model.prior.on_head[-1]
        assert isinstance(last, nn.Linear)
        last.bias.fill_(100)
    parse = six_strokes(model, 1)
    parse.present[:, strokes:] = 0
    seen: list[Tensor] = []
    model.canvas_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0]))
    finished, canvas = model.complete(parse, image)
    assert finished.stroke_count.item() == 6
    seen = seen[-6:]  # one canvas a decision
    for step in range(strokes):
        torch.testing.assert_close(seen[step], model.render(parse, upto=step))
    assert seen[strokes].equal(image)
    # New strokes are drawn on the picture, not on what the parse made of it.
    total = uncomposite(image, parse.pen)
    for step in range(strokes, 5):
        total = total + model.decoder(
            finished.layout[:, step], finished.strokes[:, step], finished.pen
        )
        torch.testing.assert_close(seen[step + 1], composite(total, parse.pen))
    total = total + model.decoder(finished.layout[:, 5], finished.strokes[:, 5], finished.pen)
    torch.testing.assert_close(canvas, composite(total, parse.pen))
    # uint8 pictures are taken like any others.
    bytes_ = (image * 255).round().to(torch.uint8)
    assert model.complete(parse, bytes_)[1].equal(model.complete(parse, bytes_.float() / 255)[1])


# --------------------------------------------------------------------------- the renderer


@pytest.mark.parametrize("place", ["points", "image"])
def test_a_picture_grows_with_its_strokes(place: str) -> None:
    model = build(place=place)
    drawing = six_strokes(model, 4)
    stages = torch.stack([model.render(drawing, upto=t) for t in range(7)])
    assert (stages[0] == 0).all()
    assert stages[6].equal(model.render(drawing))
    assert (stages.diff(dim=0) >= 0).all()
    assert (stages.diff(dim=0).amax((2, 3)) > 0.01).all()
    stopped = drawing._replace(present=drawing.present * (torch.arange(6) < 2))
    assert model.render(stopped).equal(stages[2])


def identity(drawing: Drawing) -> Token:
    lead = drawing.present.shape[:-1]
    return Token(torch.zeros_like(drawing.strokes), torch.eye(2, 3).expand(*lead, 2, 3).clone())


@pytest.mark.parametrize("place", ["points", "image"])
def test_the_identity_token_changes_nothing(place: str) -> None:
    model = build(place=place)
    drawing = six_strokes(model, 6).map(lambda part: part.unflatten(0, (2, 3)))
    plain = model.render(drawing)
    assert plain.shape == (2, 3, 50, 50)
    torch.testing.assert_close(model.render(drawing, identity(drawing)), plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("place", ["points", "image"])
def test_a_tokens_shift_moves_the_picture(place: str) -> None:
    model = build(place=place)
    drawing = six_strokes(model, 4)
    drawing = drawing._replace(
        layout=drawing.layout * torch.tensor([0.5, 0.2, 0.2, 1]), strokes=drawing.strokes * 0.5
    )
    drawing.layout[..., 0].clamp_(min=0.2)
    token = identity(drawing)
    token.affine[:, 0, 2] = 6 * 2 / 50  # six pixels to the right
    token.affine[:, 1, 2] = -4 * 2 / 50  # four up
    moved = model.render(drawing, token)
    expected = model.render(drawing).roll((-4, 6), (1, 2))
    inner = (slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(moved[inner], expected[inner], rtol=0, atol=2e-3)


@pytest.mark.parametrize("place", ["points", "image"])
def test_a_tokens_turn_turns_the_picture(place: str) -> None:
    model = build(place=place)
    drawing = six_strokes(model, 4)
    token = identity(drawing)
    token.affine[:, :, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter, clockwise
    expected = model.render(drawing).mT.flip(-1)
    torch.testing.assert_close(model.render(drawing, token), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("place", ["points", "image"])
def test_rendering_is_differentiable_in_everything(place: str) -> None:
    model = build(place=place)
    drawing = six_strokes(model, 3).map(lambda part: part.clone().requires_grad_())
    token = Token(*(part.requires_grad_() for part in identity(drawing)))
    weight = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    value = (model.render(drawing, token) * weight).sum()
    for part in torch.autograd.grad(value, (*drawing, *token)):
        assert part.isfinite().all()
        assert (part.flatten(1).abs().amax(1) > 0).all()


@torch.no_grad()
def test_the_pen_of_an_imagined_drawing_is_independent_of_its_strokes() -> None:
    model = build()
    imagined = model.imagine(800, seed=1)
    drawn = imagined.present[:, 0] > 0
    pen = PEN.free(imagined.pen)[drawn]
    layout = model.interval.free(imagined.layout)[drawn, 0]
    both = torch.corrcoef(torch.cat([pen, layout], 1).T)[:3, 3:]
    assert both.abs().max() < 4 / drawn.sum().sqrt()

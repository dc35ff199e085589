"""The objective: NVIL against enumeration, what beta changes, and the closed-form scales."""

from __future__ import annotations

import copy
from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributions as D
import torch.nn.functional as F
from torch import Tensor

from doodcli.learning.objective import (
    Baseline,
    Weights,
    bound,
    learning_signal,
    nvil_surrogate,
    pathwise,
)
from doodcli.model.drawing import Drawing
from doodcli.model.model import Scored
from doodcli.settings import change, preset

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = 3


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The toys are compared to the last digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def baseline(scaling: bool = False, memory: float = 0.8) -> Baseline:
    """A baseline whose network says something."""
    values = {"learning.signal_scaling": scaling, "learning.signal_memory": memory}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Baseline(SEEN, 8, change(preset("tiny"), values).learning)
        with torch.no_grad():
            made.network[-1].weight.mul_(100)  # type: ignore[operator]
    return made


def scored_by_hand(
    likelihood: Tensor,
    on: Tensor,
    marks: Tensor,
    log_q_on: Tensor,
    alive: Tensor | None = None,
    pen: Tensor | None = None,
) -> Scored:
    """The terms of a pass, `[rows]` and `[rows, steps]`, without a pass."""
    rows, steps = on.shape
    drawing = Drawing(
        torch.ones(1, rows, steps),
        torch.zeros(1, rows, steps, 4),
        torch.zeros(1, rows, steps, 5, 2),
        torch.ones(1, rows, 3),
    )
    seen = torch.linspace(-1, 1, steps * SEEN).reshape(1, steps, SEEN).expand(rows, -1, -1)
    return Scored(
        drawing=drawing,
        canvas=torch.zeros(rows, 4, 4),
        log_likelihood=likelihood,
        on=on,
        marks=marks,
        pen=torch.zeros(rows) if pen is None else pen,
        log_q_on=log_q_on,
        alive=torch.ones_like(on) if alive is None else alive,
        seen=seen,
    )


def some_terms(rows: int = 3, steps: int = 4) -> Scored:
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    on, marks, log_q_on = some(rows, steps), some(rows, steps), some(rows, steps)
    return scored_by_hand(some(rows), on, marks, log_q_on, pen=some(rows))


def log_bernoulli(logit: Tensor, on: float) -> Tensor:
    return F.logsigmoid(logit if on else -logit)


def surrogate(scored: Scored, weights: Weights, control: Baseline) -> Tensor:
    """What the trainer climbs, but for the baseline's own loss."""
    signal, _ = copy.deepcopy(control)(learning_signal(scored, weights), scored.seen, scored.alive)
    return pathwise(scored, weights) + nvil_surrogate(signal, scored.log_q_on)


def objective(scored: Scored, weights: Weights) -> Tensor:
    """The same bound as it is defined."""
    kl = weights.stop * scored.on.sum(-1) + scored.marks.sum(-1) + scored.pen
    return (scored.log_likelihood + weights.kl * kl).sum()


def gradients_of(
    outcomes: list[tuple[Tensor, Scored]], parameters: list[Tensor], weights: Weights
) -> tuple[list[Tensor], list[Tensor]]:
    """The exact gradient of the expected objective, and the estimator's expectation.

    `outcomes` are all the outcomes with their (differentiable) chances.
    """
    exact = sum(chance * objective(scored, weights) for chance, scored in outcomes)
    control = baseline()
    for _ in range(2):  # its moving mean has seen other batches before this one
        control(torch.full((5, 2), 3.0), torch.zeros(5, 2, SEEN), torch.ones(5, 2))
    estimate = sum(
        chance.detach() * surrogate(scored, weights, control) for chance, scored in outcomes
    )
    assert isinstance(exact, Tensor)
    assert isinstance(estimate, Tensor)
    both = [torch.autograd.grad(v, parameters, retain_graph=True) for v in (exact, estimate)]
    return list(both[0]), list(both[1])


def two_steps(q: Tensor, p: Tensor, ink: Tensor) -> list[tuple[Tensor, Scored]]:
    """Stop at once, after one stroke, or after two; each outcome has a canvas of its own.

    `q` and `p` are two logits each, `ink` a parameter of the strokes' own terms.
    """
    outcomes = []
    for first, second in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]:
        alive = torch.tensor([[1.0, first]])
        on = (first, second)
        log_q = alive * torch.stack([log_bernoulli(q[t], on[t]) for t in range(2)])
        log_p = alive * torch.stack([log_bernoulli(p[t], on[t]) for t in range(2)])
        drawn = torch.tensor([first, second])
        likelihood = (torch.tensor([5.0, 7.0])[: int(drawn.sum())]).sum() - 3 * (drawn @ ink) ** 2
        marks = -(drawn * ink.square())[None]
        terms = scored_by_hand(likelihood[None], log_p - log_q, marks, log_q, alive)
        outcomes.append((log_q.sum().exp(), terms))
    return outcomes


@pytest.mark.parametrize(
    "weights", [Weights(), Weights(kl=0.3), Weights(kl=0.5, stop=4.0)], ids=str
)
def test_nvils_expected_gradient_is_the_exact_one(weights: Weights) -> None:
    q = torch.tensor([0.7, -0.4], requires_grad=True)
    p = torch.tensor([-0.3, 0.9], requires_grad=True)
    ink = torch.tensor([0.4, 0.8], requires_grad=True)
    outcomes = two_steps(q, p, ink)
    assert sum(chance.item() for chance, _ in outcomes) == pytest.approx(1)
    exact, estimate = gradients_of(outcomes, [q, p, ink], weights)
    for a, b in zip(exact, estimate, strict=True):
        assert (a != 0).all()
        torch.testing.assert_close(b, a)


def test_without_its_score_function_the_stopping_posterior_would_learn_nothing_true() -> None:
    q = torch.tensor([0.7, -0.4], requires_grad=True)
    outcomes = two_steps(q, torch.zeros(2), torch.tensor([0.4, 0.8]))
    exact, _ = gradients_of(outcomes, [q], Weights())
    alone = sum(chance.detach() * pathwise(scored, Weights()) for chance, scored in outcomes)
    assert isinstance(alone, Tensor)
    (without,) = torch.autograd.grad(alone, q)
    assert (without - exact[0]).abs().min() > 0.1


def guided(parameters: list[Tensor], detached: bool) -> list[tuple[Tensor, Scored]]:
    """All outcomes where o_2 looks at a canvas that a latent has drawn on.

    A layout l ~ N(μ, ½) is reparametrised; its picture is the canvas that q_on(o_2) is told of.
    The noise of l is one of five values, all of them as likely.  `parameters` are μ and a logit.
    """
    mean, logit = parameters
    none = torch.zeros(())
    outcomes = []
    for noise, second in product((-1.2, -0.5, 0.1, 0.9, 1.6), (0.0, 1.0)):
        layout = mean + 0.5 * noise
        canvas = torch.tanh(layout)
        seen = canvas.detach() if detached else canvas
        log_q = torch.stack([none, log_bernoulli(logit + 3 * seen, second)])[None]
        log_p = torch.stack([none, log_bernoulli(torch.tensor(0.5), second)])[None]
        mark = D.Normal(0.0, 1.0).log_prob(layout) - D.Normal(mean, 0.5).log_prob(layout)
        likelihood = -8 * (0.9 - canvas - 0.7 * second) ** 2
        marks = torch.stack([mark, none])[None]
        terms = scored_by_hand(likelihood[None], log_p - log_q, marks, log_q)
        outcomes.append((log_q.sum().exp() / 5, terms))
    return outcomes


def guided_parameters() -> list[Tensor]:
    return [torch.tensor(0.3, requires_grad=True), torch.tensor(0.2, requires_grad=True)]


def test_an_attached_canvas_would_give_the_exact_gradient() -> None:
    parameters = guided_parameters()
    exact, estimate = gradients_of(guided(parameters, detached=False), parameters, Weights())
    torch.testing.assert_close(estimate, exact)


def test_the_detached_canvas_biases_the_latents_that_draw_and_nothing_else() -> None:
    # The price of execution guidance without gradients (Section 3.1): layouts and strokes do not
    # learn what their ink makes the posterior decide later.
    parameters = guided_parameters()
    exact, _ = gradients_of(guided(parameters, detached=False), parameters, Weights())
    _, estimate = gradients_of(guided(parameters, detached=True), parameters, Weights())
    torch.testing.assert_close(estimate[1], exact[1])
    assert (estimate[0] - exact[0]).abs() > 0.1 * exact[0].abs()


def test_a_decisions_signal_is_what_comes_from_it_on() -> None:
    on = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    marks = torch.tensor([[10.0, 20.0, 30.0]], requires_grad=True)
    likelihood = torch.tensor([100.0], requires_grad=True)
    scored = scored_by_hand(likelihood, on, marks, on, pen=torch.tensor([1e6]))
    signal = learning_signal(scored, Weights())
    assert signal.tolist() == [[166.0, 155.0, 133.0]]
    assert not signal.requires_grad
    assert learning_signal(scored, Weights(kl=0.5)).tolist() == [[133.0, 127.5, 116.5]]


def test_beta_on_the_stop_weighs_the_stopping_terms_alone() -> None:
    scored = some_terms()
    times_four = scored._replace(on=4 * scored.on)
    weights = Weights(kl=0.7, stop=4.0)
    torch.testing.assert_close(
        learning_signal(scored, weights), learning_signal(times_four, Weights(kl=0.7))
    )
    torch.testing.assert_close(pathwise(scored, weights), pathwise(times_four, Weights(kl=0.7)))


def test_beta_on_the_signal_divides_its_likelihood_alone() -> None:
    scored = some_terms()
    weights = Weights(kl=0.7, signal=4.0)
    expected = scored._replace(log_likelihood=scored.log_likelihood / 4)
    torch.testing.assert_close(
        learning_signal(scored, weights), learning_signal(expected, Weights(kl=0.7))
    )
    assert pathwise(scored, weights).equal(pathwise(scored, Weights(kl=0.7)))


def test_the_pathwise_bound_at_weight_one_is_the_elbo() -> None:
    scored = some_terms()
    torch.testing.assert_close(pathwise(scored, Weights()), scored.log_weight.mean())


def test_the_bound_reports_beta_one_and_adds_up() -> None:
    scored = some_terms()
    terms = bound(scored, torch.full((3, 4, 4), 0.25))
    torch.testing.assert_close(terms.elbo, scored.log_weight.mean())
    parts = terms.likelihood - terms.kl_on - terms.kl_marks - terms.kl_pen
    torch.testing.assert_close(terms.elbo, parts)
    torch.testing.assert_close(terms.elbo, objective(scored, Weights()) / 3)
    assert terms.kl_on.item() == pytest.approx(-scored.on.sum().item() / 3)
    assert terms.strokes.item() == 4
    assert terms.error.item() == 0.25


# --------------------------------------------------------------------------- the baseline


def one_batch(value: float, rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Signals around `value`, what was seen, and alive, `[rows, 2]` or `[rows, 2, SEEN]`."""
    generator = torch.Generator().manual_seed(int(value))
    signal = value + torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    seen = torch.randn(rows, 2, SEEN, generator=generator, dtype=torch.float64)
    alive = torch.ones(rows, 2)
    alive[-1, 1] = 0
    return signal, seen, alive


def test_the_moving_mean_is_that_of_earlier_batches() -> None:
    control = baseline(memory=0.8)
    batches = [one_batch(value) for value in (10.0, 50.0, -20.0)]
    means = [(s * alive).sum() / alive.sum() for s, _, alive in batches]
    control(*batches[0])
    centres = [means[0], 0.8 * means[0] + 0.2 * means[1]]
    for centre, (signal, seen, alive) in zip(centres, batches[1:], strict=True):
        found, _ = control(signal, seen, alive)
        expected = (signal - centre - control.network(seen)[..., 0]) * alive
        torch.testing.assert_close(found, expected.detach())


def test_a_rows_centred_signal_does_not_depend_on_its_own_batch() -> None:
    for scaling in (False, True):
        control = baseline(scaling)
        control(*one_batch(10.0))
        signal, seen, alive = one_batch(50.0)
        other = signal.clone()
        other[1:] += 1000
        a, _ = copy.deepcopy(control)(signal, seen, alive)
        b, _ = copy.deepcopy(control)(other, seen, alive)
        assert a[0].equal(b[0])
        assert not a[1].equal(b[1])


def test_the_signal_is_divided_by_a_deviation_of_at_least_one() -> None:
    seen, alive = torch.zeros(4, 2, SEEN), torch.ones(4, 2)
    wide, narrow = torch.tensor([-30.0, 30]).repeat(4, 1), torch.tensor([-0.1, 0.1]).repeat(4, 1)
    for first, deviation in ((wide, 30.0), (narrow, 1.0)):
        control = baseline(scaling=True)
        control(first, seen, alive)
        found, _ = control(60 * torch.ones(4, 2), seen, alive)
        guess = control.network(seen)[..., 0]
        torch.testing.assert_close(found, (60 / deviation - guess).detach())


def test_the_baseline_learns_by_its_own_loss_alone() -> None:
    control = baseline()
    control(*one_batch(10.0))
    centred, loss = control(*one_batch(12.0))
    assert not centred.requires_grad
    torch.testing.assert_close(loss.detach(), centred.square().sum() / 7)
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in control.network.parameters())


def test_a_decision_that_was_not_made_has_no_signal() -> None:
    control = baseline()
    control(*one_batch(10.0))
    signal, seen, alive = one_batch(12.0)
    junk = signal + (1 - alive) * 1e6
    results = [copy.deepcopy(control)(s, seen, alive) for s in (signal, junk)]
    assert results[0][0].equal(results[1][0])
    assert results[0][1].equal(results[1][1])
    assert results[0][0][-1, 1] == 0

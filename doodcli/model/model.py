"""The model of Section 2: one loop over strokes, and the verbs that the experiments use.

Every verb is one pass of :meth:`DrawingModel.unroll`: *go on or stop → where (layout) → what
(stroke) → draw → composite*.  What differs is who chooses: the posterior (`infer`), the prior
(`imagine`, `complete`) or a drawing that is given (`log_joint`, `log_posterior`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.errors import InputError
from doodcli.model.canvas import LIKELIHOODS, composite, uncomposite
from doodcli.model.choosers import (
    UNTEMPERED,
    Continuation,
    Given,
    Imagination,
    PriorNoise,
    Temper,
)
from doodcli.model.decoder import DECODERS
from doodcli.model.drawing import Drawing, Token
from doodcli.model.layout import glimpse, layout_interval
from doodcli.model.networks import image_encoder
from doodcli.model.noise import Draw, Noise, noise_for
from doodcli.model.posterior import Posterior, Recognition
from doodcli.model.prior import PRIORS, pen_interval
from doodcli.model.steps import Decision, Mark, State, Unrolled, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from doodcli.model.steps import Chooser
    from doodcli.settings import ModelSettings


# Different uses of one seed (see noise.py).
PEN_NOISE, IMAGINATION, IMAGINED_PEN = 1, 2, 3


class Scored(NamedTuple):
    """Drawings from the posterior with every term of the bound (Eq. 9), in nats.

    `rows` is samples × batch, flattened.
    """

    drawing: Drawing
    """`[samples, batch, ...]`"""
    canvas: Tensor
    """`[rows, R, R]`"""
    log_likelihood: Tensor
    """`[rows]`, log p_comp of Eq. 5"""
    on: Tensor
    """`[rows, strokes]`, log p_on − log q_on of each stopping variable"""
    marks: Tensor
    """`[rows, strokes]`, log p − log q of each layout and stroke"""
    pen: Tensor
    """`[rows]`, log p − log q of a latent pen, else 0"""
    log_q_on: Tensor
    """`[rows, strokes]`, log q_on, for the score function"""
    alive: Tensor
    """`[rows, strokes]`, 1 where a stopping variable was drawn"""
    seen: Tensor
    """`[rows, strokes, k]`, detached: what NVIL's baseline reads before each decision"""

    @property
    def log_weight(self) -> Tensor:
        """log p(x, z) − log q(z | x), `[samples, batch]`."""
        total = self.log_likelihood + self.on.sum(-1) + self.marks.sum(-1) + self.pen
        return total.unflatten(0, self.drawing.present.shape[:2])


class Parts(NamedTuple):
    """The two parts of a pass that are most of it: what may be compiled."""

    advance: Callable[[int, Chooser, State], tuple[State, Decision, Mark]]
    """:meth:`DrawingModel.advance`"""
    prior_terms: Callable[[Unrolled], tuple[list[Tensor], list[Tensor]]]
    """:meth:`DrawingModel.prior_terms`"""


class DrawingModel(nn.Module):
    """Prior, posterior, the memories that they share, decoder, and likelihood: any variant.

    On the CPU drawings that have stopped are dropped from the pass; elsewhere, and where parts of
    it are compiled, they are carried along with weight 0, so that shapes are static.  Both give the
    same numbers.
    """

    scale: Tensor
    typical_pen: Tensor

    def __init__(self, settings: ModelSettings, draw_bias: float = 0.0) -> None:
        super().__init__()
        s = self.settings = settings
        self.interval, self.pen_interval = layout_interval(s), pen_interval()
        self.likelihood = LIKELIHOODS[s.likelihood]
        self.prior = PRIORS[s.prior](s)
        self.posterior = Posterior(s, draw_bias)
        if s.guidance:
            self.canvas_encoder = image_encoder(s, 1)
        if s.memories == "two":
            self.layout_rnn = nn.GRUCell(4 + s.canvas_features, s.hidden)
            self.stroke_rnn = nn.GRUCell(s.part_size + s.canvas_features, s.hidden)
        else:
            self.layout_rnn = nn.GRUCell(4 + s.part_size + s.canvas_features, s.hidden)
        self.decoder = DECODERS[s.decoder](s)
        # The scale of each pixel is learned in closed form (see canvas.Likelihood).
        self.register_buffer("scale", torch.full((s.resolution, s.resolution), 0.3))
        # A pen that is read off targets has no prior; drawings from the prior use the usual one.
        self.register_buffer("typical_pen", torch.zeros(3))

    @property
    def drops_stopped(self) -> bool:
        """Whether drawings that have stopped leave the pass."""
        return self.scale.device.type == "cpu"

    # ------------------------------------------------------------------ verbs

    def infer(
        self, images: Tensor, samples: int = 1, seed: int = 0, index: Tensor | None = None
    ) -> tuple[Drawing, Tensor]:
        """Parses drawn from q(z | x) (Eq. 6) and their log densities.

        `images` `[batch, R, R]` in [0, 1], or uint8; InputError for other sizes.
        `index` int64 `[batch]` names the images for their noise (default: their order).
        → drawing `[samples, batch, ...]`, log q `[samples, batch]` in nats.
        """
        images = self._input(images)
        index = torch.arange(len(images), device=images.device) if index is None else index
        noise = noise_for(index, samples, seed)
        drawing, steps, log_q_pen = self._recognise(images, noise)
        return drawing, (self._log_q(steps) + log_q_pen).unflatten(0, noise.shape)

    def score(self, images: Tensor, noise: Noise, compiled: Parts | None = None) -> Scored:
        """`infer` and `log_joint` fused: they share the canvas, so one pass serves both.

        `images` `[batch, R, R]` in [0, 1]; noise of shape `[samples, batch]`.  Parts that are
        `compiled` are so for one shape, and for passes with gradients.
        """
        drawing, steps, log_q_pen = self._recognise(images, noise, compiled)
        log_p_on, log_p_marks = (compiled or self).prior_terms(steps)
        rows = noise.shape.numel()

        def at_steps(values: list[Tensor]) -> Tensor:
            return spread(steps.decisions, values, rows, self.settings.strokes)

        log_q_on = at_steps([d.log_q for d in steps.decisions])
        log_q_marks = self._spread_marks(steps, [m.log_q for m in steps.marks])
        return Scored(
            drawing,
            steps.canvas,
            self.log_likelihood(images.repeat(noise.shape[0], 1, 1), steps.canvas),
            at_steps(log_p_on) - log_q_on,
            self._spread_marks(steps, log_p_marks) - log_q_marks,
            self._log_prior_of_pen(drawing.flat().pen) - log_q_pen,
            log_q_on,
            at_steps([torch.ones_like(d.on) for d in steps.decisions]),
            at_steps([_seen_by_baseline(d) for d in steps.decisions]),
        )

    def log_posterior(self, images: Tensor, drawing: Drawing) -> Tensor:
        """log q(z | x) of given drawings (Eq. 6): `[samples, batch]`, in nats.

        `images` `[batch, R, R]`, `drawing` `[samples, batch, ...]`.
        """
        images = self._input(images)
        flat = drawing.flat()
        target = self.posterior.target(images)
        which = torch.arange(len(flat.present), device=images.device) % len(images)
        chooser = Recognition(self.posterior, images, target, which, given=self._given(flat))
        steps = self.unroll(chooser, self._blank(flat.pen))
        log_q = self._log_q(steps)
        if self.settings.pen == "latent":
            log_q = log_q + self.posterior.pen(target[which]).log_density(
                self.pen_interval.free(flat.pen)
            )
        return log_q.reshape(drawing.present.shape[:-1])

    def log_prior(self, drawing: Drawing) -> Tensor:
        """log p(z) of given drawings (Eq. 1 without p_comp), `[...]`, in nats."""
        flat = drawing.flat()
        steps = self.unroll(self._given(flat), self._blank(flat.pen))
        on, marks = self.prior_terms(steps)
        total = spread(steps.decisions, on, len(flat.pen), self.settings.strokes).sum(-1)
        total = total + self._spread_marks(steps, marks).sum(-1)
        total = total + self._log_prior_of_pen(flat.pen)
        return total.reshape(drawing.present.shape[:-1])

    def log_joint(self, images: Tensor, drawing: Drawing) -> Tensor:
        """log p(x, z) (Eq. 1): `[samples, batch]`, in nats."""
        likelihood = self.log_likelihood(self._input(images), self.render(drawing))
        return self.log_prior(drawing) + likelihood

    def log_likelihood(self, images: Tensor, canvas: Tensor) -> Tensor:
        """log p_comp(x | canvas) (Eq. 5), `[...]`; `images` and `canvas` `[..., R, R]`."""
        return self.likelihood.log_density(images, canvas, self.scale)

    @torch.no_grad()
    def imagine(
        self, count: int, seed: int = 0, temper: Temper = UNTEMPERED, first: int = 0
    ) -> Drawing:
        """Drawings from the prior (Section 3.2): `[count, ...]`.

        `temper` narrows or widens the prior's Gaussians; as it is, it changes nothing.  `first`
        is the number of the first drawing, so that many can be made in chunks.
        """
        index = torch.arange(first, first + count, device=self.scale.device)
        noise = noise_for(index, 1, seed, IMAGINATION)
        if self.settings.pen == "latent":
            free = noise._replace(purpose=IMAGINED_PEN).normal(3)[0]
            pen = self.pen_interval.constrain(self.prior.pen().sample(temper.pen * free))
        else:
            pen = self.pen_interval.constrain(self.shared_pen().expand(count, 3))
        chooser = Imagination(self.prior, self._prior_noise(noise).tempered(temper))
        return self._drawing(self.unroll(chooser, self._blank(pen)), pen)

    @torch.no_grad()
    def complete(self, drawing: Drawing, canvas: Tensor, seed: int = 0) -> tuple[Drawing, Tensor]:
        """Partial pictures, finished by the prior (Section 3.2, "Partial completion").

        `drawing` `[count, ...]` is a parse of the partial pictures `canvas` `[count, R, R]`: its
        strokes and recurrent states are kept, and the picture itself becomes the canvas on which
        the prior goes on.  → the strokes of the parse and then the new ones, `[count, ...]`, and
        the finished pictures `[count, R, R]`: the given ones with the new strokes on them, which
        `render` cannot know.
        """
        canvas = self._input(canvas)
        noise = noise_for(torch.arange(len(canvas), device=canvas.device), 1, seed, IMAGINATION)
        rest = Imagination(self.prior, self._prior_noise(noise))
        total = self.uncomposite(canvas, drawing.pen)
        chooser = Continuation(self._given(drawing), rest, canvas, total)
        steps = self.unroll(chooser, self._blank(drawing.pen))
        # A parse of as many strokes as there can be leaves no step at which to put the picture.
        full = drawing.present.sum(-1) == self.settings.strokes
        finished = torch.where(full[:, None, None], canvas, steps.canvas)
        return self._drawing(steps, drawing.pen), finished

    def render(
        self, drawing: Drawing, token: Token | None = None, upto: int | None = None
    ) -> Tensor:
        """The canvas after `upto` strokes (default: all), `[..., R, R]`.

        In [0, 1), or without a pen from 0 on: there it is a plain sum.

        `token` perturbs the drawing: noise on its points, then an affine map of the canvas.
        Differentiable in everything.
        """
        flat = drawing.flat()
        parts, affine = self._in_groups(flat.strokes), None
        if token is not None:
            parts = parts + token.points.reshape_as(parts)
            affine = token.affine.reshape(-1, 2, 3)
        total = flat.pen.new_zeros(len(flat.pen), *self.scale.shape)
        for step in range(flat.present.shape[-1] if upto is None else upto):
            picture = self.decoder(flat.layout[:, step], parts[:, step], flat.pen, affine)
            total = total + flat.present[:, step, None, None] * picture
        canvas = self.composite(total, flat.pen)
        return canvas.reshape(*drawing.present.shape[:-1], *self.scale.shape)

    def composite(self, total: Tensor, pen: Tensor) -> Tensor:
        """The canvas of a sum of pictures `[n, R, R]`; without a pen, the sum itself (AIR)."""
        return total if self.settings.pen == "none" else composite(total, pen)

    def uncomposite(self, canvas: Tensor, pen: Tensor) -> Tensor:
        """The sum of pictures of which `canvas` `[n, R, R]` is the composite."""
        return canvas if self.settings.pen == "none" else uncomposite(canvas, pen)

    # --------------------------------------------------------------- the loop

    def unroll(self, chooser: Chooser, state: State) -> Unrolled:
        """One pass over the steps, from `state`, with the choices of `chooser` (Eqs. 1 and 6)."""
        if state.row is None:
            return self._unroll_all(chooser, state)
        decisions: list[Decision] = []
        marks: list[Mark] = []
        finished: list[tuple[Tensor, Tensor]] = []
        for step in range(self.settings.strokes):
            state, decision = self._decide(step, chooser, state)
            decisions.append(decision)
            stop, go = (decision.on == 0).nonzero()[:, 0], decision.on.nonzero()[:, 0]
            assert state.row is not None
            finished.append((state.row[stop], state.canvas[stop]))
            state = state.take(go)
            if not len(go):
                break
            state, mark = self._draw(step, chooser, state)
            marks.append(mark)
        assert state.row is not None
        finished.append((state.row, state.canvas))
        order = torch.argsort(torch.cat([row for row, _ in finished]))
        return Unrolled(decisions, marks, torch.cat([canvas for _, canvas in finished])[order])

    def _unroll_all(
        self, chooser: Chooser, state: State, compiled: Parts | None = None
    ) -> Unrolled:
        """As :meth:`unroll`, with drawings that have stopped carried along."""
        decisions: list[Decision] = []
        marks: list[Mark] = []
        for step in range(self.settings.strokes):
            if compiled is None:
                state, decision, mark = self.advance(step, chooser, state)
            else:
                # Every step as the first one of a chooser of its own: one compiled step for all.
                assert isinstance(chooser, Recognition)
                state = state.now(evidence=None)
                state, decision, mark = compiled.advance(0, chooser.only(step), state)
            decisions.append(decision)
            marks.append(mark)
        return Unrolled(decisions, marks, state.canvas)

    def advance(self, step: int, chooser: Chooser, state: State) -> tuple[State, Decision, Mark]:
        """One step of drawings that are all carried along."""
        state, decision = self._decide(step, chooser, state)
        state = state.now(alive=state.alive * decision.on)
        state, mark = self._draw(step, chooser, state)
        return state, decision, mark

    def _decide(self, step: int, chooser: Chooser, state: State) -> tuple[State, Decision]:
        """Look, remember, and go on or stop."""
        state = chooser.look(step, state)
        if state.canvas_features is None:
            state = state.now(canvas_features=self._embed(state.canvas))
        state = self._remember(state)
        on, log_q = chooser.on(step, state)
        return state, _decision(step, state, on, log_q)

    def _draw(self, step: int, chooser: Chooser, state: State) -> tuple[State, Mark]:
        """One stroke: where, what, ink, composite."""
        s = self.settings
        layout, log_q_layout = chooser.layout_at(step, state)
        where = self.interval.constrain(layout)
        frame = state.canvas.new_zeros(len(where), 0, 0)
        if s.guidance:
            frame = glimpse(where, state.canvas.detach(), s.glimpse, s.glimpse_margin)
        state = state.now(layout=layout)
        stroke, log_q_stroke = chooser.stroke_at(step, state, where, frame)
        picture = self.decoder(where, stroke, state.pen)
        total = state.total + state.alive[:, None, None] * picture
        state = state.now(
            total=total,
            canvas=self.composite(total, state.pen),
            stroke=stroke,
            canvas_features=None,
        )
        log_q = log_q_layout + log_q_stroke
        return state, Mark(
            step, state.row, state.alive, layout, stroke, log_q,
            state.layout_memory, state.stroke_memory, frame,
        )  # fmt: skip

    def _remember(self, state: State) -> State:
        """The recurrent states after the previous layout, the previous part and the canvas."""
        seen, part = state.canvas_features, state.stroke.flatten(1)
        assert seen is not None
        if self.settings.memories == "one":
            memory = self.layout_rnn(torch.cat([state.layout, part, seen], -1), state.layout_memory)
            return state.now(layout_memory=memory, stroke_memory=memory)
        layout = self.layout_rnn(torch.cat([state.layout, seen], -1), state.layout_memory)
        stroke = self.stroke_rnn(torch.cat([part, seen], -1), state.stroke_memory)
        return state.now(layout_memory=layout, stroke_memory=stroke)

    # ---------------------------------------------------------------- helpers

    def _recognise(
        self, images: Tensor, noise: Noise, compiled: Parts | None = None
    ) -> tuple[Drawing, Unrolled, Tensor]:
        """A pass with the posterior: the drawing, its steps, and log q of its pen `[rows]`."""
        s = self.settings
        rows = noise.shape.numel()
        target = self.posterior.target(images)
        which = None
        if rows != len(images):
            which = torch.arange(rows, device=images.device) % len(images)
        draws = [
            Draw(s.strokes),
            Draw(s.strokes * (4 + s.part_size), normal=True),
            *([Draw(3, normal=True, purpose=PEN_NOISE)] if s.pen == "latent" else []),
        ]
        uniform, normal, *of_pen = (part.flatten(0, 1) for part in noise.draw(draws))
        free, log_q_pen = self._choose_pen(target, which, rows, of_pen)
        pen = self.pen_interval.constrain(free)
        both = (uniform, normal.unflatten(-1, (s.strokes, -1)))
        chooser = Recognition(self.posterior, images, target, which, noise=both)
        if compiled is None:
            steps = self.unroll(chooser, self._blank(pen))
        else:
            steps = self._unroll_all(chooser, self._blank_as_later(pen), compiled)
        drawing = self._drawing(steps, pen).map(lambda part: part.unflatten(0, noise.shape))
        return drawing, steps, log_q_pen

    def _choose_pen(
        self, target: Tensor, which: Tensor | None, rows: int, noise: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The unconstrained pen of each row, `[rows, 3]`, and its log q, `[rows]`.

        `noise` is `[rows, 3]` where the pen is latent.
        """
        none = target.new_zeros(rows)
        if self.settings.pen in ("global", "none"):
            return self.shared_pen().expand(rows, 3), none
        q = self.posterior.pen(target)
        if which is not None:
            q = type(q)(*(part[which] for part in q))
        if self.settings.pen == "amortised":
            return q.mean, none
        free = q.sample(*noise)
        return free, q.log_density(free)

    def free_pen(self, pen: Tensor) -> Tensor:
        """The unconstrained coordinates of pens, `[..., 3]`."""
        return self.pen_interval.free(pen)

    def shared_pen(self) -> Tensor:
        """The unconstrained pen of a model whose pen is no latent, `[3]`."""
        return self.prior.pen_raw if self.settings.pen == "global" else self.typical_pen

    def _log_prior_of_pen(self, pen: Tensor) -> Tensor:
        """log p(pen) in unconstrained coordinates, `[rows]`; 0 where the pen is no latent."""
        if self.settings.pen != "latent":
            return pen.new_zeros(len(pen))
        return self.prior.pen().log_density(self.pen_interval.free(pen))

    def prior_terms(self, steps: Unrolled) -> tuple[list[Tensor], list[Tensor]]:
        """log p of each stopping variable and of each mark, all steps in one batch."""
        logit = self.prior.on(
            torch.cat([d.canvas_features for d in steps.decisions]),
            torch.cat([d.layout_memory for d in steps.decisions]),
        )
        on = torch.cat([d.on for d in steps.decisions])
        log_on = -F.binary_cross_entropy_with_logits(logit, on, reduction="none")
        of_decisions = list(log_on.split([len(d.on) for d in steps.decisions]))
        if not steps.marks:
            return of_decisions, []
        layout = torch.cat([m.layout for m in steps.marks])
        stroke = torch.cat([m.stroke for m in steps.marks])
        frame = torch.cat([m.frame for m in steps.marks])
        layout_memory = torch.cat([m.layout_memory for m in steps.marks])
        stroke_memory = torch.cat([m.stroke_memory for m in steps.marks])
        log_p = self.prior.layout(layout_memory).log_density(layout)
        parts = self.prior.stroke(stroke_memory, layout, frame)
        log_p = log_p + parts.log_density(parts.grouped(stroke)).sum(-1)
        return of_decisions, list(log_p.split([len(m.layout) for m in steps.marks]))

    def _log_q(self, steps: Unrolled) -> Tensor:
        """log q of the stopping variables, layouts and strokes of a pass, `[rows]`."""
        rows, most = len(steps.canvas), self.settings.strokes
        on = spread(steps.decisions, [d.log_q for d in steps.decisions], rows, most).sum(-1)
        return on + self._spread_marks(steps, [m.log_q for m in steps.marks]).sum(-1)

    def _spread_marks(self, steps: Unrolled, values: list[Tensor]) -> Tensor:
        shape = (len(steps.canvas), self.settings.strokes)
        return spread(steps.marks, values, *shape) if values else steps.canvas.new_zeros(shape)

    def _drawing(self, steps: Unrolled, pen: Tensor) -> Drawing:
        """The drawing that a pass made, `[rows, ...]`; strokes that are not there are zeros."""
        s = self.settings
        layout = pen.new_zeros(len(pen), s.strokes, 4)
        strokes = pen.new_zeros(len(pen), s.strokes, *s.part_shape)
        present = pen.new_zeros(len(pen), s.strokes)
        if steps.marks:
            ones = [torch.ones_like(m.log_q) for m in steps.marks]
            present = self._spread_marks(steps, ones).detach()
            layout = self._spread_marks(steps, [m.layout for m in steps.marks])
            strokes = self._spread_marks(steps, [m.stroke for m in steps.marks])
        if s.latent == "code":
            strokes = strokes.flatten(2)
        return Drawing(present, self.interval.constrain(layout), strokes, pen)

    def _given(self, drawing: Drawing) -> Given:
        strokes = self._in_groups(drawing.strokes)
        return Given(drawing.present, self.interval.free(drawing.layout), strokes)

    def _in_groups(self, strokes: Tensor) -> Tensor:
        """Parts of drawings on one axis, `[rows, strokes, groups, size]`: codes are one group."""
        return strokes.reshape(*strokes.shape[:2], *self.settings.part_shape)

    def _input(self, images: Tensor) -> Tensor:
        """Images `[batch, R, R]` as the model reads them; InputError if they are of other sizes."""
        side = self.settings.resolution
        if images.dim() != 3 or images.shape[1:] != (side, side):
            raise InputError(
                f"images of shape {list(images.shape)}: this model reads [batch, {side}, {side}]; "
                "doodcli.data.load_images resizes"
            )
        return as_input(images)

    def _embed(self, canvas: Tensor) -> Tensor:
        if not self.settings.guidance:
            return canvas.new_zeros(len(canvas), 0)
        return self.canvas_encoder(canvas.detach()[:, None])

    def _blank(self, pen: Tensor) -> State:
        """Nothing drawn: all variables at step 0 are 0 (Section 2.1)."""
        s, rows = self.settings, len(pen)
        blank = pen.new_zeros(1, s.resolution, s.resolution)
        memory = pen.new_zeros(rows, s.hidden)
        return State(
            row=torch.arange(rows, device=pen.device) if self.drops_stopped else None,
            alive=pen.new_ones(rows),
            pen=pen,
            total=blank.expand(rows, -1, -1),
            canvas=blank.expand(rows, -1, -1),
            layout=pen.new_zeros(rows, 4),
            stroke=pen.new_zeros(rows, *s.part_shape),
            layout_memory=memory,
            stroke_memory=memory,
            # Every canvas is the same blank one: embedded once for all rows.
            canvas_features=self._embed(blank).expand(rows, -1),
        )

    def _blank_as_later(self, pen: Tensor) -> State:
        """Nothing drawn, in tensors like those of later steps: one compiled step serves all."""
        blank = self._blank(pen)
        total = blank.total.contiguous().requires_grad_()
        canvas = self.composite(total, pen)
        memory = blank.layout_memory.requires_grad_()
        other = memory if self.settings.memories == "one" else blank.stroke_memory.clone()
        return blank.now(
            row=None, total=total, canvas=canvas, layout=blank.layout.requires_grad_(),
            stroke=blank.stroke.requires_grad_(), layout_memory=memory,
            stroke_memory=other, canvas_features=None,
        )  # fmt: skip

    def _prior_noise(self, noise: Noise) -> PriorNoise:
        """Numbers for one drawing of the prior each: `noise` has shape `[1, rows]`."""
        s = self.settings
        groups = s.part_shape[0]
        uniform = noise.uniform(s.strokes * (2 + groups))[0].unflatten(-1, (s.strokes, -1))
        normal = noise.normal(s.strokes * (4 + s.part_size))[0].unflatten(-1, (s.strokes, -1))
        return PriorNoise(uniform[..., 0], uniform[..., 1:], normal)


def as_input(images: Tensor) -> Tensor:
    """Images in [0, 1], float32, from such images or from uint8."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _decision(step: int, state: State, on: Tensor, log_q: Tensor) -> Decision:
    assert state.canvas_features is not None
    return Decision(
        step, state.row, state.alive, on, log_q,
        state.canvas_features, state.layout_memory, state.evidence,
    )  # fmt: skip


def _seen_by_baseline(decision: Decision) -> Tensor:
    assert decision.evidence is not None
    return torch.cat([decision.evidence, decision.layout_memory], -1).detach()

"""The yardstick of the benchmark: a training step as the paper's reference implementation has it.

Fixed, so that numbers of different versions compare: eager float32; all six steps for every
image, with masks; convolutions without pooling (1→8→16, then 33,856→256→256) that are called one
picture at a time, once for the target and five times a step; heads of 2×256 tanh and two GRUs of
256; 40 correlated components; ink as a dense `[batch, 50, 50, 100]` Gaussian; Adam.  Nothing in
it is slower than that makes it, and nothing of it is used by the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doodcli.learning.batches import batch_of_step
from doodcli.learning.objective import (
    Baseline,
    Bound,
    Weights,
    bound,
    learning_signal,
    nvil_surrogate,
    pathwise,
)
from doodcli.model.canvas import composite, laplace_log_density
from doodcli.model.drawing import Drawing
from doodcli.model.layout import Interval, glimpse, layout_interval, place_points
from doodcli.model.mixtures import Gaussian, Mixture
from doodcli.model.model import Scored, as_input
from doodcli.model.noise import noise_for
from doodcli.model.prior import LAYOUT_RAW, LEAST_DEVIATION, PEN, layout_gaussian, point_gaussian
from doodcli.model.renderer import bezier, normalise, pixel_centres
from doodcli.settings import LearningSettings, ModelSettings

if TYPE_CHECKING:
    from doodcli.model.noise import Noise

REFERENCE = ModelSettings(
    components=40,
    curve_samples=100,
    pen="amortised",
    scale_least=0.25,
    glimpse=50,
    glimpse_margin=1.0,
    channels=(8, 16),
    glimpse_channels=(8, 16),
    features=256,
    hidden=256,
)
BETA = 4.0
RATE, BASELINE_RATE = 1e-4, 1e-3
DRAW_BIAS = 2.0


def dense_ink(curve: Tensor, width: Tensor, resolution: int) -> Tensor:
    """Ink by its definition, Σ_s exp(−‖p − c_s‖²/2σ²), one exponential per pixel and sample.

    `curve` `[n, samples, 2]` in canvas coordinates, `width` σ `[n]` in half canvases →
    `[n, resolution, resolution]`, rows top to bottom, in the type of `curve`.
    """
    centres = pixel_centres(resolution, curve)
    apart_x, apart_y = (curve[:, None] - centres[:, None, None]).square().unbind(-1)
    distance = apart_y[:, :, None] + apart_x[:, None]  # [n, resolution, resolution, samples]
    return torch.exp(distance / (-2 * width * width)[:, None, None, None]).sum(-1)


def dense_stroke_picture(points: Tensor, pen: Tensor, samples: int, resolution: int) -> Tensor:
    """The same as :func:`doodcli.model.renderer.stroke_picture`, from dense ink."""
    picture = normalise(dense_ink(bezier(points, samples), pen[:, 0], resolution))
    return torch.tanh(picture / pen[:, 1, None, None])


def encoder(size: int, features: int) -> nn.Sequential:
    """An image encoder without pooling: `[n, 1, size, size]` → `[n, features]`."""
    flat = 16 * (size - 4) ** 2
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(flat, features), nn.ReLU(), nn.Linear(features, features)),
    )


def mlp(inputs: int, hidden: int, outputs: int, bias: Tensor | None = None) -> nn.Sequential:
    """Two hidden layers of tanh, and a last layer that starts near zero around `bias`."""
    last = nn.Linear(hidden, outputs)
    with torch.no_grad():
        last.weight.mul_(0.01)
        if bias is not None:
            last.bias.copy_(bias)
    layers = [nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Page:
    """What the next step is told, a row per image."""

    present: Tensor
    """`[batch]`, 0 for images that have stopped"""
    total: Tensor
    """`[batch, R, R]`, sum of the strokes' pictures"""
    canvas: Tensor
    """`[batch, R, R]`"""
    layout: Tensor
    """`[batch, 4]`, the previous layout, unconstrained"""
    stroke: Tensor
    """`[batch, points, 2]`, the previous control points"""
    layout_memory: Tensor
    """`[batch, hidden]`"""
    stroke_memory: Tensor
    """`[batch, hidden]`"""


class Terms(NamedTuple):
    """What one step adds to the bound and to the drawing, a row per image."""

    alive: Tensor
    present: Tensor
    on: Tensor
    log_q_on: Tensor
    marks: Tensor
    layout: Tensor
    stroke: Tensor
    seen: Tensor


class Reference(nn.Module):
    """Prior, posterior and likelihood of the yardstick; its one verb is :meth:`score`."""

    def __init__(self, settings: ModelSettings = REFERENCE) -> None:
        super().__init__()
        s = self.settings = settings
        self.interval: Interval = layout_interval(s)
        seen, hidden = s.features, s.hidden
        self.image_encoder = encoder(s.resolution, seen)
        self.glimpse_encoder = encoder(s.glimpse, seen)
        self.layout_rnn = nn.GRUCell(4 + seen, hidden)
        self.stroke_rnn = nn.GRUCell(2 * s.points + seen, hidden)
        self.pen_head = mlp(seen, hidden, 3)
        self.q_on = mlp(seen + 1, hidden, 1, torch.tensor([DRAW_BIAS]))
        self.q_layout = mlp(hidden + 2 * seen, hidden, LAYOUT_RAW)
        self.q_stroke = mlp(hidden + 4 + 2 * seen, hidden, 5 * s.points)
        self.p_on = mlp(seen, hidden, 1, torch.tensor([DRAW_BIAS]))
        start = torch.randn(s.components * (1 + LAYOUT_RAW)) * 0.5
        self.p_layout = mlp(hidden, hidden, len(start), start)
        start = torch.randn(s.points * s.components * 6) * 0.5
        self.p_stroke = mlp(hidden + 4 + seen, hidden, len(start), start)
        self.scale_raw = nn.Parameter(torch.zeros(s.resolution, s.resolution))

    def score(self, images: Tensor, noise: Noise) -> Scored:
        """One posterior sample an image, with every term of the bound (Eq. 9).

        `images` `[batch, R, R]` in [0, 1]; noise of shape `[1, batch]`.
        """
        s = self.settings
        target = self.image_encoder(images[:, None])
        pen = PEN.constrain(self.pen_head(target))
        uniform = noise.uniform(s.strokes)[0]
        normal = noise.normal(s.strokes * (4 + 2 * s.points))[0].unflatten(-1, (s.strokes, -1))
        page, steps = self._blank(len(images), images), []
        for step in range(s.strokes):
            page, terms = self._step(images, target, pen, page, uniform[:, step], normal[:, step])
            steps.append(terms)
        every = Terms(*(torch.stack(parts, 1) for parts in zip(*steps, strict=True)))
        floor = s.scale_floor
        scale = floor + (1 - floor) * torch.sigmoid(self.scale_raw)
        drawing = Drawing(every.present, self.interval.constrain(every.layout), every.stroke, pen)
        return Scored(
            drawing.map(lambda part: part[None]),
            page.canvas,
            laplace_log_density(images, page.canvas, scale),
            every.on,
            every.marks,
            target.new_zeros(len(images)),
            every.log_q_on,
            every.alive,
            every.seen,
        )

    def _step(
        self,
        images: Tensor,
        target: Tensor,
        pen: Tensor,
        page: Page,
        uniform: Tensor,
        normal: Tensor,
    ) -> tuple[Page, Terms]:
        """Go on or stop, where, what, draw, composite: for every image, drawing or not."""
        s, alive, canvas = self.settings, page.present, page.canvas.detach()
        residual = images - canvas
        evidence = self.image_encoder(residual[:, None])
        canvas_seen = self.image_encoder(canvas[:, None])

        share = residual.sum((1, 2)) / images.sum((1, 2)).clamp_min(1.0)
        logit = self.q_on(torch.cat([evidence, share[:, None]], -1))[:, 0]
        present = alive * (uniform < torch.sigmoid(logit))
        log_q_on = alive * _bernoulli(logit, present)
        on = alive * _bernoulli(self.p_on(canvas_seen)[:, 0], present) - log_q_on

        told = torch.cat([page.layout, canvas_seen], -1)
        layout_memory = self.layout_rnn(told, page.layout_memory)
        raw = self.q_layout(torch.cat([layout_memory, evidence, target], -1))
        q_layout = layout_gaussian(raw, LEAST_DEVIATION)
        layout = q_layout.sample(normal[:, :4])
        where = self.interval.constrain(layout)

        framed = glimpse(where, images, s.glimpse, s.glimpse_margin)
        drawn = glimpse(where, canvas, s.glimpse, s.glimpse_margin)
        target_frame, residual_frame, canvas_frame = (
            self.glimpse_encoder(frame[:, None]) for frame in (framed, framed - drawn, drawn)
        )
        told = torch.cat([page.stroke.flatten(1), canvas_seen], -1)
        stroke_memory = self.stroke_rnn(told, page.stroke_memory)
        raw = self.q_stroke(torch.cat([stroke_memory, layout, target_frame, residual_frame], -1))
        q_stroke = point_gaussian(raw.unflatten(-1, (-1, 5)), s.point_reach, LEAST_DEVIATION)
        stroke = q_stroke.sample(normal[:, 4:].unflatten(-1, (-1, 2)))

        log_p = self._prior_of_layout(layout_memory).log_density(layout)
        p_stroke = self._prior_of_stroke(stroke_memory, layout, canvas_frame)
        log_p = log_p + p_stroke.log_density(stroke).sum(-1)
        log_q = q_layout.log_density(layout) + q_stroke.log_density(stroke).sum(-1)

        points = place_points(where, stroke)
        picture = dense_stroke_picture(points, pen, s.curve_samples, s.resolution)
        total = page.total + present[:, None, None] * picture
        seen = [target, canvas_seen, page.layout, page.stroke.flatten(1)]
        terms = Terms(
            alive, present, on, log_q_on, present * (log_p - log_q), layout, stroke,
            torch.cat(seen, -1).detach(),
        )  # fmt: skip
        canvas = composite(total, pen)
        return Page(present, total, canvas, layout, stroke, layout_memory, stroke_memory), terms

    def _prior_of_layout(self, memory: Tensor) -> Mixture:
        raw = self.p_layout(memory).unflatten(-1, (self.settings.components, -1))
        return _mixture(raw, layout_gaussian(raw[..., 1:], LEAST_DEVIATION))

    def _prior_of_stroke(self, memory: Tensor, layout: Tensor, frame: Tensor) -> Mixture:
        s = self.settings
        raw = self.p_stroke(torch.cat([memory, layout, frame], -1))
        raw = raw.unflatten(-1, (s.points, s.components, 6))
        return _mixture(raw, point_gaussian(raw[..., 1:], s.point_reach, LEAST_DEVIATION))

    def _blank(self, rows: int, like: Tensor) -> Page:
        s = self.settings
        blank = like.new_zeros(rows, s.resolution, s.resolution)
        memory = like.new_zeros(rows, s.hidden)
        layout, stroke = like.new_zeros(rows, 4), like.new_zeros(rows, s.points, 2)
        return Page(like.new_ones(rows), blank, blank, layout, stroke, memory, memory)


class ReferenceBaseline(nn.Module):
    """NVIL's baseline: a GRU over what each step knew, then the network and moving averages."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.GRUCell(inputs, hidden)
        self.baseline = Baseline(hidden, hidden, LearningSettings())

    def forward(self, signal: Tensor, seen: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`doodcli.learning.objective.Baseline.forward`."""
        memory, memories = seen.new_zeros(len(seen), self.rnn.hidden_size), []
        for now in seen.unbind(1):
            memory = self.rnn(now, memory)
            memories.append(memory)
        return self.baseline(signal, torch.stack(memories, 1), alive)


class ReferenceTrainer:
    """Trains the yardstick on `images` uint8 `[n, 50, 50]`, a step a call."""

    def __init__(self, images: Tensor, batch_size: int, seed: int, device: str) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Reference()
            s = model.settings
            baseline = ReferenceBaseline(2 * s.features + 4 + 2 * s.points, s.hidden)
        self.model, self.baseline = model.to(device), baseline.to(device)
        self.images, self.batch_size, self.seed = images.to(device), batch_size, seed
        self.count = 0
        groups = [
            {"params": [*self.model.parameters()], "lr": RATE},
            {"params": [*self.baseline.parameters()], "lr": BASELINE_RATE},
        ]
        fused = torch.device(device).type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(groups, fused=fused)

    def step(self) -> Bound:
        """One training step: forward, bound, NVIL, backward, update."""
        where = batch_of_step(len(self.images), self.batch_size, self.seed, self.count)
        where = where.to(self.images.device)
        images = as_input(self.images[where])
        scored = self.model.score(images, noise_for(where, 1, self.seed, first=self.count))
        weights = Weights(signal=BETA)
        signal, baseline_loss = self.baseline(
            learning_signal(scored, weights), scored.seen, scored.alive
        )
        score = nvil_surrogate(signal, scored.log_q_on)
        loss = baseline_loss - pathwise(scored, weights) - score
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.count += 1
        return Bound(*(term.detach() for term in bound(scored, images)))


def _bernoulli(logit: Tensor, value: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(logit, value, reduction="none")


def _mixture(raw: Tensor, parts: Gaussian) -> Mixture:
    return Mixture(F.log_softmax(raw[..., 0], -1), parts)

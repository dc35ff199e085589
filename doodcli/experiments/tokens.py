"""Types and tokens (Section 3.2): a parse is a type, and a token is one way of writing it.

A token moves the strokes and control points of its type a little, maps the canvas by an affine
map about the drawing's centre, and has a pen of its own.  Each of these is a deviation times a
standard normal coordinate z, so the prior is

    log p(token | type) = −½ |z|² − ½ (number of coordinates) log 2π.

:func:`fit` finds for every pair of a type and a picture x the token of greatest

    log p̃(x | type, token) − ½ |z|²,

and that is its score.  p̃ is a tempered likelihood: a normal one of slightly blurred pictures, with
a scale far above the model's.  Its constant is the same for all types and left out, as is the
prior's.  The latter must be: with Gaussians over points in the place of z, a deviation of .001 is
worth +6 nats a coordinate, and types of many strokes would win.  In z the constants cancel, since
Laplace's approximation of log ∫ p̃ p(token) is the score less ½ log det(I + JᵀJ), where J is the
derivative by z of the picture in units of its scale.  A coordinate that does not show, such as all
of a stroke off the canvas, adds nothing to score or determinant.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from doodcli.errors import InputError
from doodcli.model.drawing import Drawing, Token
from doodcli.model.model import DrawingModel
from doodcli.model.prior import PEN
from doodcli.model.renderer import pixel_centres

if TYPE_CHECKING:
    from collections.abc import Sequence

PAIRS = 128
"""Pairs that are fitted at once: bounds the memory, changes nothing but rounding."""

MEMORY = (0.8, 0.95)
"""Adam's: shorter than usual, for so few steps."""

STRAIGHT = 0.05
"""Share of its rate with which Adam ends."""

FARTHEST = 3.0
"""Deviations by which a fit starts away from its type at most."""


def _option(default: float, text: str) -> float:
    """A field with its help text."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TokenSettings:
    """The token's prior, the likelihood, and how tokens are fitted."""

    shift: float = _option(0.12, "deviation of the drawing's shift, in half canvases")
    growth: float = _option(0.2, "deviation of the log scales in x and in y")
    turn: float = _option(0.1, "deviation of the rotation, in radians")
    shear: float = _option(0.1, "deviation of the shear")
    pen: float = _option(0.5, "deviation of the pen, in unconstrained coordinates")
    stroke_shift: float = _option(0.06, "deviation of a stroke's shift, in half canvases")
    point_noise: float = _option(0.1, "deviation of a control point in half frames, or of a code")
    pixel_scale: float = _option(0.5, "deviation of a blurred pixel: more tempers the likelihood")
    blur: float = _option(1.5, "pixels by which pictures are blurred before they are compared")
    blur_start: float = _option(3.0, "that blur at the first step")
    steps: int = dataclasses.field(default=55, metadata={"help": "steps of Adam in all"})
    coarse_steps: int = dataclasses.field(
        default=15, metadata={"help": "of these, steps of all pairs, under a blur that falls"}
    )
    keep: float = _option(0.25, "share of the types that each picture goes on with after those")
    rate: float = _option(0.15, "Adam's rate, in deviations of the prior")
    curve_samples: int = dataclasses.field(
        default=32, metadata={"help": "points at which a curve is inked for a fit, at most"}
    )


def check(settings: TokenSettings) -> TokenSettings:
    """The settings, if tokens can be fitted with them; else InputError."""
    ranges = {
        **dict.fromkeys(
            ("shift", "growth", "turn", "shear", "pen", "stroke_shift", "point_noise"), (1e-4, 10)
        ),
        "pixel_scale": (1e-3, 1e3),
        "blur": (0.5, 10),
        "blur_start": (0.5, 10),
        "coarse_steps": (0, settings.steps),
        "keep": (0, 1),
        "rate": (1e-4, 10),
        "curve_samples": (2, math.inf),
    }
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise InputError(f"token.{name}={value}: must be from {low:g} to {high:g}")
    return settings


class Coordinates(NamedTuple):
    """z: tokens of n types, standard normal under the prior."""

    affine: Tensor
    """`[n, 6]`: shift x, shift y, log scale x, log scale y, rotation, shear"""
    pen: Tensor
    """`[n, 3]`"""
    strokes: Tensor
    """`[n, strokes, 2]`, shifts of strokes; without a spline renderer `[n, strokes, 0]`"""
    parts: Tensor
    """`[n, strokes, ...]`: noise on control points, or on codes, as the strokes of a drawing"""

    @property
    def log_prior(self) -> Tensor:
        """log p(token | type) without its constant, `[n]`, in nats."""
        return -0.5 * torch.stack([part.square().flatten(1).sum(1) for part in self]).sum(0)

    def take(self, rows: Tensor, strokes: int) -> Coordinates:
        """Some of the tokens, of types that have no more than so many strokes."""
        short = (part[rows, :strokes] for part in (self.strokes, self.parts))
        return Coordinates(self.affine[rows], self.pen[rows], *short)

    def put(self, rows: Tensor, tokens: Coordinates) -> None:
        """The reverse of :meth:`take`, in place."""
        strokes = tokens.strokes.shape[1]
        self.affine[rows], self.pen[rows] = tokens.affine, tokens.pen
        self.strokes[rows, :strokes], self.parts[rows, :strokes] = tokens.strokes, tokens.parts


def origin(model: DrawingModel, types: Drawing) -> Coordinates:
    """The tokens that are just as their types `[n, ...]`."""
    new, (count, strokes) = types.pen.new_zeros, types.present.shape
    # A network's code has no place on the canvas.
    shifts = 2 if model.settings.decoder == "spline" else 0
    parts = new(count, *types.strokes.shape[1:])
    return Coordinates(new(count, 6), new(count, 3), new(count, strokes, shifts), parts)


def spread(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Where the ink of pictures `[n, R, R]` is: mean and deviation in x and y, `[n, 2]` each.

    In half canvases; those of a blank picture are 0 and small.
    """
    at = pixel_centres(pictures.shape[-1], pictures)
    mass = pictures.sum((1, 2)).clamp_min(1e-3)
    share = torch.stack([pictures.sum(1), pictures.sum(2)], 1) / mass[:, None, None]
    mean = share @ at
    return mean, (share @ at.square() - mean.square()).clamp_min(1e-4).sqrt()


def written(
    types: Drawing, centre: Tensor, z: Coordinates, settings: TokenSettings
) -> tuple[Drawing, Token]:
    """What coordinates mean: the types with their tokens' pens, and noise and affine maps.

    `centre` `[n, 2]` stays where it is but for the shift.
    """
    noise = settings.point_noise * z.parts
    if z.strokes.shape[-1]:
        # A shift is one of the canvas, noise is one of the stroke's frame; it has no direction,
        # so that the frame's rotation does not matter.
        shift = settings.stroke_shift * z.strokes / types.layout[..., :1]
        noise = noise + shift[:, :, None]
    pen = PEN.constrain(PEN.free(types.pen) + settings.pen * z.pen)
    return types._replace(pen=pen), Token(noise, affine_maps(centre, z.affine, settings))


def affine_maps(centre: Tensor, z: Tensor, settings: TokenSettings) -> Tensor:
    """Affine maps `[n, 2, 3]` of coordinates `[n, 6]`: scales, shear, rotation, then the shift."""
    scale = torch.exp(settings.growth * z[:, 2:4])
    turn, lean = settings.turn * z[:, 4], settings.shear * z[:, 5]
    cos, sin, one = torch.cos(turn), torch.sin(turn), torch.ones_like(turn)
    rotation = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
    shear = torch.stack([one, lean, 0 * one, one], -1).unflatten(-1, (2, 2))
    linear = rotation @ shear * scale[:, None]
    shift = centre + settings.shift * z[:, :2] - (linear @ centre[:, :, None])[..., 0]
    return torch.cat([linear, shift[:, :, None]], -1)


def blur_matrix(resolution: int, blur: float, like: Tensor) -> Tensor:
    """B `[R/2, R]`: B x Bᵀ is the picture x blurred by a Gaussian, at every second pixel."""
    at = torch.arange(resolution, device=like.device, dtype=like.dtype)
    apart = (at[::2, None] + 0.5 - at) / blur
    return torch.exp(-0.5 * apart.square()) / (blur * math.sqrt(2 * math.pi))


def log_likelihood(
    canvas: Tensor, pictures: Tensor, blur: float, settings: TokenSettings
) -> Tensor:
    """log p̃(x | canvas) without its constant, `[n]`, in nats: normal, of blurred pictures."""
    matrix = blur_matrix(canvas.shape[-1], blur, canvas)
    apart = matrix @ (canvas - pictures) @ matrix.T / settings.pixel_scale
    every = 4  # of so many pixels one is looked at
    return -0.5 * every * apart.square().sum((1, 2))


class Fitted(NamedTuple):
    """The tokens of all pairs of a type and a picture."""

    z: Coordinates
    """of `[types × pictures]`, flattened"""
    log_score: Tensor
    """`[types, pictures]`, log p̃(x | type, token) − ½ |z|², in nats"""


def light(model: DrawingModel, settings: TokenSettings) -> DrawingModel:
    """A copy of a model that draws curves by fewer points, and whose weights do not learn."""
    samples = min(model.settings.curve_samples, settings.curve_samples)
    copy = DrawingModel(dataclasses.replace(model.settings, curve_samples=samples))
    copy.load_state_dict(model.state_dict())
    return copy.to(model.scale.device).eval().requires_grad_(False)


def fit(model: DrawingModel, types: Drawing, pictures: Tensor, settings: TokenSettings) -> Fitted:
    """The best token of every type `[n, ...]` for every picture `[m, R, R]` in [0, 1].

    All pairs take the coarse steps; then each picture goes on with the types that score best.
    A pair that was dropped keeps its score, which more steps could only have raised.
    """
    fitting = _Fitting(light(model, settings), types, pictures, settings)
    count, left = settings.coarse_steps, settings.steps - settings.coarse_steps
    falling = [
        settings.blur_start * (settings.blur / settings.blur_start) ** (step / max(1, count - 1))
        for step in range(count)
    ]
    pairs = torch.arange(fitting.log_score.numel(), device=pictures.device)
    fitting.advance(pairs, falling, [settings.rate] * count)
    if left:
        slowing = [
            settings.rate * max(STRAIGHT, math.cos(math.pi / 2 * step / left))
            for step in range(left)
        ]
        fitting.advance(fitting.hopeful(), [settings.blur] * left, slowing)
    return Fitted(fitting.z, fitting.log_score)


@torch.no_grad()
def draw(
    model: DrawingModel, types: Drawing, fitted: Fitted, pairs: Tensor, settings: TokenSettings
) -> tuple[Tensor, Tensor]:
    """The fitted tokens of some pairs: each stroke alone `[pairs, strokes, R, R]`, and the whole
    `[pairs, R, R]`.

    `pairs` int64 `[pairs]` counts them along the rows of `fitted.log_score`.
    """
    some = types.map(lambda part: part[pairs // fitted.log_score.shape[1]])
    strokes = some.present.shape[-1]
    centre, _ = spread(model.render(some))
    drawing, token = written(some, centre, fitted.z.take(pairs, strokes), settings)
    alone = [
        drawing._replace(present=drawing.present * only) for only in torch.eye(strokes).to(centre)
    ]
    pictures = torch.stack([model.render(one, token) for one in alone], 1)
    return pictures, model.render(drawing, token)


class _Fitting:
    """All pairs of a type and a picture, on their way."""

    def __init__(
        self, model: DrawingModel, types: Drawing, pictures: Tensor, settings: TokenSettings
    ) -> None:
        self.model, self.types, self.pictures, self.settings = model, types, pictures, settings
        with torch.no_grad():
            canvas = model.render(types)
        self.centre, size = spread(canvas)
        self.strokes = types.present.sum(-1).long()
        there, large = spread(pictures)
        # The ink of a token begins where that of its picture is, and as large.
        shift = (there[None] - self.centre[:, None]) / settings.shift
        growth = torch.log(large[None] / size[:, None]) / settings.growth
        start = torch.cat([shift, growth], -1).clamp(-FARTHEST, FARTHEST).flatten(0, 1)
        pairs = torch.arange(len(start), device=start.device)
        self.z = origin(model, types.map(lambda part: part[self.type_of(pairs)]))
        self.z.affine[:, :4] = start
        self.log_score = start.new_full((len(types.pen), len(pictures)), -math.inf)

    def type_of(self, pairs: Tensor) -> Tensor:
        """The type of each pair, in its row of the scores."""
        return pairs // len(self.pictures)

    def hopeful(self) -> Tensor:
        """The pairs that go on: of each picture's types those that score best."""
        count = max(1, math.ceil(self.settings.keep * len(self.log_score)))
        least = self.log_score.topk(count, 0).values[-1]
        return (self.log_score >= least).flatten().nonzero()[:, 0]

    def advance(self, pairs: Tensor, blurs: Sequence[float], rates: Sequence[float]) -> None:
        """Steps of Adam for these pairs, then their scores; those of few strokes first."""
        order = torch.argsort(self.strokes[self.type_of(pairs)], stable=True)
        for some in pairs[order].split(PAIRS):
            which = self.type_of(some)
            # Strokes that are not there cost as much as those that are.
            most = int(self.strokes[which].max())
            present, layout, strokes, pen = (part[which] for part in self.types)
            types = Drawing(present[:, :most], layout[:, :most], strokes[:, :most], pen)
            view = _Some(self, types, self.centre[which], self.pictures[some % len(self.pictures)])
            z = view.descend(self.z.take(some, most), blurs, rates)
            self.z.put(some, z)
            with torch.no_grad():
                score = view.log_score(z, self.settings.blur)
            self.log_score.view(-1)[some] = score


class _Some(NamedTuple):
    """As many pairs as are fitted at once."""

    fitting: _Fitting
    types: Drawing
    centre: Tensor
    pictures: Tensor

    def log_score(self, z: Coordinates, blur: float) -> Tensor:
        """log p̃(x | type, token) − ½ |z|², `[n]`."""
        settings = self.fitting.settings
        canvas = self.fitting.model.render(*written(self.types, self.centre, z, settings))
        return log_likelihood(canvas, self.pictures, blur, settings) + z.log_prior

    def descend(
        self, z: Coordinates, blurs: Sequence[float], rates: Sequence[float]
    ) -> Coordinates:
        """Adam, with a blur and a rate for each step."""
        parts = [part.clone().requires_grad_() for part in z]
        optimiser = torch.optim.Adam(parts, betas=MEMORY)
        for blur, rate in zip(blurs, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate
            loss = -self.log_score(Coordinates(*parts), blur).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return Coordinates(*(part.detach() for part in parts))

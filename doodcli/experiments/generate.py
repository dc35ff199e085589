"""New drawings (Section 3.2): samples of the prior, exemplars, completions (Figs. 6 to 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from doodcli.errors import InputError
from doodcli.experiments.reconstruct import label, strokes_alone, title
from doodcli.model.choosers import PAPER_TEMPER, UNTEMPERED, Temper
from doodcli.model.drawing import Drawing, Token
from doodcli.model.model import as_input
from doodcli.model.noise import Noise, noise_for

if TYPE_CHECKING:
    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel
    from doodcli.settings import ModelSettings

VERSION = 2
"""Raised when the same settings would give other drawings."""

ROWS = 1024
"""Drawings that are made at once: bounds the memory, changes nothing but rounding."""

HOTTEST = 10.0
"""Largest temperature: beyond it layouts lie at the ends of their ranges."""

TOKEN_NOISE = 4
"""The purpose of a token's noise; the model's verbs have those below."""

# Noise of a token (protocol of the reference implementation), its unit frame being two of our half
# frames: deviations of the middle control point, .1, and of its neighbours, .003.
MIDDLE_NOISE, NEIGHBOUR_NOISE = 0.2, 0.006
# The paper adds noise to the codes of AIR too, and does not say how much: a fifth of the deviation
# that their prior has.
CODE_NOISE = 0.2
# Most that a token shifts (half canvases), grows, turns and leans (radians).  The paper draws them
# from Gaussians, the reference implementation has ranges: deviations are half the range, cut off.
SHIFT, GROWTH, TURN, SHEAR = 0.1, 0.1, 0.1 * math.pi, 0.1 * math.pi
CUT = 2.0


class Temperature(NamedTuple):
    """What --temperature says."""

    name: str
    """`1`, another number, or `paper`"""
    temper: Temper

    @staticmethod
    def parse(text: str) -> Temperature:
        """A number from 0 on, or `paper`: the three factors of the paper's samples.

        InputError for anything else.
        """
        if text == "paper":
            return Temperature(text, PAPER_TEMPER)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= HOTTEST:
            raise InputError(
                f"--temperature {text}: give a number from 0 to {HOTTEST:g} (1 is the model's "
                "own), or paper"
            )
        return Temperature(f"{value:g}", Temper.of(value))

    @property
    def tempered(self) -> bool:
        """Whether what is drawn is no sample of the model."""
        return self.temper != UNTEMPERED

    @property
    def remark(self) -> str:
        """What a picture's title adds; "" for samples of the model."""
        how = "tempered as in the paper" if self.name == "paper" else f"temperature {self.name}"
        return f", {how}" if self.tempered else ""


class Samples(NamedTuple):
    """Drawings from the prior of a run."""

    title: str
    drawing: Drawing
    """`[count, ...]`"""
    pictures: Tensor
    """`[count, R, R]`"""
    table: pd.DataFrame
    """a row a sample"""


class Parse(NamedTuple):
    """The best of several parses of each image, by log joint."""

    drawing: Drawing
    """`[n, ...]`"""
    log_joint: Tensor
    """`[n]`, log p(x, z) in nats"""
    number: Tensor
    """int64 `[n]`, which of the posterior's samples it was"""


class Exemplars(NamedTuple):
    """New exemplars of a few images (Fig. 7)."""

    label: str
    dataset: str
    targets: Tensor
    """`[n, R, R]`"""
    parse: Drawing
    """`[n, ...]`, the type of which all exemplars of an image are tokens"""
    strokes: Tensor
    """`[strokes, n, R, R]`, each stroke of the parse alone"""
    pictures: Tensor
    """`[num, n, R, R]`"""
    table: pd.DataFrame
    """a row an exemplar"""


class Beginning(NamedTuple):
    """Partial pictures, and how they came to be."""

    how: str
    pictures: Tensor
    """`[n, R, R]` in [0, 1]"""


class Completions(NamedTuple):
    """Partial pictures, finished by the prior (Fig. 8)."""

    label: str
    dataset: str
    wholes: Tensor
    """`[n, R, R]`, of which the partial pictures are parts"""
    given: Tensor
    """`[n, R, R]`, the partial pictures"""
    pictures: Tensor
    """`[num, n, R, R]`"""
    table: pd.DataFrame
    """a row a completion"""


@torch.no_grad()
def sample(run: Run, count: int, temperature: Temperature, seed: int, device: str) -> Samples:
    """`count` drawings from the prior; their log prior is that of temperature 1."""
    model = run.model(device)
    drawings, pictures, log_prior = [], [], []
    for first in range(0, count, ROWS):
        some = model.imagine(min(ROWS, count - first), seed, temperature.temper, first)
        drawings.append(some)
        pictures.append(model.render(some))
        log_prior += model.log_prior(some).tolist()
    drawing = _joined(drawings)
    table = pd.DataFrame(
        {
            **run.provenance(),
            "sample": range(count),
            "evaluation_seed": seed,
            "temperature": temperature.name,
            "tempered": temperature.tempered,
            "strokes": drawing.stroke_count.int().tolist(),
            "log_prior_nats": log_prior,
        }
    )
    return Samples(label(run) + temperature.remark, drawing, torch.cat(pictures), table)


@torch.no_grad()
def best_parse(
    model: DrawingModel,
    images: Tensor,
    index: Tensor,
    samples: int,
    seed: int,
    most: int | None = None,
) -> Parse:
    """Of `samples` posterior samples of each image `[n, R, R]` the one of greatest log joint.

    `index` int64 `[n]` names the images for their noise.  With `most` a parse is over after so
    many strokes, and its log joint is that of what it drew until then.
    """
    at_once = max(1, ROWS // samples)
    parts = []
    for some, names in zip(images.split(at_once), index.split(at_once), strict=True):
        drawings, _ = model.infer(some, samples, seed, names)
        if most is not None:
            drawings = drawings.first(most)
        log_joint = model.log_joint(some, drawings)
        best = log_joint.argmax(0)
        each = torch.arange(len(some), device=best.device)
        parts.append(
            Parse(drawings.map(lambda p, k=(best, each): p[k]), log_joint[best, each], best)
        )
    return Parse(
        _joined([part.drawing for part in parts]),
        torch.cat([part.log_joint for part in parts]),
        torch.cat([part.number for part in parts]),
    )


@torch.no_grad()
def exemplars(
    run: Run, images: ImageSet, num: int, samples: int, seed: int, device: str
) -> Exemplars:
    """`num` new exemplars of each image: tokens of its best parse of `samples`, rendered.

    "Character-conditioned generation": the parse is the type, a token of it (see :func:`tokens`)
    an exemplar; for a model with appearance codes the noise is on those.
    """
    model = run.model(device)
    targets, index = as_input(images.images.to(device)), images.index.to(device)
    parse = best_parse(model, targets, index, samples, seed)
    error = (targets - model.render(parse.drawing)).abs().mean((1, 2))
    pictures = []
    for number in range(num):
        noise = noise_for(index, 1, seed, TOKEN_NOISE, first=number)
        one = parse.drawing.map(lambda part: part[None])
        pictures.append(model.render(one, tokens(one, noise, run.settings.model)))
    table = _rows(run, images, parse, num, samples, seed).assign(
        exemplar=list(range(num)) * len(targets),
        strokes=_each(parse.drawing.stroke_count.int(), num),
        parse_error=_each(error, num),
    )
    strokes = strokes_alone(model, parse.drawing)
    return Exemplars(
        label(run), title(images), targets, parse.drawing, strokes, torch.cat(pictures), table
    )


def tokens(drawing: Drawing, noise: Noise, settings: ModelSettings) -> Token:
    """One token each of drawings `[samples, batch, ...]`: noise of that shape → `[..., 2, 3]`.

    Noise on the middle of a stroke bends it and leaves its ends where they are; then an affine
    map of the canvas turns, leans, grows and shifts all strokes together.
    """
    shape = drawing.strokes.shape[2:]
    normal = noise.normal(6 + shape.numel())
    points = normal[..., 6:].unflatten(-1, shape) * _part_noise(settings).to(normal)
    shift, growth, turn, shear = normal[..., :6].clamp(-CUT, CUT).div(CUT).split([2, 2, 1, 1], -1)
    grown = torch.diag_embed(1 + GROWTH * growth)
    turn, lean = TURN * turn[..., 0], torch.tan(SHEAR * shear[..., 0])
    one, none = torch.ones_like(turn), torch.zeros_like(turn)
    leaning = torch.stack([one, lean, none, one], -1).unflatten(-1, (2, 2))
    turned = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], -1)
    linear = turned.unflatten(-1, (2, 2)) @ leaning @ grown
    return Token(points, torch.cat([linear, SHIFT * shift[..., None]], -1))


def _part_noise(settings: ModelSettings) -> Tensor:
    """Deviations of the noise on a part: `[points, 1]` of control points, `[1]` of codes."""
    if settings.latent == "code":
        return torch.tensor([CODE_NOISE])
    order = torch.arange(settings.points)
    away = (order - (settings.points - 1) / 2).abs()  # from the middle, which may lie between two
    middle = torch.where(away < 1, MIDDLE_NOISE, torch.where(away < 2, NEIGHBOUR_NOISE, 0.0))
    return middle[:, None]


@torch.no_grad()
def completions(
    run: Run,
    images: ImageSet,
    num: int,
    samples: int,
    seed: int,
    device: str,
    strokes_given: int | None = None,
    begun: Tensor | None = None,
) -> Completions:
    """`num` completions of each partial picture ("Partial completion").

    Its best parse of `samples` gives the recurrent states, the picture itself is the canvas on
    which the prior goes on.  A parse is over after as many strokes as were given, and at the latest
    with one left to add: a model that always draws the most strokes would find them even in a dot,
    and could then add nothing.  What a parse has not drawn is on the picture.

    The partial pictures are `images` as they are or, of `strokes_given` strokes, `begun` (uint8 as
    the images, their first true strokes) or else what :func:`erased` leaves.
    """
    model = run.model(device)
    wholes, index = as_input(images.images.to(device)), images.index.to(device)
    given = Beginning("whole picture", wholes)
    if strokes_given is not None and begun is not None:
        given = Beginning("first true strokes", as_input(begun.to(device)))
    elif strokes_given is not None:
        parse = best_parse(model, wholes, index, samples, seed)
        given = Beginning("erased", erased(model, wholes, parse.drawing, strokes_given))
    most = run.settings.model.strokes - 1
    if strokes_given is not None:
        most = min(most, strokes_given)
    parse = best_parse(model, given.pictures, index, samples, seed, most)
    pictures, strokes = [], []
    for k, name in enumerate(index.tolist()):
        copies = parse.drawing.map(lambda part, k=k: part[k].expand(num, *part.shape[1:]))
        canvas = given.pictures[k].expand(num, -1, -1)
        # The seed names the image: what becomes of it does not depend on its company.
        drawing, finished = model.complete(copies, canvas, seed + (name << 32))
        pictures.append(finished)
        strokes += drawing.stroke_count.int().tolist()
    table = _rows(run, images, parse, num, samples, seed).assign(
        given=given.how,
        strokes_given=math.nan if strokes_given is None else strokes_given,
        ink_given=_each(given.pictures.sum((1, 2)) / wholes.sum((1, 2)).clamp_min(1e-6), num),
        completion=list(range(num)) * len(wholes),
        strokes_parsed=_each(parse.drawing.stroke_count.int(), num),
        strokes=strokes,
    )
    return Completions(
        label(run), title(images), wholes, given.pictures, torch.stack(pictures, 1), table
    )


def erased(model: DrawingModel, images: Tensor, drawing: Drawing, strokes: int) -> Tensor:
    """Images `[n, R, R]` without the ink that their parse draws after its first `strokes`.

    A pixel keeps its ink where the first strokes lay as much as the later ones do, so also where
    the two cross; elsewhere it keeps the ratio, which falls off as steeply as a stroke's edge.
    Ink that no later stroke explains stays: nothing is erased after the last stroke.
    """
    alone = strokes_alone(model, drawing)
    first, later = alone[:strokes].sum(0), alone[strokes:].sum(0)
    return images * torch.where(first < later, first / later, 1.0)


def _rows(
    run: Run, images: ImageSet, parse: Parse, num: int, samples: int, seed: int
) -> pd.DataFrame:
    """What `num` drawings of each image have in common, a row a drawing, image by image."""
    joint = "log_joint_nats" if run.settings.model.pen != "amortised" else "leaky_log_joint_nats"
    return pd.DataFrame(
        {
            **run.provenance(),
            "dataset": images.name,
            "part": images.part,
            "fingerprint": images.fingerprint,
            "remark": images.remark,
            "index": _each(images.index, num),
            "class": [images.classes[k] for k in _each(images.labels, num)],
            "evaluation_seed": seed,
            "samples": samples,
            "best_sample": _each(parse.number, num),
            joint: _each(parse.log_joint, num),
        }
    )


def _each(values: Tensor, num: int) -> list:
    """The values `[n]`, each `num` times."""
    return values.repeat_interleave(num).tolist()


def _joined(drawings: list[Drawing]) -> Drawing:
    """Drawings `[some, ...]` each, one after the other."""
    return Drawing(*map(torch.cat, zip(*drawings, strict=True)))

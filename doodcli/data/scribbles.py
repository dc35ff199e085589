"""Scribbles: characters of made-up alphabets, drawn by the model's own renderer.

A small offline twin of Omniglot whose true strokes are known.  An alphabet is a style, a class
is a fixed set of strokes in that style, an instance is one way of writing it: noise on its
control points, a small affine map and a pen of its own, as in :class:`doodcli.model.drawing.Token`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from doodcli.model.canvas import composite
from doodcli.model.drawing import Drawing
from doodcli.model.layout import place_points
from doodcli.model.prior import PEN
from doodcli.model.renderer import bezier, stroke_picture
from doodcli.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor

MODEL = ModelSettings()  # the paper's canvas, strokes and control points

ALPHABETS = 8
TEST_ALPHABETS = 2
CHARACTERS = 12
INSTANCES = 20
CANDIDATES = 24  # characters of a style, of which the most different are kept

POINT_NOISE = 0.035  # half frames
SHIFT, TURN, SHEAR, GROWTH = 0.04, 0.07, 0.08, 0.05  # deviations of an instance's affine map
MOST = 2.0  # deviations at which that noise is cut off

# How the heading of a stroke turns along the way, as shares of its whole turn.
ALONG = np.linspace(0, 1, 64)
TURNS = {
    "line": 0.1 * ALONG,
    "arc": ALONG,
    "wide arc": 1.5 * ALONG,
    "hook": np.clip((ALONG - 0.55) / 0.4, 0, 1) * 1.5,
    "cane": np.clip(ALONG / 0.4, 0, 1) * 1.5,
    "corner": np.clip((ALONG - 0.4) / 0.2, 0, 1) * 1.2,
    "wave": 1.3 * np.sin(2 * np.pi * ALONG),
    "loop": 2.6 * ALONG,
}
CALM = ("line", "arc", "hook")  # what a stroke that is added to others mostly looks like
CLOSE = 0.13  # half canvases: nearer strokes run into each other
SLOWEST = 0.35  # speed of a pen, of its mean speed
REACH = 1.2  # half frames: a frame is as large as its control points need, if it can be


class Style(NamedTuple):
    """What the characters of an alphabet have in common."""

    counts: tuple[int, int]
    """fewest and most strokes of a character"""
    kinds: tuple[str, ...]
    """the keys of TURNS that its strokes are made of"""
    turn: float
    """radians that an arc turns; its sign is the hand's"""
    headings: tuple[float, ...]
    """directions in which strokes set out, in radians"""
    joint: float
    """how often a stroke crosses the one before it in the middle, instead of at an end"""
    slant: float
    """radians by which upright strokes lean to the right"""
    width: float
    """of a character, per height"""
    size: float
    """half the larger side of a character, in half canvases"""
    pen: tuple[float, ...]
    """ink width, slope of a stroke, slope of the canvas"""


def scribbles_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """The data set in the one-file format (see `doodcli.data.files`): 1,920 images of 50×50.

    Six of its eight alphabets train, two test.
    """
    pictures = _pictures(scribbles_drawings(seed))
    alphabet = np.repeat(np.arange(ALPHABETS), CHARACTERS * INSTANCES)
    names = [f"Scribble{i + 1}" for i in range(ALPHABETS)]
    return {
        "images": (pictures * 255).round().byte().numpy(),
        "labels": np.repeat(np.arange(ALPHABETS * CHARACTERS), INSTANCES).astype(np.int16),
        "split": (alphabet >= ALPHABETS - TEST_ALPHABETS).astype(np.uint8),
        "classes": np.array([f"{n}/character{i + 1:02}" for n in names for i in range(CHARACTERS)]),
        "alphabet": alphabet.astype(np.int16),
        "alphabets": np.array(names),
    }


def scribbles_begun(index: Tensor, strokes: int) -> np.ndarray:
    """The images at these places, int64 [n], with their first strokes only: uint8 [n, 50, 50]."""
    whole = scribbles_drawings().map(lambda part: part[index])
    present = whole.present.clone()
    present[:, strokes:] = 0
    return (_pictures(whole._replace(present=present)) * 255).round().byte().numpy()


@cache
def scribbles_drawings(seed: int = 0) -> Drawing:
    """The true drawings `[1920, ...]` of the images of :func:`scribbles_arrays`, in their order."""
    drawings = []
    for alphabet in range(ALPHABETS):
        # RandomState, because its stream is frozen for ever
        random = np.random.RandomState([seed, alphabet])
        style = _style(random)
        drawings += [_instances(strokes, style, random) for strokes in _characters(style, random)]
    return Drawing(*(torch.cat(parts) for parts in zip(*drawings, strict=True)))


def _style(random: np.random.RandomState) -> Style:
    fewest = random.randint(1, 4)
    kinds = random.permutation(sorted(set(TURNS) - {"line"}))[:3]
    downwards = np.pi / 2
    others = random.permutation(np.array([-3, -2, -1, 1, 2]))[:2] * np.pi / 4
    low, high = np.array([0.028, 0.2, 0.35]), np.array([0.048, 0.5, 0.7])
    return Style(
        counts=(fewest, min(4, fewest + random.randint(1, 3))),
        kinds=("line", *map(str, kinds)),
        turn=float(random.choice([-1, 1]) * random.uniform(1.4, 2.0)),
        headings=(downwards, *(float(downwards + other) for other in others)),
        joint=float(random.uniform(0.1, 0.6)),
        slant=float(random.uniform(-0.15, 0.3)),
        width=float(random.uniform(0.7, 1.2)),
        size=float(random.uniform(0.58, 0.68)),
        pen=tuple(map(float, random.uniform(low, high))),
    )


def _characters(style: Style, random: np.random.RandomState) -> list[Tensor]:
    """The classes of an alphabet: canvas control points `[strokes, points, 2]` each.

    Of many candidates the next is always the one that looks least like those before it.
    """
    candidates: list[Tensor] = []
    while len(candidates) < CANDIDATES:
        paths = _character(style, random)
        if _legible(paths):
            strokes = _fitted(paths)
            if _even(strokes) and _framed(strokes, style.slant)[1].abs().max() <= MODEL.point_reach:
                candidates.append(strokes)
    pen = torch.tensor([style.pen], dtype=torch.float64)
    counts = torch.tensor([len(strokes) for strokes in candidates])
    of_candidate = torch.arange(CANDIDATES).repeat_interleave(counts)
    inked = _inked(torch.cat(candidates), pen.expand(len(of_candidate), 3))
    pictures = composite(
        torch.zeros(CANDIDATES, *inked.shape[1:]).to(inked).index_add(0, of_candidate, inked),
        pen.expand(CANDIDATES, 3),
    )
    blurred = torch.nn.functional.avg_pool2d(pictures[:, None], 5, 3).flatten(1)
    apart = torch.cdist(blurred, blurred)
    chosen = [0]
    while len(chosen) < CHARACTERS:
        chosen.append(int(apart[chosen].amin(0).argmax()))
    return [candidates[i] for i in sorted(chosen)]


def _character(style: Style, random: np.random.RandomState) -> np.ndarray:
    """Paths `[strokes, 64, 2]` on the canvas; each touches or crosses one before it."""
    count = random.randint(style.counts[0], style.counts[1] + 1)
    paths: list[np.ndarray] = []
    for _ in range(count):
        path = _path(style, random, alone=count == 1, first=not paths)
        if paths:
            other = paths[random.randint(len(paths))]
            if random.rand() < style.joint:
                here, there = (len(path) // 2, len(other) // 2)
            else:
                here, there = random.choice([0, -1]), random.choice([0, len(other) // 2, -1])
            path = path - path[here] + other[there]
        paths.append(path)
    together = np.stack(paths) * [style.width, 1.0]
    together[..., 0] -= np.tan(style.slant) * together[..., 1]
    low, high = together.min((0, 1)), together.max((0, 1))
    return (together - (low + high) / 2) * (2 * style.size / (high - low).max())


def _legible(paths: np.ndarray) -> bool:
    """Whether a character has some height and width, and no stroke runs along another."""
    extent = np.ptp(paths, (0, 1))
    if extent.min() < 0.3 * extent.max():
        return False
    few = paths[:, ::4]
    apart = np.linalg.norm(few[:, None, :, None] - few[None, :, None], axis=-1)
    share = (apart.min(-1) < CLOSE).mean(-1)
    return bool((share[~np.eye(len(few), dtype=bool)] < 0.4).all())


def _fitted(paths: np.ndarray) -> Tensor:
    """The control points `[strokes, points, 2]` whose curves are nearest to the paths."""
    return torch.from_numpy(np.einsum("ps,ksd->kpd", _curve_matrices()[1], paths))


def _curves(strokes: Tensor) -> np.ndarray:
    """Points along curves, `[strokes, 64, 2]`."""
    # Without matrix products: a small one on many threads takes longest on a busy machine.
    return np.einsum("sp,kpd->ksd", _curve_matrices()[0], strokes.numpy())


@cache
def _curve_matrices() -> tuple[np.ndarray, np.ndarray]:
    """From control points to points along their curve, `[64, points]`, and back."""
    matrix = bezier(torch.eye(MODEL.points, dtype=torch.float64), len(ALONG)).numpy()
    return matrix, np.linalg.pinv(matrix)


def _even(strokes: Tensor) -> bool:
    """Whether curves are nowhere drawn so slowly that the rest of their ink looks faint."""
    speed = np.linalg.norm(np.diff(_curves(strokes), axis=1), axis=-1)
    return bool((speed.min(1) > SLOWEST * speed.mean(1)).all())


def _path(style: Style, random: np.random.RandomState, *, alone: bool, first: bool) -> np.ndarray:
    """A smooth line `[64, 2]` of about unit length, from the origin; one that is alone turns."""
    kinds = [k for k in style.kinds if not (alone and k == "line")]
    if not first and random.rand() < 0.6:
        kinds = [k for k in kinds if k in CALM]
    kind = str(random.choice(kinds))
    turn = style.turn * random.uniform(0.8, 1.2) * (-1 if random.rand() < 0.2 else 1)
    heading = random.choice(style.headings) + turn * TURNS[kind] - turn * TURNS[kind].mean()
    length = random.uniform(0.8, 1.2) if first else random.choice([0.5, 0.75, 1.0])
    steps = np.stack([np.cos(heading), np.sin(heading)], -1) * length / len(ALONG)
    return np.cumsum(steps, 0)


def _instances(strokes: Tensor, style: Style, random: np.random.RandomState) -> Drawing:
    """Ways of writing one character: drawings `[20, ...]`."""

    def noise(*shape: int) -> np.ndarray:
        return np.clip(random.standard_normal(shape), -MOST, MOST)

    layout, points = _framed(strokes, style.slant)
    points = points + POINT_NOISE * torch.from_numpy(noise(INSTANCES, *points.shape))
    growth, turn = np.exp(GROWTH * noise(INSTANCES)), TURN * noise(INSTANCES)
    shear, shift = SHEAR * noise(INSTANCES), SHIFT * noise(INSTANCES, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    leaning = np.stack([np.ones_like(shear), shear, 0 * shear, np.ones_like(shear)], -1)
    affine = torch.from_numpy(growth[:, None, None] * rotation @ leaning.reshape(-1, 2, 2))
    moved = place_points(layout.expand(INSTANCES, -1, -1), points) @ affine.transpose(1, 2)[:, None]
    moved = moved + torch.from_numpy(shift)[:, None, None]
    # Shift, turn and growth go into the layout; what it cannot say, the shear, into the points.
    centre = layout[None, :, 1:3] @ affine.transpose(1, 2) + torch.from_numpy(shift)[:, None]
    grown = layout[None, :, :1] * torch.from_numpy(growth)[:, None, None]
    turned = layout[None, :, 3:] + torch.from_numpy(turn)[:, None, None]
    layout = _in_range(torch.cat([grown, centre, turned.expand_as(grown)], -1))
    pen = torch.tensor(style.pen) * torch.from_numpy(np.exp(0.08 * noise(INSTANCES, 3)))
    low, high = PEN.middle - PEN.radius, PEN.middle + PEN.radius
    count = len(strokes)
    drawing = Drawing(
        torch.zeros(INSTANCES, MODEL.strokes),
        torch.tensor([0.6, 0, 0, 0]).repeat(INSTANCES, MODEL.strokes, 1),
        torch.zeros(INSTANCES, MODEL.strokes, MODEL.points, 2),
        pen.clamp(1.01 * low, 0.99 * high).float(),
    )
    drawing.present[:, :count] = 1
    drawing.layout[:, :count] = layout
    drawing.strokes[:, :count] = _unplaced(layout, moved)
    return drawing


def _framed(strokes: Tensor, slant: float) -> tuple[Tensor, Tensor]:
    """Layouts `[strokes, 4]` whose frames hold their strokes, and the points in the frames."""
    curve = torch.from_numpy(_curves(strokes))
    low, high = curve.amin(1, keepdim=True), curve.amax(1, keepdim=True)
    centre = (low + high) / 2
    scale = torch.maximum(
        (high - low).amax((1, 2)) / 2, (strokes - centre).abs().amax((1, 2)) / REACH
    )
    turn = torch.full_like(scale, slant)
    layout = _in_range(torch.stack([scale, centre[:, 0, 0], centre[:, 0, 1], turn], -1))
    return layout, _unplaced(layout, strokes)


def _in_range(layout: Tensor) -> Tensor:
    """Layouts moved just inside the model's ranges."""
    shift, turn = 0.99 * MODEL.shift_most, 0.99 * MODEL.rotation_most
    low = torch.tensor([1.01 * MODEL.scale_least, -shift, -shift, -turn])
    return layout.clamp(low, torch.tensor([0.99, shift, shift, turn]))


def _unplaced(layout: Tensor, points: Tensor) -> Tensor:
    """The inverse of `place_points`: points of the canvas in the frames of their strokes."""
    scale, shift, turn = layout[..., :1], layout[..., 1:3], layout[..., 3:]
    none = torch.zeros_like(shift)
    back = torch.cat([1 / scale, none, -turn], -1)
    return place_points(back, points - shift[..., None, :])


def _pictures(drawing: Drawing) -> Tensor:
    """What drawings look like, `[n, 50, 50]`: as DrawingModel.render, without a model."""
    # In float64, so that no rounding to 255 levels depends on the machine.
    present, layout, strokes, pen = (part.double() for part in drawing)
    placed = place_points(layout, strokes)
    pictures = torch.zeros(len(pen), MODEL.resolution, MODEL.resolution, dtype=torch.float64)
    for count in range(1, MODEL.strokes + 1):
        these = present.sum(1) == count
        if these.any():
            total = sum(_inked(placed[these, step], pen[these]) for step in range(count))
            assert isinstance(total, torch.Tensor)
            pictures[these] = composite(total, pen[these])
    return pictures


def _inked(strokes: Tensor, pen: Tensor) -> Tensor:
    """Pictures `[n, 50, 50]` of strokes given by control points `[n, points, 2]` on the canvas."""
    return stroke_picture(strokes, pen, MODEL.curve_samples, MODEL.resolution)

"""Drawings kept as curves, to draw themselves where no model is: `animations.json`."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from doodcli.report.document import Sketch, Sketches, Strip
from doodcli.report.paths import Paths, Stroke

if TYPE_CHECKING:
    from torch import Tensor

    from doodcli.report.folder import Folder

FILE = "animations.json"

DIGITS = 4
"""Of coordinates, in half canvases: far below a pixel."""


def as_record(index: int, target: Tensor, drawing: Paths) -> dict[str, Any]:
    """One image `[R, R]` in [0, 1] and the strokes that were drawn of it, as JSON can hold them."""
    return {
        "index": index,
        "target": base64.b64encode(_png(target)).decode(),
        "ink": round(drawing.ink, DIGITS),
        "overlap": round(drawing.overlap, DIGITS),
        "strokes": [
            {"points": stroke.points.round(DIGITS).tolist(), "width": round(stroke.width, DIGITS)}
            for stroke in drawing.strokes
        ],
    }


def read_sketches(folder: Folder) -> Sketches | None:
    """The drawings of a folder of results, if there are any."""
    value = folder.json(FILE)
    if value is None:
        return None
    try:
        strips = [
            Strip(run["title"], [(part["title"], _sketches(part)) for part in run["sets"]])
            for run in value["runs"]
        ]
        skipped = [(one["run"], one["reason"]) for one in value["skipped"]]
        seed = value["seed"]
    except (KeyError, TypeError, ValueError):
        folder.broken[FILE] = "is not of this version"
        return None
    caption = (
        "Test images, and each model's drawings of them: one sample of its posterior (seed "
        f"{seed}), as curves with round pens. Strokes are in colour, in the order in which the "
        "model drew them."
    )
    return Sketches(caption, strips, skipped, [FILE])


def _sketches(part: dict[str, Any]) -> list[Sketch]:
    return [
        Sketch(
            one["target"],
            Paths(
                [Stroke(np.array(s["points"], float), float(s["width"])) for s in one["strokes"]],
                float(one["ink"]),
                float(one["overlap"]),
            ),
        )
        for one in part["images"]
    ]


def _png(target: Tensor) -> bytes:
    """Ink as black on white."""
    pixels = (255 * (1 - target.clamp(0, 1))).round().byte().cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

"""Drawings as SVG: one path a stroke, in drawing order; still, or drawing itself.

SVG has no command for curves of more than four control points.  A Bézier curve of degree n is cut
into k pieces of equal time, and each becomes the cubic with its ends and its derivatives there
(Hermite interpolation), so that the path is smooth.  The remainder is at most max|f⁗|/384 k⁴, which
gives k; for degree 4 f⁗ is constant and the bound is exact, below it the cubics are.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
import torch

from doodcli.data.pictures import Sheet
from doodcli.model.renderer import bezier
from doodcli.report.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doodcli.report.paths import Paths

TOLERANCE = 0.08 / 25
"""half canvases that a path may stray from its curve: .08 pixels of a 50-pixel canvas"""

SPEED = 2.0
"""half canvases that an animated pen goes in a second"""

SHORTEST, PAUSE = 0.2, 0.25
"""seconds that a stroke takes at least, and between two"""

CANVAS = Sheet(50, 50)
"""Where a drawing lies that is of no picture."""

GAP = 0.08
"""of a cell's side, between the cells of a grid"""

# Dashes hide what is not drawn yet.  They are in the keyframes alone, so that the page is whole
# where there is no animation; opacity hides the round cap of a dash of no length.
MOTION = """@media (prefers-reduced-motion: no-preference) {
  .dood-draws path { animation: dood-draw linear backwards; }
}
@keyframes dood-draw {
  from { stroke-dasharray: 1 2; stroke-dashoffset: 1; opacity: 0; }
  1% { opacity: 1; }
  to { stroke-dasharray: 1 2; stroke-dashoffset: 0; }
}
"""
"""What moves `.dood-draws`, in CSS."""

STYLE = f"<style>\n{MOTION}</style>\n"


def drawing_svg(
    drawing: Paths, sheet: Sheet = CANVAS, title: str = "", *, animated: bool = False,
    coloured: bool = False,
) -> str:  # fmt: skip
    """One drawing as a page of SVG, in the pixels of the picture that it is of.

    The page has no paper, so that it can lie on the picture.  `animated` draws itself, once, stroke
    after stroke, unless the reader prefers reduced motion; `coloured` tells the strokes apart,
    with full ink.
    """
    body = _group(drawing, sheet, animated=animated, coloured=coloured)
    return _page(sheet.width, sheet.height, title, (STYLE if animated else "") + body)


def grid_svg(
    drawings: Sequence[Paths], columns: int = 10, titles: Sequence[str] = (), *,
    animated: bool = False, coloured: bool = False,
) -> str:  # fmt: skip
    """Drawings side by side, row after row, each in a frame; see :func:`drawing_svg`."""
    side, step = CANVAS.width, CANVAS.width * (1 + GAP)
    cells = []
    for k, drawing in enumerate(drawings):
        row, column = divmod(k, columns)
        x, y = _number(column * step + step - side), _number(row * step + step - side)
        name = f"<title>{_text(titles[k])}</title>\n" if titles else ""
        cells.append(
            f'<svg x="{x}" y="{y}" width="{side}" height="{side}" viewBox="0 0 {side} {side}">\n'
            f'{name}<rect width="{side}" height="{side}" fill="#fff" stroke="#ddd"/>\n'
            f"{_group(drawing, CANVAS, animated=animated, coloured=coloured)}</svg>\n"
        )
    width = min(columns, len(drawings)) * step + step - side
    height = math.ceil(len(drawings) / columns) * step + step - side
    return _page(width, height, "", (STYLE if animated else "") + "".join(cells))


def inline_svg(drawing: Paths, title: str) -> str:
    """One drawing for a page of HTML that has :data:`MOTION` in its style: animated, in colours."""
    side = CANVAS.width
    body = _group(drawing, CANVAS, animated=True, coloured=True)
    box = f'viewBox="0 0 {side} {side}" role="img" aria-label="{quoted(title)}"'
    return f"<svg {box}>\n{body}</svg>\n"


def quoted(text: str) -> str:
    """Text for an attribute in double quotes."""
    return _text(text).replace('"', "&quot;")


def path_data(points: np.ndarray, sheet: Sheet = CANVAS) -> str:
    """A Bézier curve `[points, 2]` on the canvas as the data of a path: M, then cubics."""
    pieces = sheet.place(cubics(points))
    text = "M" + _pair(pieces[0, 0])
    return text + "".join("C" + " ".join(map(_pair, piece[1:])) for piece in pieces)


def cubics(points: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Cubic Bézier curves `[k, 4, 2]`, end to end, that follow one of any degree `[points, 2]`."""
    control = torch.from_numpy(np.asarray(points, np.float64))
    degree = len(control) - 1
    count = 1
    if degree > 3:
        fourth = math.perm(degree, 4) * control.diff(n=4, dim=0).norm(dim=-1).max().item()
        count = max(1, math.ceil((fourth / (384 * tolerance)) ** 0.25))
    ends = bezier(control, count + 1)
    third = bezier(degree * control.diff(dim=0), count + 1) / (3 * count)
    pieces = [ends[:-1], ends[:-1] + third[:-1], ends[1:] - third[1:], ends[1:]]
    return torch.stack(pieces, 1).numpy()


def _group(drawing: Paths, sheet: Sheet, *, animated: bool, coloured: bool) -> str:
    """The paths of a drawing, in their order."""
    lines, clock = [], 0.0
    for k, stroke in enumerate(drawing.strokes):
        own = f' stroke-width="{_number(stroke.width * sheet.pixels)}"'
        if coloured:
            own += f' stroke="{mpl.colors.to_hex(COLOURS[k % len(COLOURS)])}"'
        if animated:
            takes = max(SHORTEST, _length(stroke.points) / SPEED)
            timing = f"animation-duration:{takes:.2f}s;animation-delay:{clock:.2f}s"
            own += f' pathLength="1" style="{timing}"'
            clock += takes + PAUSE
        lines.append(f'<path d="{path_data(stroke.points, sheet)}"{own}/>\n')
    moving = ' class="dood-draws"' if animated else ""
    ink = "" if coloured else f' stroke-opacity="{_number(drawing.ink)}"'
    pen = f'fill="none" stroke="#000"{ink} stroke-linecap="round" stroke-linejoin="round"'
    return f"<g{moving} {pen}>\n{''.join(lines)}</g>\n"


def _page(width: float, height: float, title: str, body: str) -> str:
    size = f'width="{_number(width)}" height="{_number(height)}"'
    box = f'viewBox="0 0 {_number(width)} {_number(height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img">\n'
    name = f"<title>{_text(title)}</title>\n" if title else ""
    return f"{head}{name}{body}</svg>\n"


def _length(points: np.ndarray) -> float:
    """Of a curve, in half canvases."""
    curve = bezier(torch.from_numpy(points), 50)
    return curve.diff(dim=0).norm(dim=-1).sum().item()


def _pair(point: np.ndarray) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    """Four decimals at most, six digits, and neither an exponent nor −0."""
    return f"{round(float(value), 4) + 0.0:.6g}"


def _text(text: str) -> str:
    """Text that XML can hold: a file's name may have what it cannot."""
    whole = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return escape(whole)

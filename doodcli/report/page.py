"""The report as one page of HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from doodcli.report.document import Gap, Picture, Sketches, Table
from doodcli.report.svg import MOTION, inline_svg

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.report.document import Document, Section, Sketch
    from doodcli.report.folder import Folder

WIDEST = 1600
"""Pixels of a picture across: twice what a page shows of it."""

BUDGET = 7_000_000
"""Bytes of all pictures together, which base64 makes a third more."""

SHRINK, NARROWEST = 0.85, 300
"""What pictures are scaled by as long as all together pass the budget, and how far at most."""

SHADES = 256
"""Colours of a picture: few are enough for ink on paper."""


class Embedded(NamedTuple):
    """A picture as it stands in the page."""

    data: str
    """base64 of a PNG"""
    width: int
    height: int


def report_page(document: Document, folder: Folder, where: Path) -> str:
    """The page; `where` is the folder of results, seen from that of the page."""
    environment = Environment(
        loader=PackageLoader("doodcli.report", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.tests.update(
        table=lambda part: isinstance(part, Table),
        picture=lambda part: isinstance(part, Picture),
        gap=lambda part: isinstance(part, Gap),
        sketches=lambda part: isinstance(part, Sketches),
    )
    template = environment.get_template("page.html")
    return template.render(
        document=document,
        pictures=_pictures(document, folder),
        href=lambda name: (where / name).as_posix(),
        drawn=_drawn,
        motion=Markup(MOTION),
    )


def _drawn(sketch: Sketch, title: str, number: int) -> Markup:
    """The strokes of a sketch; the text beside it is escaped there."""
    count = len(sketch.drawing.strokes)
    text = f"{title}, image {number}: {count} stroke{'s' * (count != 1)}"
    return Markup(inline_svg(sketch.drawing, text))


def _pictures(document: Document, folder: Folder) -> dict[str, Embedded]:
    """Every picture of the report by its stem, all together within the budget."""
    stems = [part.stem for part in _parts(document.sections) if isinstance(part, Picture)]
    found = {stem: folder.read(f"{stem}.png") for stem in stems}
    widest = WIDEST
    while True:
        encoded = {stem: _encoded(data, widest) for stem, data in found.items() if data}
        if sum(len(data) for data, *_ in encoded.values()) <= BUDGET or widest <= NARROWEST:
            break
        widest = max(int(SHRINK * widest), NARROWEST)
    return {
        stem: Embedded(base64.b64encode(data).decode(), *size)
        for stem, (data, *size) in encoded.items()
    }


def _parts(sections: list[Section]) -> list[object]:
    return [part for section in sections for part in section.parts]


def _encoded(data: bytes, widest: int) -> tuple[bytes, int, int]:
    """A PNG of few colours, no wider than that, on white; and its size."""
    with Image.open(io.BytesIO(data)) as image:
        layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    picture = Image.alpha_composite(paper, layer).convert("RGB")
    if picture.width > widest:
        height = round(picture.height * widest / picture.width)
        picture = picture.resize((widest, height), Image.Resampling.LANCZOS)
    # By an octree: the median cut spends its colours on greys, and strokes lose theirs.
    few = picture.quantize(SHADES, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), few.width, few.height

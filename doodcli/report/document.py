"""What a report says, without saying how: sections of tables, pictures, drawings and gaps.

:mod:`doodcli.report.page` makes HTML of it and :mod:`doodcli.report.latex` LaTeX, so that both say
the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from doodcli.report.paths import Paths

GOOD, BAD, GAP, FAINT = "good", "bad", "gap", "faint"
"""Kinds of cells: as the paper says or better; not so; missing; beside the point."""


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    kind: str = ""
    note: int = 0
    """number of one of the table's notes, from 1; 0 is none"""


MISSING = Cell("missing", GAP)
NOTHING = Cell("–", FAINT)


class Group(NamedTuple):
    """Rows under a heading of their own, which may be empty."""

    head: str
    rows: list[list[Cell]]
    """the first cell of each names the row"""


class Facts(NamedTuple):
    """How something was measured: label and text."""

    items: list[tuple[str, str]]


class Table(NamedTuple):
    """Numbers."""

    name: str
    caption: str
    columns: list[str]
    groups: list[Group]
    notes: list[str] = []  # noqa: RUF012  (never changed)
    files: list[str] = []  # noqa: RUF012
    facts: Facts = Facts([])
    words: bool = False
    """whether its cells are words more than numbers"""


class Picture(NamedTuple):
    """A figure of the results folder."""

    stem: str
    """of its PNG and PDF, relative to the folder"""
    title: str
    caption: str
    alt: str
    files: list[str]
    facts: Facts = Facts([])


class Gap(NamedTuple):
    """What should be here and is not."""

    what: str
    task: str
    command: str
    """that makes it; "" where none is known"""
    reason: str = ""


class Sketch(NamedTuple):
    """An image and the strokes that a model drew of it."""

    target: str
    """base64 of a PNG"""
    drawing: Paths


class Strip(NamedTuple):
    """Sketches by one run."""

    title: str
    sets: list[tuple[str, list[Sketch]]]
    """by data set"""


class Sketches(NamedTuple):
    """Drawings that draw themselves."""

    caption: str
    strips: list[Strip]
    skipped: list[tuple[str, str]]
    """a run and why there is nothing of it"""
    files: list[str]


Part = Table | Picture | Gap | Sketches


class Section(NamedTuple):
    """A chapter of the report."""

    name: str
    title: str
    text: str
    parts: list[Part]


class Tile(NamedTuple):
    """A number of the summary, with what stands beside it."""

    value: str
    label: str
    beside: str


class Document(NamedTuple):
    """A report."""

    title: str
    lead: str
    """how much was done, with what"""
    tiles: list[Tile]
    claims: Table | None
    """the paper's claims, and how many cells each holds in"""
    sections: list[Section]
    gaps: list[Gap]
    complete: bool
    """whether it is known what should be there, and all of it is"""

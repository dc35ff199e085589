"""The whole report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doodcli.pipeline.expected import gaps
from doodcli.pipeline.sections import drawings, scores, summary, transfer
from doodcli.pipeline.sections.common import Sources
from doodcli.report.document import Document

if TYPE_CHECKING:
    from doodcli.pipeline.expected import Expected
    from doodcli.report.folder import Folder

SECTIONS = (
    drawings.reconstructions, transfer.transfers, drawings.kinds, scores.oneshot,
    drawings.generation, scores.probes, drawings.traces, scores.training,
)  # fmt: skip
"""In the paper's order."""


def document(folder: Folder, expected: Expected) -> Document:
    """The report of a folder of results."""
    of = Sources(folder, expected)
    sections = [section(of) for section in SECTIONS]
    missing = gaps(folder, expected)
    name = f"the profile {expected.profile}" if expected.profile else folder.path.resolve().name
    return Document(
        f"Drawing out of Distribution: results of {name}",
        summary.lead(of),
        summary.tiles(of, missing),
        summary.claims(of),
        sections,
        missing,
        complete=bool(expected.profile) and not missing,
    )

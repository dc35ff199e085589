"""The report in LaTeX: the same sections, for `pdflatex` with its recommended packages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from doodcli.report.document import BAD, GAP, GOOD, Gap, Picture, Sketches, Table

if TYPE_CHECKING:
    from pathlib import Path

    from doodcli.report.document import Cell, Document
    from doodcli.report.folder import Folder

# In the standard encoding of fonts, so that no bitmaps of others need be made.
ESCAPES = {
    "\\": r"\(\backslash\)", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "_": r"\_",
    "#": r"\#", "$": r"\$", "^": r"\^{}", "~": r"\(\sim\)", "<": r"\(<\)", ">": r"\(>\)",
    "|": r"\(|\)", '"': "''", "−": r"\(-\)", "±": r"\(\pm\)", "×": r"\(\times\)", "–": "--",
    "β": r"\(\beta\)", "→": r"\(\to\)", "≥": r"\(\geq\)", "≤": r"\(\leq\)", "…": r"\ldots{}",
    "²": r"\(^2\)", "δ": r"\(\delta\)", "’": "'", "‘": "`", "“": "``", "”": "''",
}  # fmt: skip

NOT_KNOWN = re.compile(r"[^\x20-\x7e\n]")

WORDS = 34
"""Characters of a cell from which on its column breaks lines."""


def report_tex(document: Document, folder: Folder, where: Path) -> str:
    """The document; `where` is the folder of results, seen from that of the document."""
    environment = Environment(
        loader=PackageLoader("doodcli.report", "templates"), autoescape=False,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        block_start_string="<%", block_end_string="%>", variable_start_string="<<",
        variable_end_string=">>", comment_start_string="<#", comment_end_string="#>",
    )  # fmt: skip
    environment.filters.update(tex=escaped, code=_code, cell=_cell)
    environment.tests.update(
        table=lambda part: isinstance(part, Table),
        picture=lambda part: isinstance(part, Picture),
        gap=lambda part: isinstance(part, Gap),
        sketches=lambda part: isinstance(part, Sketches),
    )

    def file(part: Picture) -> str:
        suffix = "pdf" if folder.has(f"{part.stem}.pdf") else "png"
        return (where / f"{part.stem}.{suffix}").as_posix()

    return environment.get_template("report.tex").render(
        document=document, columns=_columns, file=file
    )


def escaped(text: object) -> str:
    """Text that LaTeX prints as it is; of letters that its fonts lack, a question mark."""
    return "".join(
        ESCAPES.get(mark) or ("?" if NOT_KNOWN.match(mark) else mark) for mark in str(text)
    )


def _code(text: str) -> str:
    """A command in a typewriter's letters, with quotes as a shell has them."""
    straight = escaped(text).replace("'", r"{\char13}")
    return rf"\texttt{{{straight}}}"


def _cell(one: Cell) -> str:
    text = escaped(one.text)
    if one.kind in (GOOD, BAD, GAP):
        text = rf"\textcolor{{{one.kind}}}{{{text}}}"
    return text + (rf"\textsuperscript{{{one.note}}}" if one.note else "")


def _columns(table: Table) -> str:
    """Alignments: numbers to the right, long words in lines."""
    rows = [row for group in table.groups for row in group.rows]
    kinds = []
    for k in range(len(table.columns)):
        longest = max((len(row[k].text) for row in rows), default=0)
        if longest > WORDS:
            kinds.append(r">{\raggedright\arraybackslash}p{4.8cm}")
        else:
            kinds.append("l" if table.words or not k else "r")
    return "".join(kinds)

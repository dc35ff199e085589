"""Tables: tidy CSV files, LaTeX with booktabs that compiles, and the settings beside them."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# What a caption may hold and LaTeX would take for a command.
ESCAPED = str.maketrans({mark: f"\\{mark}" for mark in "%&_#$"})


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """One row a measurement, with its provenance in columns."""
    _write(path, lambda draft: frame.to_csv(draft, index=False, lineterminator="\n"))


def write_tex(
    frame: pd.DataFrame, path: Path, caption: str, label: str, bold: pd.DataFrame | None = None
) -> None:
    """A table that `\\input` takes, in a document that loads booktabs.

    Numbers are formatted by the caller: a column of text stays as it is, but for characters that
    LaTeX takes for commands.  `bold` says which cells are bold, row by row, of some columns.
    """
    style = frame.style.hide(axis="index").format(escape="latex").format_index(
        escape="latex", axis=1
    )  # fmt: skip
    if bold is not None:
        marks = bold.reindex(columns=frame.columns, fill_value=False)
        style = style.apply(
            lambda _: marks.map(lambda best: "textbf:--rwrap;" if best else ""), axis=None
        )
    columns = "".join("r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in frame.dtypes)
    text = style.to_latex(
        column_format=columns,
        hrules=True,
        caption=caption.translate(ESCAPED),
        label=label,
        position="htbp",
        position_float="centering",
    )
    write_lines(text, path)


def write_lines(text: str, path: Path) -> None:
    """A text that is there whole or not at all; InputError where it cannot be written."""
    _write(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_json(value: Any, path: Path) -> None:
    """A JSON value, such as the settings that made a table."""
    text = json.dumps(value, indent=1) + "\n"
    _write(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def require_writable(folder: Path) -> None:
    """Make the folder of results.  InputError now, not after the work, if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another --out"
        ) from None


def _write(path: Path, write: Callable[[Path], object]) -> None:
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another --out"
        ) from None

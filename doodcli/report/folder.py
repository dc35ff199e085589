"""A folder of results as a report reads it: what was asked for, and what it held."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIGESTS = (
    "weights", "git", "training_git", "settings_hash", "recipe", "fingerprint",
    "source_fingerprint", "target_fingerprint", "version",
)  # fmt: skip
"""Columns of text that may look like numbers."""


class Folder:
    """Reads files by names relative to the folder, and takes note of each.

    `seen` has the digest of every file that was asked for, None of one that is not there: a report
    is up to date as long as they stay.  `broken` says of files that are there why they are of no
    use; `tables` has those that were read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, str | None] = {}
        self.broken: dict[str, str] = {}
        self.tables: dict[str, pd.DataFrame] = {}

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return self.read(name) is not None

    def read(self, name: str) -> bytes | None:
        """What a file holds, if it is there."""
        try:
            data = (self.path / name).read_bytes()
        except OSError:
            data = None
        self.seen[name] = None if data is None else hashlib.sha256(data).hexdigest()[:16]
        return data

    def names(self, pattern: str) -> list[str]:
        """The files of a pattern, in order; that there are no more of them counts as read."""
        found = sorted(str(path.relative_to(self.path)) for path in self.path.glob(pattern))
        self.seen[pattern] = " ".join(found)
        return found

    def table(self, name: str, columns: Sequence[str] = ()) -> pd.DataFrame | None:
        """A CSV file that has these columns and a row, if there is one."""
        if name not in self.tables and not self._load(name):
            return None
        frame = self.tables[name]
        if lacking := [column for column in columns if column not in frame]:
            self.broken[name] = f"lacks {', '.join(lacking)}"
            return None
        return frame

    def _load(self, name: str) -> bool:
        data = self.read(name)
        if data is None:
            return False
        try:
            frame = pd.read_csv(io.BytesIO(data), dtype=dict.fromkeys(DIGESTS, str))
        except ValueError as error:
            self.broken[name] = f"cannot be read ({error})"
            return False
        if frame.empty:
            self.broken[name] = "holds no row"
            return False
        # No remark is an empty text; in a CSV file it looks like a number that is missing.
        if "remark" in frame:
            frame["remark"] = frame.remark.astype(object).where(frame.remark.notna(), "")
        self.tables[name] = frame
        return True

    def json(self, name: str) -> Any:
        """A JSON value, if there is one."""
        data = self.read(name)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            self.broken[name] = f"cannot be read ({error})"
            return None

"""Running the command line inside the test process, through the same door as a user."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from doodcli.cli import main

if TYPE_CHECKING:
    import pytest


class Result(NamedTuple):
    code: int
    out: str
    err: str


def dood(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Exit code, stdout and stderr of `dood ARGUMENTS`."""
    before, sys.argv = sys.argv, ["dood", *map(str, arguments)]
    capsys.readouterr()
    try:
        main()
        code: object = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    assert isinstance(code, int)
    return Result(code, captured.out, captured.err)


def refused(result: Result, *words: str) -> None:
    """Assert: one clear line on stderr with these words, exit code 2, no traceback."""
    assert result.code == 2, result
    lines = [line for line in result.err.splitlines() if line.startswith("dood: ")]
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in lines[0]

"""Which code made a number."""

from __future__ import annotations

import functools
import subprocess
from importlib.metadata import version
from pathlib import Path

__version__ = version("doodcli")


@functools.cache
def git_version() -> str:
    """The commit of the checkout that the package runs from, "-dirty" if it was changed.

    "" for an installed package, which has no commit.
    """
    package = Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

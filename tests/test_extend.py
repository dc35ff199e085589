"""docs/extend.md by being run: each section, on a copy of the package, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text("utf-8")
# Ten seconds each, most of which torch takes to be imported; on a machine that trains, minutes.
pytestmark = pytest.mark.timeout(900)

BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.M | re.S)

# Runs the lines of a section; every `dood` in one process, because torch takes seconds to import.
DRIVER = """
import runpy, shlex, subprocess, sys
from doodcli.cli import main
for line in sys.stdin.read().splitlines():
    print("$ " + line, flush=True)
    words = shlex.split(line)
    if words[0] == "dood":
        sys.argv = words
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                sys.exit(f"{line}: exit code {stop.code}")
    elif words[0] == "python":
        runpy.run_path(words[1])
    else:
        subprocess.run(words, check=True)
"""


class Block(NamedTuple):
    """A block of code of the page."""

    language: str
    """python: a new file; diff: a change; sh: commands"""
    file: str
    text: str


def blocks(section: str) -> list[Block]:
    """The blocks below a heading of the page, in order."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return [Block(*found) for found in BLOCK.findall(text)]


def changed(source: str, change: str) -> str:
    """A source after a change: the lines that stay or go are there once, in this order."""
    lines = change.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    found = [hit.start() for hit in re.finditer(f"^{re.escape(before)}", source, re.M)]
    assert len(found) == 1, f"not there, or not once:\n{before}"
    return source[: found[0]] + after + source[found[0] + len(before) :]


class Tried(NamedTuple):
    """What became of a section."""

    folder: Path
    out: str
    """stdout and stderr, with each command after a `$`"""

    def of(self, command: str) -> str:
        """What the last command that starts so printed."""
        return self.out.split(f"\n$ {command}")[-1].split("\n$ ")[0]


def tried(section: str, folder: Path) -> Tried:
    """A section of the page, done as it says."""
    package = folder / "package"
    leave_out = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "doodcli", package / "doodcli", ignore=leave_out)
    work = folder / "work"
    work.mkdir()
    commands = ""
    for block in blocks(section):
        path = (package if block.file.startswith("doodcli/") else work) / block.file
        if block.language == "python":
            assert not path.exists(), f"{path.name} is there already"
            path.write_text(block.text, "utf-8")
        elif block.language == "diff":
            path.write_text(changed(path.read_text("utf-8"), block.text), "utf-8")
        else:
            assert block.language == "sh", block
            commands += block.text
    environment = {
        **os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "DOOD_DATA_ROOT": "data",
        "DOOD_CACHE": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", DRIVER], cwd=work, env=environment, input=commands,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    return Tried(work, f"\n{run.stdout}")


def test_a_change_that_no_longer_fits_is_refused() -> None:
    source = "a = 1\nb = 2\nb = 2\n"
    assert changed(source, " a = 1\n+c = 3\n") == "a = 1\nc = 3\nb = 2\nb = 2\n"
    assert changed(source, "-a = 1\n b = 2\n") == "b = 2\nb = 2\n"
    for stale in (" a = 2\n+c = 3\n", " b = 2\n+c = 3\n", " = 1\n+c = 3\n"):
        with pytest.raises(AssertionError, match="not once"):
            changed(source, stale)


def test_a_data_set_can_be_added_as_the_page_says(tmp_path: Path) -> None:
    made = tried("A data set", tmp_path)
    assert "bars.npz: OK" in made.of("dood data check bars.npz")
    assert "bars: OK" in made.of("dood data check bars\n")
    bounds = pd.read_csv(made.folder / "bounds" / "likelihood.csv")
    assert bounds.model.tolist() == ["dood", "blank"] * 2
    assert bounds.target.tolist() == ["bars", "bars", "digits", "digits"]
    cells = pd.read_csv(made.folder / "results" / "tiny" / "transfer.csv")
    by_run = cells[cells.model == "dood"]
    assert by_run.source.tolist() == ["bars", "bars"]
    assert by_run.target.tolist() == ["bars", "digits"]
    assert by_run.remarks.isna().all()


def test_a_variant_can_be_added_as_the_page_says(tmp_path: Path) -> None:
    made = tried("A variant", tmp_path)
    counts = pd.read_csv(made.folder / "strokes" / "stroke_counts.csv")
    assert set(counts.model) == {"dood-eg-sp"}
    assert counts.drawings.sum() == 20
    drawn = pd.read_csv(made.folder / "reconstructions" / "reconstruct.csv")
    assert set(drawn.model) == {"dood-line"}


def test_an_experiment_can_be_added_as_the_page_says(tmp_path: Path) -> None:
    made = tried("An experiment", tmp_path)
    one = pd.read_csv(made.folder / "ink" / "ink.csv")
    assert one.target.tolist() == ["digits", "scribbles"]
    assert one.images.tolist() == [20, 20]
    assert one.target_ink.between(0.03, 0.3).all()
    every = pd.read_csv(made.folder / "results" / "tiny" / "ink.csv")
    assert set(every.model) >= {"dood", "air"}
    assert "ink: done before" in made.of("dood reproduce")

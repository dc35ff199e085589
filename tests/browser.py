"""A headless browser, driven by its own options: pictures of pages, and what is in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, NAMES)), reason=f"{NAMES[0]} is not installed"
)

DARK = "--blink-settings=preferredColorScheme=0"
STILL = "--force-prefers-reduced-motion"

NARROWEST = 500
"""Pixels below which a window cannot be: a narrower page goes into a frame."""

# A page from a file may not look into another; it can be told.
WRAPPED = """<!doctype html><body style="margin:0"><pre id="told"></pre><script>
addEventListener("message", (event) => {{ told.textContent = event.data; }});
</script><iframe src="{page}" width="{width}" height="{height}" style="border:0"></iframe>"""

TELLS = """<script>addEventListener("load", () => {{
  parent.postMessage(JSON.stringify({what}), "*");
}});</script></body>"""


def run(folder: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The browser on a page; its log is on stderr."""
    name = next(filter(shutil.which, NAMES))
    command = [
        name, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--enable-logging=stderr", "--virtual-time-budget=20000",
        f"--user-data-dir={folder / 'profile'}", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=200)


def console(log: str) -> list[str]:
    """What a page said on its console, by a browser's log."""
    return [line for line in log.splitlines() if ":CONSOLE" in line]


def screenshot(page: Path, picture: Path, width: int, height: int, *options: str) -> None:
    """A picture of a page, in pixels of the page."""
    run(
        picture.parent, page, f"--window-size={max(width, NARROWEST)},{height}",
        f"--screenshot={picture}", *options,
    )  # fmt: skip


def asked(page: Path, width: int, what: str, *options: str) -> tuple[Any, list[str]]:
    """The value of an expression in a page of that width, and what it said on its console."""
    folder = page.parent
    text = page.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    copy, frame = folder / "asked.html", folder / "frame.html"
    copy.write_text(text.replace("</body>", TELLS.format(what=what)), encoding="utf-8")
    frame.write_text(WRAPPED.format(page=copy.name, width=width, height=900))
    done = run(folder, frame, f"--window-size={max(width, NARROWEST)},1000", "--dump-dom", *options)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
    assert told is not None, done.stdout[-500:]
    return json.loads(unescape(told[1])), console(done.stderr)

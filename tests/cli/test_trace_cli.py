"""`dood trace` from end to end: what it writes shows the drawing where people look at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from doodcli.learning.runs import open_run
from doodcli.model.drawing import Drawing
from tests.browser import STILL, console, needs_browser, run
from tests.command import dood
from tests.report.test_svg import overlap, rendered

if TYPE_CHECKING:
    from pathlib import Path

FINE = 4
"""Pixels of a screenshot in a pixel of the drawing."""


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> Path:
    """Two scribbles, traced by the model that ships with the package."""
    from typer.testing import CliRunner

    from doodcli.cli import app

    out = tmp_path_factory.mktemp("trace") / "traces"
    arguments = ["trace", "scribbles", "--limit", "2", "--samples", "3", "--device", "cpu", "-q"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def ink(page: Path, *options: str) -> np.ndarray:
    """Ink of the 50 × 50 pixels of an SVG file, as a browser shows it by itself."""
    picture = page.parent / "shot.png"
    size = ["--window-size=500,500", f"--force-device-scale-factor={FINE}"]
    done = run(page.parent, page, *size, f"--screenshot={picture}", *options)
    assert console(done.stderr) == []
    with Image.open(picture) as image:
        shot = 1 - np.asarray(image.convert("L")) / 255
    side = 50 * FINE
    assert shot[side:].max() == shot[:, side:].max() == 0  # nothing beside the drawing
    return shot[:side, :side]


@needs_browser
@pytest.mark.parametrize(
    ("suffix", "options"),
    [("svg", []), ("animated.svg", []), ("animated.svg", [STILL])],
    ids=["still", "animated", "animated, less motion wanted"],
)
def test_a_browser_shows_the_drawing_that_was_traced(traced, suffix, options):
    settings = open_run("pretrained:omniglot").settings.model
    facts = sorted(traced.glob("scribbles*.json"))
    assert len(facts) == 2
    for path in facts:
        values = json.loads(path.read_text(encoding="utf-8"))
        one = Drawing(**{k: torch.tensor(v).float() for k, v in values["drawing"].items()})
        assert one.present.sum() == values["strokes"] > 0
        expected = rendered(one, settings, FINE)
        half = expected.max() / 2
        # A browser's clock now and then is read before an animation has begun: it is asked again.
        moves = suffix == "animated.svg" and STILL not in options
        assert any(
            overlap(ink(path.with_suffix(f".{suffix}"), *options) >= half, expected >= half) >= 0.85
            for _ in range(5 if moves else 1)
        )


def test_names_what_it_wrote(capsys, tmp_path):
    result = dood(
        capsys, "trace", "scribbles", "--limit", 1, "--samples", 1, "--device", "cpu", "-q",
        "--out", tmp_path / "traces",
    )  # fmt: skip
    assert result.code == 0, result
    written = {path.name for path in (tmp_path / "traces").iterdir()}
    assert {"trace.csv", "trace.svg", "trace.png", "trace.pdf"} <= written
    (json_file,) = (tmp_path / "traces").glob("*.json")
    assert {f"{json_file.stem}.svg", f"{json_file.stem}.animated.svg"} <= written

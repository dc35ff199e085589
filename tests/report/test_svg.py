"""Drawings as SVG: curves that are followed, widths that fit, pages that are well formed."""

from __future__ import annotations

import io
import itertools
import math
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as MplPath
from PIL import Image

from doodcli.data.pictures import Sheet
from doodcli.data.scribbles import scribbles_drawings
from doodcli.model.canvas import composite
from doodcli.model.decoder import SplineDecoder
from doodcli.model.drawing import Drawing
from doodcli.report import svg
from doodcli.report.paths import Paths, Stroke, as_paths, pen_ink, pen_width
from doodcli.settings import ModelSettings

NAME = "{http://www.w3.org/2000/svg}"
SETTINGS = ModelSettings()
FINE = 8  # pixels of a test picture in a pixel of the model


def elements(text: str, tag: str) -> list[ElementTree.Element]:
    """The elements of a page of SVG, which must be well formed."""
    return list(ElementTree.fromstring(text).iter(NAME + tag))


def numbers(data: str) -> np.ndarray:
    """The points of a path of M and C commands, `[1 + 3 cubics, 2]`."""
    assert re.fullmatch(r"M[-\d. ]+(C[-\d. ]+)+", data)
    return np.array(re.findall(r"-?\d+\.?\d*", data), float).reshape(-1, 2)


def along(data: str, count: int = 51) -> np.ndarray:
    """Points of a path `[cubics · count, 2]`, by de Casteljau: no formula of the code."""
    control = numbers(data)
    pieces = np.stack([control[k : k + 4] for k in range(0, len(control) - 1, 3)])
    return np.concatenate([casteljau(piece, count) for piece in pieces])


def casteljau(control: np.ndarray, count: int) -> np.ndarray:
    points = np.repeat(control[None], count, 0)
    time = np.linspace(0, 1, count)[:, None, None]
    while points.shape[1] > 1:
        points = (1 - time) * points[:, :-1] + time * points[:, 1:]
    return points[:, 0]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Hausdorff distance of two curves, given as dense polylines."""
    return max(off(one, other), off(other, one))


def off(points: np.ndarray, polyline: np.ndarray) -> float:
    """How far the farthest of some points is from a polyline."""
    start, way = polyline[:-1], np.diff(polyline, axis=0)
    reach = ((points[:, None] - start) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-30)
    foot = start + np.clip(reach, 0, 1)[..., None] * way
    return np.linalg.norm(points[:, None] - foot, axis=-1).min(1).max()


def drawing(*strokes: list[list[float]], pen=(0.04, 0.3, 0.5), layout=(1.0, 0, 0, 0)) -> Drawing:
    """A drawing of strokes of five points each."""
    count = len(strokes)
    return Drawing(
        torch.cat([torch.ones(count), torch.zeros(6 - count)]),
        torch.tensor(layout).float().repeat(6, 1),
        torch.cat([torch.tensor(strokes).reshape(-1, 5, 2), torch.zeros(6 - count, 5, 2)]).float(),
        torch.tensor(pen).float(),
    )


def line(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0 + t * (x1 - x0), y0 + t * (y1 - y0)] for t in (0, 0.25, 0.5, 0.75, 1)]


def rendered(one: Drawing, settings: ModelSettings = SETTINGS, finer: int = FINE) -> np.ndarray:
    """The canvas of one drawing at `finer` times the resolution."""
    import dataclasses

    decoder = SplineDecoder(dataclasses.replace(settings, resolution=finer * settings.resolution))
    rows = one.map(lambda part: part[None])
    total = torch.stack([
        present * decoder(rows.layout[:, k], rows.strokes[:, k], rows.pen)[0]
        for k, present in enumerate(one.present)
    ]).sum(0, keepdim=True)  # fmt: skip
    return composite(total, rows.pen)[0].numpy()


def rasterised(text: str, finer: int = FINE) -> np.ndarray:
    """Ink of a page of 50 × 50 in [0, 1], by matplotlib's Agg: what its paths would look like."""
    side = 50 * finer
    figure = Figure(figsize=(1, 1), dpi=side)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 50), ylim=(50, 0))
    axes.axis("off")
    group = elements(text, "g")[0]
    for path in elements(text, "path"):
        points = numbers(path.attrib["d"])
        codes = [MplPath.MOVETO] + [MplPath.CURVE4] * (len(points) - 1)
        width = float(path.attrib["stroke-width"]) / 50 * 72  # of an inch, which is the page
        opacity = float(group.attrib["stroke-opacity"])
        axes.add_patch(
            PathPatch(MplPath(points, codes), fill=False, linewidth=width, alpha=opacity,
                      edgecolor="k", capstyle="round", joinstyle="round", clip_on=False)
        )  # fmt: skip
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return 1 - np.asarray(canvas.buffer_rgba())[..., 0] / 255


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


# ------------------------------------------------------------------------------ the curves


@pytest.mark.parametrize("points", [2, 3, 4, 5, 6, 9])
def test_a_path_follows_its_curve_within_a_tenth_of_a_pixel(points):
    random = np.random.RandomState(points)
    worst, most = 0.0, 0
    for reach in (0.3, 1.0, 1.4):
        for _ in range(3):
            control = random.uniform(-reach, reach, (points, 2))
            data = svg.path_data(control)
            true = casteljau((control + 1) * 25, 601)
            worst = max(worst, apart(along(data), true))
            most = max(most, (len(numbers(data)) - 1) // 3)
            assert numbers(data)[[0, -1]] == pytest.approx(true[[0, -1]], abs=1e-3)
    # Up to four points one cubic is exact, but for the points at which the two are compared.
    assert worst < (0.02 if points <= 4 else 0.1)
    assert (most == 1) == (points <= 4)
    assert most <= 16


def test_the_number_of_cubics_is_what_the_bound_needs():
    control = np.random.RandomState(0).uniform(-1, 1, (5, 2))
    fourth = np.linalg.norm(np.diff(control, n=4, axis=0)[0])
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-4):
        pieces = svg.cubics(control, tolerance)
        count = len(pieces)
        assert fourth / (16 * count**4) <= tolerance < fourth / (16 * max(count - 1, 0.01) ** 4)
        # At equal times: the remainder is exact in the middle of every piece.
        middles = np.array([casteljau(piece, 3)[1] for piece in pieces])
        true = casteljau(control, 2 * count + 1)[1::2]
        remainder = np.linalg.norm(middles - true, axis=1)
        assert remainder == pytest.approx(np.full(count, fourth / (16 * count**4)))


def test_a_path_is_smooth_where_its_cubics_meet():
    pieces = svg.cubics(np.random.RandomState(3).uniform(-1, 1, (6, 2)), 1e-4)
    assert len(pieces) > 3
    np.testing.assert_allclose(pieces[:-1, 3], pieces[1:, 0])
    np.testing.assert_allclose(pieces[:-1, 3] - pieces[:-1, 2], pieces[1:, 1] - pieces[1:, 0])


def test_a_path_lies_in_the_pixels_of_its_picture():
    stroke = Stroke(np.array(line(-1, 0, 1, 0)), 0.1)
    page = svg.drawing_svg(Paths([stroke], 1.0, 1.0), Sheet(300, 100))
    (path,), root = elements(page, "path"), ElementTree.fromstring(page)
    assert numbers(path.attrib["d"])[[0, -1]].tolist() == [[0, 50], [300, 50]]
    assert float(path.attrib["stroke-width"]) == 15
    assert root.attrib["viewBox"] == "0 0 300 100"
    assert (root.attrib["width"], root.attrib["height"]) == ("300", "100")
    tall = svg.drawing_svg(Paths([stroke], 1.0, 1.0), Sheet(101, 301))
    assert numbers(elements(tall, "path")[0].attrib["d"])[0].tolist() == [-100, 150.5]


# --------------------------------------------------------------------- widths and their fit


@pytest.mark.parametrize("pen", [(0.03, 0.2, 0.4), (0.06, 0.5, 0.7), (0.08, 0.89, 1.49)])
def test_a_long_line_has_the_width_at_which_its_ink_is_half(pen):
    one = drawing(line(-0.7, 0.003, 0.7, 0.003), pen=pen)
    paths = as_paths(one, SETTINGS)
    assert paths.strokes[0].width == pytest.approx(pen_width(one.pen), rel=0.1)
    # Half way along it, seen in the pixels.
    column = rendered(one, finer=20)[:, 500]
    assert column.max() == pytest.approx(pen_ink(one.pen), rel=0.01)
    inked = (column >= column.max() / 2).sum() * 2 / 1000
    assert inked == pytest.approx(pen_width(one.pen), abs=2 * 2 / 1000)
    assert paths.overlap >= 0.9  # a round cap goes on where the ink fades


def test_the_paths_of_scribbles_cover_what_is_rendered():
    some = range(0, 1920, 97)
    found, reported = [], []
    for k in some:
        one = scribbles_drawings().map(lambda part, k=k: part[k])
        paths = as_paths(one, SETTINGS)
        ink = rasterised(svg.drawing_svg(paths))
        found.append(overlap(ink >= paths.ink / 2, rendered(one) >= pen_ink(one.pen) / 2))
        reported.append(paths.overlap)
        # At the model's own resolution, too.
        coarse = ink.reshape(50, FINE, 50, FINE).mean((1, 3))
        small = rendered(one, finer=1)
        assert overlap(coarse >= paths.ink / 2, small >= pen_ink(one.pen) / 2) > 0.88
    assert min(found) >= 0.9
    assert np.mean(found) > 0.94
    np.testing.assert_allclose(found, reported, atol=0.03)


def test_widths_are_those_that_cover_best():
    # A hook whose slow end is darkest: the pen's own width would be too wide for the rest.
    hook = [[-0.6, -0.5], [0.1, -0.6], [0.7, -0.5], [0.7, -0.1], [0.5, 0.1]]
    one = drawing(hook, line(-0.6, 0.6, 0.6, 0.6))
    paths = as_paths(one, SETTINGS)
    inked = rendered(one) >= paths.ink / 2

    def covered(*factors: float) -> float:
        changed = [
            stroke._replace(width=stroke.width * factor)
            for stroke, factor in zip(paths.strokes, factors, strict=True)
        ]
        page = svg.drawing_svg(paths._replace(strokes=changed))
        return overlap(rasterised(page) >= paths.ink / 2, inked)

    best = covered(1, 1)
    for factors in itertools.product((0.85, 1, 1.2), repeat=2):
        assert covered(*factors) <= best + 0.005
    assert max(covered(0.85, 1), covered(1.2, 1), covered(1, 0.85), covered(1, 1.2)) < best - 0.02
    first, second = (stroke.width for stroke in paths.strokes)
    assert first < 0.97 * second


def test_a_stroke_nobody_sees_has_the_pens_width():
    off = drawing(line(3, 3, 4, 4))
    paths = as_paths(off, SETTINGS)
    assert paths.strokes[0].width == pytest.approx(pen_width(off.pen))
    assert paths.overlap == 1


def test_a_drawing_of_nothing_is_a_page_of_nothing():
    paths = as_paths(drawing(), SETTINGS)
    assert (paths.strokes, paths.overlap) == ([], 1)
    assert elements(svg.drawing_svg(paths), "path") == []


def test_where_pictures_are_placed_the_pen_shrinks_with_them():
    settings = ModelSettings(place="image")
    one = drawing(line(-0.7, 0.01, 0.7, 0.01), pen=(0.07, 0.3, 0.5), layout=(0.5, 0.1, 0, 0))
    paths = as_paths(one, settings)
    assert paths.strokes[0].width == pytest.approx(pen_width(one.pen) / 2, rel=0.12)
    ink = rasterised(svg.drawing_svg(paths))
    assert overlap(ink >= paths.ink / 2, rendered(one, settings) >= paths.ink / 2) > 0.9
    assert as_paths(one, SETTINGS).strokes[0].width > 1.7 * paths.strokes[0].width


def test_a_grey_pen_makes_grey_paths():
    one = drawing(line(-0.7, 0, 0.7, 0), pen=(0.05, 0.8, 1.4))
    text = svg.drawing_svg(as_paths(one, SETTINGS))
    expected = math.tanh(math.tanh(1 / 0.8) / 1.4)
    assert float(elements(text, "g")[0].attrib["stroke-opacity"]) == pytest.approx(expected, 1e-3)
    assert rasterised(text).max() == pytest.approx(rendered(one).max(), abs=0.02)


# --------------------------------------------------------------------------------- the page


def some_paths() -> Paths:
    return as_paths(
        drawing(line(-0.6, -0.6, 0.6, -0.6), line(0, -0.5, 0, 0.7), line(0.1, 0.2, 0.3, 0.2)),
        SETTINGS,
    )


def test_paths_stand_in_drawing_order_and_cannot_break_the_page():
    text = svg.drawing_svg(some_paths(), title='a<b>&"c\x01\udcff</title>')
    starts = [numbers(path.attrib["d"])[0].tolist() for path in elements(text, "path")]
    assert starts == [[10, 10], [25, 12.5], [27.5, 30]]
    assert elements(text, "title")[0].text == 'a<b>&"c��</title>'
    group = elements(text, "g")[0].attrib
    assert (group["stroke-linecap"], group["stroke-linejoin"]) == ("round", "round")
    assert (group["fill"], group["stroke"]) == ("none", "#000")
    assert "<style" not in text
    text.encode()


def test_an_animated_drawing_starts_each_stroke_after_the_last_and_ends_whole():
    still, text = svg.drawing_svg(some_paths()), svg.drawing_svg(some_paths(), animated=True)
    paths = elements(text, "path")
    assert [p.attrib["d"] for p in paths] == [p.attrib["d"] for p in elements(still, "path")]
    timing = [
        [float(n) for n in re.findall(r"(?:duration|delay):([\d.]+)s", p.attrib["style"])]
        for p in paths
    ]
    (first, start), (second, later), (third, last) = timing
    assert start == 0
    assert later == pytest.approx(first + svg.PAUSE, abs=0.011)
    assert last == pytest.approx(later + second + svg.PAUSE, abs=0.011)
    assert (first, second) == pytest.approx((1.2 / svg.SPEED, 1.2 / svg.SPEED), abs=0.01)
    assert third == svg.SHORTEST
    assert {p.attrib["pathLength"] for p in paths} == {"1"}
    style = elements(text, "style")[0].text
    # What hides the strokes is in the keyframes alone, and these are asked for only there.
    motion = re.search(r"@media \(prefers-reduced-motion: no-preference\) \{(.*?)\n\}", style, re.S)
    assert "animation: dood-draw" in motion[1]
    assert style.count("animation:") == 1
    assert "dash" not in style.partition("@keyframes")[0]
    assert "dash" not in "".join(p.attrib["style"] for p in paths)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_grid_has_a_cell_for_each_drawing():
    text = svg.grid_svg(
        [some_paths(), as_paths(drawing(), SETTINGS), some_paths()], 2, ["one", "two", "<3>"],
        coloured=True, animated=True,
    )  # fmt: skip
    cells = elements(text, "svg")[1:]
    assert [len(list(cell.iter(NAME + "path"))) for cell in cells] == [3, 0, 3]
    assert [cell.find(NAME + "title").text for cell in cells] == ["one", "two", "<3>"]
    places = [(float(cell.attrib["x"]), float(cell.attrib["y"])) for cell in cells]
    assert places == [(4, 4), (58, 4), (4, 58)]
    assert ElementTree.fromstring(text).attrib["viewBox"] == "0 0 112 112"
    colours = [path.attrib["stroke"] for path in cells[0].iter(NAME + "path")]
    assert len(set(colours)) == 3
    assert text.count("<style>") == 1
    assert ElementTree.fromstring(svg.grid_svg([])).attrib["height"] == "4"


# -------------------------------------------------------------------------- a real renderer


def by_a_browser(page, picture, side: int) -> None:
    """A screenshot; the page is stretched over the window."""
    name = next(filter(shutil.which, BROWSERS))
    wrapped = page.with_suffix(".html")
    wrapped.write_text(
        f'<body style="margin:0"><img src="{page.name}" width="{side}" height="{side}">'
    )
    command = [
        name, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={page.parent / 'profile'}", f"--window-size={side},{side}",
        f"--screenshot={picture}", wrapped.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def by_librsvg(page, picture, side: int) -> None:
    size = ["-w", str(side), "-h", str(side), "-b", "white"]
    subprocess.run(["rsvg-convert", *size, "-o", picture, page], check=True, timeout=60)


def by_inkscape(page, picture, side: int) -> None:
    size = [f"--export-width={side}", f"--export-height={side}", "--export-background=white"]
    command = ["inkscape", str(page), *size, f"--export-filename={picture}"]
    subprocess.run(command, check=True, capture_output=True, timeout=100)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
RENDERERS = [
    pytest.param(
        render,
        marks=pytest.mark.skipif(
            not any(map(shutil.which, names)), reason=f"{names[0]} is not installed"
        ),
        id=names[0],
    )
    for render, names in (
        (by_librsvg, ("rsvg-convert",)),
        (by_inkscape, ("inkscape",)),
        (by_a_browser, BROWSERS),
    )
]


@pytest.mark.parametrize("render", RENDERERS)
def test_an_svg_renderer_shows_what_our_renderer_does(render, tmp_path):
    for k in (5, 700, 1300):
        one = scribbles_drawings().map(lambda part, k=k: part[k])
        paths = as_paths(one, SETTINGS)
        page, picture = tmp_path / f"{k}.svg", tmp_path / f"{k}.png"
        page.write_text(svg.drawing_svg(paths, title=str(k)), encoding="utf-8")
        render(page, picture, 50 * FINE)
        with Image.open(io.BytesIO(picture.read_bytes())) as image:
            ink = 1 - np.asarray(image.convert("L")) / 255
        assert overlap(ink >= paths.ink / 2, rendered(one) >= paths.ink / 2) >= 0.9
        assert ink.max() == pytest.approx(1, abs=0.2)

"""Pictures to be traced: prepared as the data sets are, and the way back to their own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from doodcli.data import pictures
from doodcli.data.load import load_images
from doodcli.data.pages import is_data_set, pages_of_pictures, pages_of_set
from doodcli.data.pictures import Sheet, read_page
from doodcli.data.scribbles import scribbles_drawings
from doodcli.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, grey: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return path


def spot(width: int, height: int, x: float, y: float, radius: float = 6) -> np.ndarray:
    """A white spot on black, large enough to be seen at 50 pixels: uint8 [height, width]."""
    radius = max(radius, width / 180)
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.where(np.hypot(across - x, down - y) < radius, 255, 0)


def centre(image: np.ndarray) -> np.ndarray:
    """The centre of the ink of a square image, on the canvas [−1, 1]²."""
    middle = (np.arange(len(image)) + 0.5) * 2 / len(image) - 1
    return np.array([(image.sum(0) * middle).sum(), (image.sum(1) * middle).sum()]) / image.sum()


@pytest.mark.parametrize(
    ("width", "height", "x", "y"),
    [(300, 100, 280, 15), (101, 240, 20, 200), (64, 64, 10, 50), (2000, 31, 1700, 12)],
)
def test_what_is_on_the_canvas_is_found_again_in_the_picture(tmp_path, width, height, x, y):
    for paper in (0, 1):
        grey = spot(width, height, x, y)
        page = read_page(save(tmp_path / "spot.png", 255 - grey if paper else grey), 50)
        assert page.inverted == bool(paper)
        assert page.sheet == Sheet(width, height)
        assert page.image.shape == (50, 50)
        near = page.sheet.place(centre(page.image.astype(float)))
        # Within a tenth of a pixel of the canvas.
        assert np.abs(near - [x, y]).max() < 0.1 * max(width, height) / 50


def test_the_corners_of_a_canvas_are_those_of_a_square_around_the_picture():
    corners = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    assert Sheet(100, 40).place(corners).tolist() == [[0, -30], [100, 70], [50, 20]]
    assert Sheet(40, 101).place(corners)[:2].tolist() == [[-30, 0], [71, 101]]
    assert Sheet(100, 40).pixels == 50


def test_a_picture_of_a_digit_is_what_the_data_set_has(tmp_path):
    native = load_images("digits", "test", resolution=12, limit=5)
    expected = load_images("digits", "test", limit=5).images.float()
    for k, image in enumerate(native.images):
        page = read_page(save(tmp_path / f"{k}.png", image.numpy()), 50)
        full = expected[k] * (255 / expected[k].max())
        assert (torch.from_numpy(page.image).float() - full).abs().max() <= 3


def test_a_photographed_page_is_white_ink_on_black(tmp_path):
    clean = Image.new("L", (400, 300), 0)
    ImageDraw.Draw(clean).line([(200, 40), (150, 260)], fill=255, width=22)
    ink = np.asarray(clean) / 255
    noise = np.random.RandomState(0).normal(0, 6, ink.shape)
    pencil = (205 - 110 * ink + noise).clip(0, 255)
    seen = read_page(save(tmp_path / "page.jpg", pencil), 50).image.astype(float)
    plain = read_page(save(tmp_path / "clean.png", np.asarray(clean)), 50).image.astype(float)
    assert seen.max() == plain.max() == 255
    assert np.abs(seen - plain).mean() < 6
    assert seen[:5].max() < 16  # letter-box and paper are one


@pytest.mark.parametrize("level", [0, 90, 128, 255])
def test_paper_without_ink_is_blank_whatever_its_shade(tmp_path, level):
    grain = np.random.RandomState(0).normal(0, 5, (120, 200))
    for name, noise in (("even", 0 * grain), ("grainy", grain)):
        path = save(tmp_path / f"{name}.png", (level + noise).clip(0, 255))
        assert not read_page(path, 50).image.any()


def test_a_bar_on_grey_is_no_blank_page(tmp_path):
    grey = np.full((100, 100), 90)
    grey[40:60, 20:80] = 140
    image = read_page(save(tmp_path / "bar.png", grey), 50).image
    assert image[25, 25] == 255
    assert image[5, 5] == 0


def test_pictures_keep_their_sizes_and_get_names_of_their_own(tmp_path):
    first = save(tmp_path / "a" / "x.png", spot(30, 20, 8, 8))
    save(tmp_path / "a" / "deep" / "x.png", 255 - spot(40, 40, 20, 20))
    save(tmp_path / "a" / "out" / "trace.png", spot(40, 40, 20, 20))
    other = save(tmp_path / "b" / "x.png", spot(25, 25, 9, 9))
    empty = save(tmp_path / "b" / "x.bmp", np.zeros((25, 25)))
    pages = pages_of_pictures(
        [tmp_path / "a", first, other, empty], 24, without=tmp_path / "a" / "out"
    )
    assert pages.names == ["deep/x", "x", "x-2", "x-3"]
    assert pages.sheets == [Sheet(40, 40), Sheet(30, 20), Sheet(25, 25), Sheet(25, 25)]
    assert pages.images.shape == (4, 24, 24)
    assert [fact["remark"] for fact in pages.facts] == ["dark on light, inverted", "", "", "blank"]
    assert pages.facts[2]["picture"] == str(other)
    assert pages.truth is None


def test_a_picture_has_its_noise_wherever_it_is(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.png", spot(20, 20, 5 + 4 * k, 9, 3))
    together = pages_of_pictures([tmp_path], 24)
    alone = pages_of_pictures([tmp_path / "2.png"], 24)
    assert together.index[2] == alone.index[0]
    assert together.index.unique().numel() == 3
    assert together.facts[2]["fingerprint"] == alone.facts[0]["fingerprint"]


def test_what_is_no_picture_is_refused_by_name(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "nothing").mkdir()
    save(tmp_path / "dot.png", np.zeros((1, 1)))
    wide = save(tmp_path / "wide.png", np.zeros((50, 60)))
    for name, words in {
        "text.png": "cannot be read as a picture", "none.png": "no such file",
        "nothing": "holds no pictures", "dot.png": "1×1 pixels are too few",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=rf"{name}: {words}"):
            pages_of_pictures([wide, tmp_path / name], 24)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2999)
    with pytest.raises(InputError, match=r"wide\.png: 60×50 pixels are more than 2,999"):
        pages_of_pictures([wide], 24)


def test_scribbles_come_with_the_strokes_they_were_drawn_with(tmp_path):
    images = load_images("scribbles", "test", limit=7)
    pages = pages_of_set(images)
    assert pages.truth is not None
    true = scribbles_drawings()
    for k, index in enumerate(images.index.tolist()):
        assert torch.equal(pages.truth.strokes[k], true.strokes[index])
        assert pages.names[k] == f"scribbles-{index:05d}"
        assert pages.facts[k]["index"] == index
    assert pages_of_set(load_images("scribbles", "test", limit=7, transpose=True)).truth is None
    assert pages_of_set(load_images("digits", "test", limit=2)).truth is None
    # Other pictures under that name have other strokes.
    for k in range(10):
        save(tmp_path / "scribbles" / f"{k}.png", spot(20, 20, 5 + k, 9, 3))
    assert pages_of_set(load_images(str(tmp_path / "scribbles"), "all")).truth is None


def test_a_data_set_is_told_from_pictures():
    assert is_data_set("scribbles")
    assert is_data_set("some/where.npz")
    assert not is_data_set("./scribbles")
    assert not is_data_set("scribbles.png")

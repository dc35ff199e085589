"""Pictures of the user's own: polarity, sizes, transparency, folders, and broken files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from doodcli.data import files, pictures
from doodcli.data.load import load_images, load_pictures
from doodcli.errors import InputError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


def cross(height: int = 20, width: int = 20) -> np.ndarray:
    """A white cross on black, uint8 [height, width], clear of the border."""
    grey = np.zeros((height, width), np.uint8)
    grey[height // 2, 3:-3] = 255
    grey[3:-3, width // 2] = 255
    return grey


def save(path: Path, grey: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(path)
    return path


def test_dark_on_light_is_inverted_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    light = pictures.read_picture(save(tmp_path / "light.png", cross()))
    assert capsys.readouterr().err == ""
    dark = pictures.read_picture(save(tmp_path / "dark.png", 255 - cross()))
    captured = capsys.readouterr()
    assert "dark.png: dark on light, inverted" in captured.err
    assert captured.out == ""
    np.testing.assert_array_equal(light, cross())
    np.testing.assert_array_equal(dark, cross())


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_paper_shows_the_ink_whatever_its_colour(tmp_path: Path, ink: int) -> None:
    layers = np.full((20, 20, 4), ink, np.uint8)
    layers[..., 3] = cross()
    found = pictures.read_picture(save(tmp_path / "clear.png", layers))
    np.testing.assert_array_equal(found, cross())


def test_sixteen_bit_colour_palette_and_lossy_pictures_are_read(tmp_path: Path) -> None:
    deep = save(tmp_path / "deep.png", cross().astype(np.uint16) * 257)
    np.testing.assert_array_equal(pictures.read_picture(deep), cross())
    colour = save(tmp_path / "colour.bmp", np.repeat(cross()[..., None], 3, axis=2))
    np.testing.assert_array_equal(pictures.read_picture(colour), cross())
    for suffix in ("gif", "tiff", "webp", "jpg"):
        found = pictures.read_picture(save(tmp_path / f"lossy.{suffix}", cross()))
        assert np.abs(found.astype(int) - cross()).mean() < 8


def test_a_broken_picture_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "half.png", cross(90, 90))
    path.write_bytes(path.read_bytes()[:60])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("half.png", "text.png"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as a picture") as caught:
            pictures.read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        pictures.read_picture(tmp_path / "none.png")


def test_pictures_too_small_or_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot = save(tmp_path / "dot.png", np.zeros((1, 1), np.uint8))
    with pytest.raises(InputError, match=r"dot\.png: 1×1 pixels are too few"):
        pictures.read_picture(dot)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 399)
    with pytest.raises(InputError, match="20×20 pixels are more than 399"):
        pictures.read_picture(save(tmp_path / "bomb.png", cross()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard: an error beyond 200
    with pytest.raises(InputError, match=r"bomb\.png: cannot be read as a picture"):
        pictures.read_picture(tmp_path / "bomb.png")


def test_a_folder_becomes_squares_of_one_size_in_sorted_order(tmp_path: Path) -> None:
    save(tmp_path / "b" / "wide.png", cross(20, 60))
    save(tmp_path / "a" / "small.PNG", cross(10, 10))
    save(tmp_path / "a" / ".hidden.png", cross())
    (tmp_path / "notes.txt").write_text("not a picture")
    arrays = files.validated(pictures.read_folder(tmp_path), "folder")
    assert arrays["images"].shape == (2, 60, 60)
    assert arrays["classes"].tolist() == ["a", "b"]
    assert arrays["labels"].tolist() == [0, 1]
    np.testing.assert_array_equal(arrays["images"][1, 20:40], cross(20, 60))
    assert not arrays["images"][1, :20].any()


def test_large_pictures_shrink_to_the_common_size(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save(tmp_path / "page.png", 255 - cross(300, 200))
    arrays = pictures.read_folder(tmp_path)
    assert arrays["images"].shape == (1, 105, 105)
    assert arrays["classes"].tolist() == [tmp_path.name]
    assert "1 of 1 pictures are dark on light" in capsys.readouterr().err


def test_a_folder_is_split_four_to_one_the_same_way_each_time(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / f"{i:02}.png", cross())
    splits = [pictures.read_folder(tmp_path)["split"] for _ in range(2)]
    assert splits[0].sum() == 4
    np.testing.assert_array_equal(splits[0], splits[1])


def test_folders_train_and_test_are_the_splits(tmp_path: Path) -> None:
    for name in ("train/x/1.png", "train/y/1.png", "train/y/2.png", "test/x/1.png"):
        save(tmp_path / name, cross())
    arrays = pictures.read_folder(tmp_path)
    assert arrays["classes"].tolist() == ["x", "y"]
    assert sorted(zip(arrays["split"], arrays["labels"], strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 1),
        (1, 0),
    ]
    save(tmp_path / "stray.png", cross())
    with pytest.raises(InputError, match=r"stray\.png: is in neither train/ nor test/"):
        pictures.read_folder(tmp_path)


def test_empty_missing_and_spoilt_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        pictures.read_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        pictures.read_folder(tmp_path / "none")
    save(tmp_path / "fine.png", cross())
    (tmp_path / "spoilt.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"spoilt\.jpg: cannot be read"):
        pictures.read_folder(tmp_path)


def test_a_folder_loads_by_its_path(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / "drawings" / f"{i}.png", cross())
    found = load_images(str(tmp_path / "drawings"), "all")
    assert (found.name, len(found), found.remark) == ("drawings", 5, "")
    assert found.images.shape == (5, 50, 50)
    again = load_images(str(tmp_path / "drawings"), "test")
    assert again.fingerprint == found.fingerprint
    save(tmp_path / "drawings" / "5.png", cross(30, 30))
    assert load_images(str(tmp_path / "drawings"), "all").fingerprint != found.fingerprint


def omniglot_folder(folder: Path) -> Path:
    """Two background alphabets and one for evaluation, two drawings of each character."""
    for part, alphabet, character in (
        ("background", "Greek", "character01"),
        ("background", "Greek", "character02"),
        ("background", "Braille", "character01"),
        ("evaluation", "Elvish", "character01"),
    ):
        for drawing in ("0001_01.png", "0001_02.png"):
            path = folder / f"images_{part}" / alphabet / character / drawing
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - cross(105, 105)).convert("1").save(path)
    return folder


def test_omniglots_folder_keeps_alphabets_and_splits(tmp_path: Path) -> None:
    arrays = files.validated(pictures.read_folder(omniglot_folder(tmp_path)), "omniglot")
    assert arrays["classes"].tolist() == [
        "Braille/character01",
        "Greek/character01",
        "Greek/character02",
        "Elvish/character01",
    ]
    assert arrays["alphabets"].tolist() == ["Braille", "Greek", "Elvish"]
    assert arrays["alphabet"].tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert arrays["split"].tolist() == [0] * 6 + [1] * 2
    assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(arrays["images"][5], cross(105, 105))


def test_an_omniglot_folder_of_another_size_or_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images_background or images_evaluation"):
        pictures.read_omniglot_folder(tmp_path)
    save(tmp_path / "images_background" / "Greek" / "character01" / "1.png", cross())
    with pytest.raises(InputError, match=r"1\.png: 20×20 pixels; Omniglot's are 105×105"):
        pictures.read_omniglot_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_picture_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "secret.png", cross())
    path.chmod(0)
    with pytest.raises(InputError, match=r"secret\.png: cannot be read"):
        pictures.read_picture(path)


# ------------------------------------------------------------------ a few drawings of one's own


def test_files_and_folders_together_are_one_set_in_the_order_given(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    last = save(tmp_path / "last.png", 255 - cross(30, 90))
    save(tmp_path / "many" / "b" / "2.png", cross())
    save(tmp_path / "many" / "1.png", cross(40, 40))
    first = save(tmp_path / "first.png", cross(200, 200))
    found = load_pictures([first, tmp_path / "many", last], 24)
    assert found.classes == ("first.png", "1.png", "b/2.png", "last.png")
    assert found.labels.tolist() == found.index.tolist() == [0, 1, 2, 3]
    assert (found.name, found.part, found.alphabets) == ("pictures", "all", None)
    assert found.images.shape == (4, 24, 24)
    assert found.images.dtype == torch.uint8
    err = capsys.readouterr().err
    assert "last.png: dark on light, inverted" in err
    assert err.count("inverted") == 1
    other = load_pictures([first, last], 24)
    assert other.images.equal(found.images[[0, 3]])
    assert other.fingerprint != found.fingerprint
    assert load_pictures([first, last], 24).fingerprint == other.fingerprint


def test_grey_paper_becomes_black_and_faint_ink_white(tmp_path: Path) -> None:
    page = np.full((300, 300), 200, np.uint8)  # a photograph's paper
    page[60:240, 148:152] = 60  # four pixels in three hundred: faint when shrunk
    found = load_pictures([save(tmp_path / "photo.jpg", page)], 50).images[0]
    assert found.max() == 255
    assert (found[:, :20] < 8).all()
    assert (found[12:38, 24:26].amax(1) > 200).all()
    assert (found[:8] < 8).all()


def test_a_wide_drawing_keeps_its_shape(tmp_path: Path) -> None:
    page = np.full((100, 200), 230, np.uint8)
    page[10:90, 95:105] = 0
    found = load_pictures([save(tmp_path / "wide.png", page)], 50).images[0]
    ink = (found > 128).nonzero()
    low, high = ink.min(0).values.tolist(), ink.max(0).values.tolist()
    assert high[0] - low[0] == pytest.approx(80 / 4, abs=2)
    assert (low[0] + high[0]) / 2 == pytest.approx(24.5, abs=1)
    # What pads it to a square is as black as its paper.
    assert found[:14].max() == found[14:36, :20].max() == 0


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_page_without_ink_is_refused_by_name(tmp_path: Path, shade: int) -> None:
    page = np.full((60, 60), shade, np.uint8)
    page[30, 30] ^= 4  # dust
    blank = save(tmp_path / "blank.png", page)
    with pytest.raises(InputError, match=r"blank\.png: shows no ink at 50×50 pixels") as caught:
        load_pictures([save(tmp_path / "fine.png", cross()), blank])
    assert "\n" not in str(caught.value)


def test_a_folder_without_pictures_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no pictures"):
        load_pictures([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        load_pictures([tmp_path / "none.png"])

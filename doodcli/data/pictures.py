"""Pictures of the user's own: one file, a folder of them, or Omniglot's folder of PNGs."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from doodcli.data.files import Arrays
from doodcli.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
LARGEST_SIDE = 105  # Omniglot's: more than the models ever look at
MAX_PIXELS = 50_000_000  # beyond any photograph of a drawing; guards against decompression bombs
MIN_SIDE = 4  # below this there is no border to tell paper from ink
SPLIT_SEED = 20_220  # constant, so that a folder is split the same way in every run
OMNIGLOT_PARTS = ("images_background", "images_evaluation")
OMNIGLOT_SIDE = 105
FAINTEST = 26  # of 255: a picture without stronger ink, once its paper is taken off, is blank


class Sheet(NamedTuple):
    """A picture's own size in pixels, and where the square canvas of a model lies on it.

    The canvas is [−1, 1] × [−1, 1] (see `doodcli.model.drawing`); its side is the picture's
    longer one, as :func:`_square` letter-boxes it.
    """

    width: int
    height: int

    @property
    def pixels(self) -> float:
        """Pixels of the picture in half a canvas."""
        return max(self.width, self.height) / 2

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points of the canvas `[..., 2]` in pixels of the picture, from its top left corner."""
        longest = max(self.width, self.height)
        spare = np.array([(longest - self.width) // 2, (longest - self.height) // 2])
        return (points + 1) * self.pixels - spare


class Page(NamedTuple):
    """A picture of a drawing, made ready for a model."""

    image: np.ndarray
    """uint8 [side, side], white ink on black"""
    sheet: Sheet
    inverted: bool
    """it is dark on light"""


def read_picture(path: Path) -> np.ndarray:
    """One picture as uint8 [height, width], white ink on black.

    A picture whose border is light is taken for dark ink on paper and inverted, with a note on
    stderr. Raises InputError for what is no picture, too large or too small.
    """
    grey, inverted = _read(path)
    if inverted:
        _note_inverted(path)
    return grey


def _note_inverted(path: Path) -> None:
    _note(f"{path}: dark on light, inverted")


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _read(path: Path) -> tuple[np.ndarray, bool]:
    """A picture as uint8 [height, width], white on black, and whether it had to be inverted."""
    grey = _grey(path)
    inverted = bool(_paper(grey) > 127)
    return (255 - grey if inverted else grey), inverted


def _paper(grey: np.ndarray) -> float:
    """The level of what is drawn on: the median along the border."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])))


def read_page(path: Path, side: int) -> Page:
    """One picture of any size as a model reads it, and its own size.

    Grey paper becomes black and the strongest ink white, as the data sets have them: a photograph
    of a page would otherwise be ink all over.  A picture on which nothing stands out from its
    paper is all black.
    Raises InputError for what is no picture, too large or too small.
    """
    grey, inverted = _read(path)
    paper = _paper(grey)
    ink = (np.arange(256) - paper).clip(0) * (255 / (255 - paper))
    image = _square(ink.round().astype(np.uint8)[grey], side)
    most = int(image.max())
    full = np.zeros_like(image) if most < FAINTEST else (image * (255 / most)).round()
    return Page(full.astype(np.uint8), Sheet(grey.shape[1], grey.shape[0]), inverted)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture of a sensible size; whatever goes wrong with it becomes an InputError."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of bombs, odd EXIF and palettes: its size is judged below, the rest drawn
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"{path}: {width}×{height} pixels are more than {MAX_PIXELS:,}; shrink it"
                    )
                if min(width, height) < MIN_SIDE:
                    raise InputError(
                        f"{path}: {width}×{height} pixels are too few; "
                        f"a side has {MIN_SIDE} at least: replace or remove it"
                    )
                yield picture
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # Pillow's decoders raise whatever they trip over in broken bytes
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a picture ({reason}); replace or remove it"
        ) from error


def _grey(path: Path) -> np.ndarray:
    """A picture's luminance as stored, uint8 [height, width]; the first frame of several.

    Sixteen-bit greys are scaled, transparency is laid on paper.
    """
    with _opened(path) as original:
        picture = ImageOps.exif_transpose(original)
        if picture.mode.startswith("I") or picture.mode == "F":
            deep = np.nan_to_num(np.asarray(picture, dtype=np.float64))
            # Pillow keeps sixteen-bit PNG and TIFF in the modes I…
            peak = 65_535.0 if picture.mode != "F" else max(1.0, deep.max())
            return np.clip(deep * (255 / peak), 0, 255).round().astype(np.uint8)
        if not picture.has_transparency_data:
            return np.asarray(picture.convert("L"), dtype=np.uint8)
        layers = np.asarray(picture.convert("LA"), dtype=np.float64)
    grey, alpha = layers[..., 0], layers[..., 1] / 255
    # Ink on transparency has no paper: give it the one on which the ink can be seen.
    ink_is_light = (grey * alpha).sum() > 127 * alpha.sum()
    paper = 0.0 if ink_is_light else 255.0
    return (grey * alpha + paper * (1 - alpha)).round().astype(np.uint8)


def _square(grey: np.ndarray, side: int) -> np.ndarray:
    """Letter-boxed with black to a square, then antialiased bilinear: uint8 [side, side]."""
    height, width = grey.shape
    longest = max(height, width)
    box = np.zeros((longest, longest), np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    box[top : top + height, left : left + width] = grey
    resized = Image.fromarray(box).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def picture_files(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted; hidden files and folders are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_pictures(paths: list[Path], side: int) -> tuple[np.ndarray, list[str]]:
    """The user's own drawings as a model sees them: uint8 [n, side, side], and their names.

    A path is a picture or a folder of some. Unlike those of a data set, they are made to look
    alike: grey paper becomes black, and the brightest ink white, as lines of a large picture that
    is shrunk are faint. Raises InputError for what is no picture or shows no ink.
    """
    drawings, names = [], []
    for path in paths:
        files = picture_files(path) if path.is_dir() else [path]
        if not files:
            raise _no_pictures(path)
        drawings += [_drawing(file, side) for file in files]
        names += [file.relative_to(path if path.is_dir() else path.parent).as_posix()
                  for file in files]  # fmt: skip
    return np.stack(drawings), names


def _drawing(path: Path, side: int) -> np.ndarray:
    """One drawing in white on black, uint8 [side, side]."""
    page = read_page(path, side)
    if page.inverted:
        _note_inverted(path)
    if not page.image.any():
        raise InputError(
            f"{path}: shows no ink at {side}×{side} pixels; crop it, draw thicker lines, "
            "or leave it out"
        )
    return page.image


def _no_pictures(folder: Path) -> InputError:
    return InputError(
        f"{folder}: holds no pictures; put {', '.join(sorted(SUFFIXES))} files into it"
    )


def read_folder(folder: Path) -> Arrays:
    """A folder of pictures as the arrays of a data file (see `files`).

    A picture's class is its folder. Top folders `train` and `test` are the splits if both are
    there; otherwise a seeded fifth is for test. Pictures are made square and of one size: that of
    the largest, 105 pixels at most. Omniglot's own folder is recognised by its two parts.
    Raises InputError for a missing or empty folder and for a broken picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if any((folder / part).is_dir() for part in OMNIGLOT_PARTS):
        return read_omniglot_folder(folder)
    paths = picture_files(folder)
    if not paths:
        raise _no_pictures(folder)
    split, class_of = _split_and_classes(folder, paths)
    classes = sorted(set(class_of))
    return {
        "images": _pictures(paths, folder),
        "labels": np.array([classes.index(name) for name in class_of], np.int16),
        "split": split,
        "classes": np.array(classes),
    }


def _pictures(paths: list[Path], folder: Path) -> np.ndarray:
    """The pictures at one common size, uint8 [n, side, side]; a note counts the inverted ones.

    Two passes keep memory to one picture at a time: the first only asks for the sizes.
    """
    largest = 0
    for path in paths:
        with _opened(path) as picture:
            largest = max(largest, *picture.size)
    side = min(LARGEST_SIDE, largest)
    images = np.empty((len(paths), side, side), np.uint8)
    inverted = 0
    for i, path in enumerate(paths):
        grey, was_light = _read(path)
        images[i] = _square(grey, side)
        inverted += was_light
    if inverted:
        _note(f"{folder}: {inverted} of {len(paths)} pictures are dark on light, inverted")
    return images


def _split_and_classes(folder: Path, paths: list[Path]) -> tuple[np.ndarray, list[str]]:
    """The split, uint8 [n], and the class name of each picture."""
    relative = [path.relative_to(folder) for path in paths]
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        for path, parts in zip(paths, relative, strict=True):
            if parts.parts[0] not in ("train", "test"):
                raise InputError(f"{path}: is in neither train/ nor test/; move or remove it")
        split = np.array([parts.parts[0] == "test" for parts in relative], np.uint8)
        relative = [Path(*parts.parts[1:]) for parts in relative]
    else:
        split = np.zeros(len(paths), np.uint8)
        # RandomState, because its stream is frozen for ever
        order = np.random.RandomState(SPLIT_SEED).permutation(len(paths))
        split[order[: round(len(paths) / 5)]] = 1
    names = [parts.parent.as_posix() for parts in relative]
    return split, [folder.resolve().name if name == "." else name for name in names]


def read_omniglot_folder(folder: Path) -> Arrays:
    """Omniglot's PNGs as the arrays of a data file, with `alphabet` and `alphabets`.

    Expects `images_background/Alphabet/characterNN/*.png` (train) and/or `images_evaluation/…`
    (test), 105×105, ink black. Classes are named `Alphabet/characterNN`.
    Raises InputError if neither part is there, or a picture is broken or of another size.
    """
    paths, split, class_of = [], [], []
    for number, part in enumerate(OMNIGLOT_PARTS):
        found = sorted((folder / part).glob("*/*/*.png"))
        paths += found
        split += [number] * len(found)
        class_of += [path.relative_to(folder / part).parent.as_posix() for path in found]
    if not paths:
        raise InputError(
            f"{folder}: holds no {' or '.join(OMNIGLOT_PARTS)} with Alphabet/characterNN/*.png; "
            "unpack Omniglot's two zips there"
        )
    classes, labels = _numbered(class_of)
    alphabets, alphabet = _numbered(name.split("/")[0] for name in class_of)
    return {
        "images": np.stack([_omniglot_picture(path) for path in paths]),
        "labels": labels,
        "split": np.array(split, np.uint8),
        "classes": classes,
        "alphabet": alphabet,
        "alphabets": alphabets,
    }


def _omniglot_picture(path: Path) -> np.ndarray:
    """One character, uint8 [105, 105], with its black ink made white."""
    grey = _grey(path)
    if grey.shape != (OMNIGLOT_SIDE, OMNIGLOT_SIDE):
        raise InputError(
            f"{path}: {grey.shape[1]}×{grey.shape[0]} pixels; Omniglot's are "
            f"{OMNIGLOT_SIDE}×{OMNIGLOT_SIDE}: unpack the original zips anew"
        )
    return 255 - grey


def _numbered(names: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct names in order of first sight, and int16 positions in them."""
    listed = list(names)
    distinct = list(dict.fromkeys(listed))
    position = {name: i for i, name in enumerate(distinct)}
    return np.array(distinct), np.array([position[name] for name in listed], np.int16)

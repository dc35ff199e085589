"""The loader that every command uses: a part of a data set at the resolution of the models."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Self

import joblib
import numpy as np
import torch
import torch.nn.functional as F

from doodcli.data import files, pictures
from doodcli.data.files import Arrays, data_root_or_default
from doodcli.data.registry import DATA_SETS, data_set, departure
from doodcli.errors import InputError

__all__ = [
    "PARTS",
    "ImageSet",
    "data_root_or_default",
    "embedded_arrays",
    "load_begun",
    "load_images",
    "load_pictures",
    "resized",
]

PARTS = ("train", "validation", "test", "all")
HOLD_OUT = 10  # one in so many of the training images, or alphabets, is held out for validation
HOLD_OUT_SEED = 20_221  # constant: the hold-out is a property of the data set, not of a run
DIGITS_SEED = 20_222
MAX_RESOLUTION = 1_024
CHUNK_PIXELS = 2**24  # resized at a time: 64 MiB of float32


@dataclass(frozen=True)
class ImageSet:
    """A part of a data set, at one resolution.

    `index` is an image's position in the file: its identity, whatever part or limit it is in.
    `remark` is "" or says why the images are not the canonical ones.
    """

    name: str  # of the registry, or the path's stem for a user's own data
    part: str  # one of PARTS
    images: torch.Tensor  # uint8 [n, resolution, resolution], white ink on black
    labels: torch.Tensor  # int64 [n]
    index: torch.Tensor  # int64 [n]
    classes: tuple[str, ...]
    fingerprint: str  # 16 hex digits
    remark: str
    alphabets: torch.Tensor | None  # int64 [n]

    def __len__(self) -> int:
        return len(self.images)

    def some(self, limit: int, seed: int) -> Self:
        """A random subset of so many, as `limit` of :func:`load_images` has it."""
        kept = torch.from_numpy(_limited(np.arange(len(self)), limit, seed))
        alphabets = None if self.alphabets is None else self.alphabets[kept]
        return replace(
            self, images=self.images[kept], labels=self.labels[kept], index=self.index[kept],
            alphabets=alphabets,
        )  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """A data set with everything but its images, which `read_images` brings when needed."""

    name: str
    arrays: Arrays
    read_images: Callable[[], np.ndarray]  # uint8 [n, height, width]
    fingerprint: str
    remark: str


def load_images(
    name: str,
    part: str = "train",
    *,
    data_root: Path | None = None,
    resolution: int = 50,
    transpose: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """A part of a data set: a name of the registry, a .npz file, or a folder of pictures.

    `train` leaves out the tenth that is `validation` (whole alphabets where there are any); the
    same tenth in every run. `limit` keeps a random subset drawn with `seed`, in the order of the
    file; a smaller limit keeps a subset of what a larger one keeps. `transpose` swaps the axes.
    Raises InputError for an unknown name, part or file, and for a part without images.
    """
    if part not in PARTS:
        raise InputError(f"part {part!r} is unknown; known are {', '.join(PARTS)}")
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise InputError(f"resolution {resolution} is not in 1 to {MAX_RESOLUTION} pixels")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit} leaves no images; give 1 or more, or leave it out")
    opened = _opened(name, data_root_or_default(data_root))
    positions = _limited(_positions(opened, part), limit, seed)
    everything = torch.from_numpy(_cached_images(opened, resolution, transpose))
    index = torch.from_numpy(positions)
    labels = torch.from_numpy(opened.arrays["labels"].astype(np.int64))
    alphabet = opened.arrays.get("alphabet")
    remarks = [opened.remark, "transposed" if transpose else ""]
    return ImageSet(
        name=opened.name,
        part=part,
        images=everything if len(index) == len(everything) else everything[index],
        labels=labels[index],
        index=index,
        classes=tuple(str(label) for label in opened.arrays["classes"]),
        fingerprint=opened.fingerprint,
        remark="; ".join(filter(None, remarks)),
        alphabets=None if alphabet is None else torch.from_numpy(alphabet.astype(np.int64))[index],
    )


def load_pictures(paths: list[Path], resolution: int = 50) -> ImageSet:
    """Pictures of the user's own, as a set whose classes are their names; folders are all in it.

    Raises InputError for a picture that cannot be read or shows no ink.
    """
    images, names = pictures.read_pictures(paths, resolution)
    order = torch.arange(len(images))
    return ImageSet(
        "pictures", "all", torch.from_numpy(images), order, order, tuple(names),
        files.digest({"images": images}), "", None,
    )  # fmt: skip


def load_begun(scribbles: ImageSet, strokes: int) -> torch.Tensor:
    """The images of the set `scribbles` with their first true strokes only, as its `images`."""
    # Imported here because the scribbles are drawn by the model's renderer.
    from doodcli.data.scribbles import scribbles_begun  # noqa: PLC0415

    begun = scribbles_begun(scribbles.index, strokes)
    transposed = "transposed" in scribbles.remark
    side = scribbles.images.shape[-1]
    return torch.from_numpy(_resized_images("", side, transposed, lambda: begun))


def _opened(name: str, root: Path) -> _Opened:
    """The data set of that name or path. Raises InputError."""
    if name in DATA_SETS:
        return _opened_registered(name, root)
    path = Path(name).expanduser()
    if path.is_dir():
        return _opened_arrays(path.resolve().name, pictures.read_folder(path))
    if path.suffix == ".npz" or path.is_file():
        return _opened_file(path.stem, path)
    if len(path.parts) > 1:
        raise InputError(f"{path}: no such file or folder")
    data_set(name)  # says which names are known
    raise AssertionError("unreachable: a known name is opened above")


def _opened_registered(name: str, root: Path) -> _Opened:
    entry = data_set(name)
    if entry.archive:
        raise InputError(
            f"data set {name}: is {entry.title}, no set of images; `dood oneshot` reads it"
        )
    if entry.embedded:
        arrays = embedded_arrays(name)
        return _opened_arrays(name, arrays, departure(entry, arrays))
    path = root / f"{name}.npz"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; get it by `dood data fetch {name}`, "
            "or name the folder that has it with --data-root"
        )
    opened = _opened_file(name, path)
    return _Opened(
        opened.name,
        opened.arrays,
        opened.read_images,
        opened.fingerprint,
        departure(entry, opened.arrays),
    )


def _opened_file(name: str, path: Path) -> _Opened:
    return _Opened(
        name=name,
        arrays=files.read(path, images=False),
        read_images=lambda: files.read(path)["images"],
        fingerprint=files.fingerprint(path),
        remark="",
    )


def _opened_arrays(name: str, arrays: Arrays, remark: str = "") -> _Opened:
    arrays = files.validated(arrays, name)
    return _Opened(name, arrays, lambda: arrays["images"], files.digest(arrays), remark)


@cache
def embedded_arrays(name: str) -> Arrays:
    """The arrays of a set that needs no file, as in a data file; made once in a process."""
    if name == "digits":
        return _digits_arrays()
    # Imported here because the scribbles are drawn by the model's renderer.
    from doodcli.data.scribbles import scribbles_arrays  # noqa: PLC0415

    return scribbles_arrays(seed=0)


def _digits_arrays() -> Arrays:
    """scikit-learn's 1,797 digits, uint8 [n, 12, 12], a seeded fifth of each class for test.

    They are 8×8 and touch all four edges; a margin of 2 gives them the room that MNIST's have.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  (a second to import)
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    digits = load_digits()
    split = np.zeros(len(digits.target), np.uint8)
    _, test = train_test_split(
        np.arange(len(split)), test_size=0.2, random_state=DIGITS_SEED, stratify=digits.target
    )
    split[test] = 1
    return {
        "images": np.pad(
            np.round(digits.images * (255 / 16)).astype(np.uint8), ((0, 0), (2, 2), (2, 2))
        ),
        "labels": digits.target.astype(np.int16),
        "split": split,
        "classes": np.array(list("0123456789")),
    }


def _positions(opened: _Opened, part: str) -> np.ndarray:
    """The positions in the file of a part's images, int64 [n], ascending. Raises InputError."""
    split = opened.arrays["split"]
    train = np.flatnonzero(split == 0)
    if part == "all":
        return np.arange(len(split))
    if part == "test":
        positions = np.flatnonzero(split == 1)
    else:
        held_out = _held_out(train, opened.arrays.get("alphabet"))
        positions = held_out if part == "validation" else np.setdiff1d(train, held_out)
    if len(positions) == 0:
        raise InputError(
            f"data set {opened.name}: has no {part} images "
            f"({len(train):,} train and {len(split) - len(train):,} test in all; validation is "
            f"one in {HOLD_OUT} of train); add some, or take another part"
        )
    return positions


def _held_out(train: np.ndarray, alphabet: np.ndarray | None) -> np.ndarray:
    """The training positions kept for validation, ascending: a tenth, by whole alphabets if any.

    A lone alphabet cannot be held out whole: then a tenth of its images is.
    """
    # RandomState, because its stream is frozen for ever
    random = np.random.RandomState(HOLD_OUT_SEED)
    if alphabet is not None:
        names = np.unique(alphabet[train])
        if len(names) > 1:
            chosen = random.permutation(names)[: max(1, round(len(names) / HOLD_OUT))]
            return train[np.isin(alphabet[train], chosen)]
    return np.sort(random.permutation(train)[: round(len(train) / HOLD_OUT)])


def _limited(positions: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    if limit is None or limit >= len(positions):
        return positions
    return np.sort(np.random.RandomState(seed).permutation(positions)[:limit])


def _cache_folder() -> Path:
    """$DOOD_CACHE, else the folder `dood` in the user's cache."""
    if os.environ.get("DOOD_CACHE"):
        return Path(os.environ["DOOD_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dood"


def _cached_images(opened: _Opened, resolution: int, transpose: bool) -> np.ndarray:
    """All images of the set at the resolution, uint8 [n, r, r], mapped from the cache if it can.

    A cache folder that cannot be written costs time, not the run.
    """
    read = opened.read_images
    arguments = (opened.fingerprint, resolution, transpose, read)
    try:
        with warnings.catch_warnings():
            # joblib warns of a slow or a full disk: of no use to whoever waits for the images
            warnings.filterwarnings("ignore", message="Persisting input|Unable to cache")
            # Copy on write: torch refuses to wrap arrays that cannot be written.
            memory = joblib.Memory(_cache_folder(), mmap_mode="c", verbose=0)
            return memory.cache(_resized_images, ignore=["read"], verbose=0)(*arguments)
    except (OSError, RuntimeError, KeyError, ValueError):
        # RuntimeError: no home folder; KeyError, ValueError: the entry could not be written whole.
        return _resized_images(*arguments)


def _resized_images(
    fingerprint: str,  # noqa: ARG001  (the key of the cache, in place of the images)
    resolution: int,
    transpose: bool,
    read: Callable[[], np.ndarray],
) -> np.ndarray:
    """The images that `read` brings, squared and resized: uint8 [n, resolution, resolution]."""
    images = _squared(read())
    resized = np.empty((len(images), resolution, resolution), np.uint8)
    chunk = max(1, CHUNK_PIXELS // max(images[0].size, resolution**2))
    resize = partial(F.interpolate, mode="bilinear", antialias=True, align_corners=False)
    for start in range(0, len(images), chunk):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + chunk]))
        smooth = resize(part[:, None].float(), size=(resolution, resolution))[:, 0]
        if transpose:
            smooth = smooth.transpose(1, 2)
        resized[start : start + chunk] = smooth.round().clamp(0, 255).byte().numpy()
    return resized


def resized(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """Pictures uint8 [n, height, width] as `load_images` would give them at a resolution."""
    made = _resized_images("", resolution, False, images.numpy)
    return torch.from_numpy(made)


def _squared(images: np.ndarray) -> np.ndarray:
    """Letter-boxed with black, in the middle: [n, h, w] to [n, max(h, w), max(h, w)]."""
    height, width = images.shape[1:]
    spare_rows, spare_columns = max(0, width - height), max(0, height - width)
    if not spare_rows and not spare_columns:
        return images
    rows = (spare_rows // 2, spare_rows - spare_rows // 2)
    columns = (spare_columns // 2, spare_columns - spare_columns // 2)
    return np.pad(images, ((0, 0), rows, columns))

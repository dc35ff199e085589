"""The data sets: those of the paper, its one-shot runs, and two sets that need no network."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from doodcli.errors import InputError

QUICKDRAW_CATEGORIES = (
    "eye",
    "bicycle",
    "tree",
    "eyeglasses",
    "book",
    "airplane",
    "cell phone",
    "smiley face",
    "apple",
    "car",
)
QUICKDRAW_ROWS = 5_000  # the first so many drawings of each category

# 47 classes: letters whose two cases look alike in handwriting are merged into the upper case.
EMNIST_CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")


@dataclass(frozen=True)
class Source:
    """One file to download: its path below the set's base URL, and its digest where known."""

    path: str
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class DataSet:
    """One data set, and what makes a file of it the canonical one.

    `n_train`, `n_test` and `size` (native pixels a side) are None where nothing fixes them.
    A set without sources is embedded: it is made on the spot and needs no file. One with an
    `archive` is kept as it is published, in a file of that name; it is read by an experiment of its
    own and is no set of images.
    """

    name: str
    title: str
    n_train: int | None
    n_test: int | None
    size: int | None
    n_classes: int | None
    licence: str
    canonical: str
    base_url: str = ""
    sources: tuple[Source, ...] = ()
    class_names: tuple[str, ...] = ()
    archive: str = ""

    @property
    def file(self) -> str:
        """The name of its file below the data root."""
        return self.archive or f"{self.name}.npz"

    @property
    def embedded(self) -> bool:
        """True if the set is made on the spot instead of read from a file."""
        return not self.sources


_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_sources(*md5s: str) -> tuple[Source, ...]:
    """The four files of a set in MNIST's own format, in the order of `_IDX_FILES`."""
    return tuple(Source(path, md5) for path, md5 in zip(_IDX_FILES, md5s, strict=True))


_DATA_SETS = (
    DataSet(
        name="mnist",
        title="MNIST, handwritten digits",
        n_train=60_000,
        n_test=10_000,
        size=28,
        n_classes=10,
        licence="CC BY-SA 3.0 (LeCun, Cortes)",
        canonical="the original split, all images",
        base_url="https://ossci-datasets.s3.amazonaws.com/mnist",
        sources=_idx_sources(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        class_names=tuple("0123456789"),
    ),
    DataSet(
        name="emnist",
        title="EMNIST, handwritten digits and letters",
        n_train=112_800,
        n_test=18_800,
        size=28,
        n_classes=47,
        licence="US government work (NIST)",
        canonical='the "balanced" split, all images, upright',
        base_url="https://biometrics.nist.gov/cs_links/EMNIST",
        sources=(Source("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),),
        class_names=EMNIST_CLASSES,
    ),
    DataSet(
        name="kmnist",
        title="Kuzushiji-MNIST, cursive Japanese characters",
        n_train=60_000,
        n_test=10_000,
        size=28,
        n_classes=10,
        licence="CC BY-SA 4.0 (ROIS-DS CODH)",
        canonical="the original split, all images",
        base_url="http://codh.rois.ac.jp/kmnist/dataset/kmnist",
        sources=_idx_sources(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        class_names=tuple("おきすつなはまやれを"),
    ),
    DataSet(
        name="quickdraw",
        title="Quick, Draw! bitmaps of ten everyday things",
        n_train=40_000,
        n_test=10_000,
        size=28,
        n_classes=10,
        licence="CC BY 4.0 (Google)",
        canonical="the first 5,000 of each of the paper's ten categories, a fifth of each for test",
        base_url="https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap",
        sources=tuple(Source(f"{quote(category)}.npy") for category in QUICKDRAW_CATEGORIES),
        class_names=QUICKDRAW_CATEGORIES,
    ),
    DataSet(
        name="omniglot",
        title="Omniglot, characters of 50 alphabets",
        n_train=19_280,
        n_test=13_180,
        size=105,
        n_classes=1_623,
        licence="MIT (Lake)",
        canonical="the 30 background alphabets train, the 20 evaluation alphabets test",
        base_url="https://raw.githubusercontent.com/brendenlake/omniglot/master/python",
        sources=(
            Source("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
            Source("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
        ),
    ),
    DataSet(
        name="omniglot-oneshot",
        title="Omniglot's 20 official one-shot runs",
        n_train=400,
        n_test=400,
        size=105,
        n_classes=None,
        licence="MIT (Lake)",
        canonical="the published archive",
        base_url=(
            "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
            "one-shot-classification"
        ),
        sources=(
            Source(
                "all_runs.zip",
                sha256="437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325",
            ),
        ),
        archive="omniglot-oneshot-all_runs.zip",
    ),
    DataSet(
        name="digits",
        title="scikit-learn's digits, with a margin",
        n_train=1_437,
        n_test=360,
        size=12,
        n_classes=10,
        licence="CC BY 4.0 (Alpaydin, Kaynak; UCI)",
        canonical="a seeded split, a fifth of each class for test",
        class_names=tuple("0123456789"),
    ),
    DataSet(
        name="scribbles",
        title="scribbles, drawn by a program",
        n_train=None,
        n_test=None,
        size=None,
        n_classes=None,
        licence="MIT (this project)",
        canonical="as generated with seed 0",
    ),
)

DATA_SETS: Mapping[str, DataSet] = {entry.name: entry for entry in _DATA_SETS}


def data_set(name: str) -> DataSet:
    """The data set of that name.

    Raises InputError for an unknown name, with the known and the closest ones.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    close = difflib.get_close_matches(name.lower(), DATA_SETS, n=2)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"data set {name!r} is unknown: {hint}known are {', '.join(DATA_SETS)}, "
        "or give the path of a .npz file or of a folder of pictures"
    )


def departure(entry: DataSet, arrays: Mapping[str, np.ndarray]) -> str:
    """Why a file is not the canonical one; "" if nothing speaks against it.

    `arrays` needs `split` [n] and `classes` [c]; `images` [n, h, w] are looked at if present.
    """
    remarks = []
    found = {str(label).replace("_", " ") for label in arrays["classes"]}
    other = sorted(found - set(entry.class_names))
    lacking = sorted(set(entry.class_names) - found)
    if entry.class_names and (other or lacking):
        remarks.append(
            f"other categories: {', '.join(other) or 'none'} instead of "
            f"{', '.join(lacking) or 'none'}"
        )
    elif entry.n_classes not in (None, len(arrays["classes"])):
        remarks.append(f"{len(arrays['classes']):,} classes instead of {entry.n_classes:,}")
    n_train = int((arrays["split"] == 0).sum())
    n_test = len(arrays["split"]) - n_train
    if entry.n_train is not None and (n_train, n_test) != (entry.n_train, entry.n_test):
        like = "balanced-like: " if entry.name == "emnist" else ""
        remarks.append(
            f"{like}{n_train:,}/{n_test:,} images instead of {entry.n_train:,}/{entry.n_test:,}"
        )
    if "images" in arrays and entry.size not in (None, arrays["images"].shape[1]):
        height, width = arrays["images"].shape[1:]
        remarks.append(f"{height}×{width} pixels instead of {entry.size}×{entry.size}")
    return "; ".join(remarks)


def short(name: str) -> str:
    """What a set is called in tables and file names: its name, or of a path the last part."""
    return (
        name if name in DATA_SETS else Path(name).expanduser().resolve().name.removesuffix(".npz")
    )


def known(name: str, option: str) -> None:
    """InputError when `name` is neither a set of images in the registry nor a path to something."""
    if name in DATA_SETS and DATA_SETS[name].archive:
        raise InputError(f"{option} {name}: is no set of images; `dood oneshot` reads it")
    if name not in DATA_SETS and not Path(name).expanduser().exists():
        raise InputError(
            f"{option} {name}: neither a data set nor a path; `dood data list` names them"
        )


def source_note(entry: DataSet, base_url: str | None = None) -> dict[str, object]:
    """Where a file of this set comes from: the plain values of its `source` entry."""
    base = base_url or entry.base_url
    return {
        "name": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "canonical": entry.canonical,
        "urls": [f"{base}/{source.path}" for source in entry.sources],
    }


def read_source_note(arrays: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The `source` entry of a data file as plain values; empty where there is none."""
    note = json.loads(str(arrays["source"])) if "source" in arrays else {}
    return note if isinstance(note, dict) else {}

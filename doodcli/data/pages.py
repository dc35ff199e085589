"""Drawings to be traced: pictures of the user's own, or images of a data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from doodcli.data import files
from doodcli.data.load import embedded_arrays
from doodcli.data.pictures import Sheet, picture_files, read_page
from doodcli.data.registry import DATA_SETS
from doodcli.data.scribbles import scribbles_drawings
from doodcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from doodcli.data.load import ImageSet
    from doodcli.data.pictures import Page
    from doodcli.model.drawing import Drawing


@dataclass(frozen=True)
class Pages:
    """What is traced: images as a model reads them, and what is known of each."""

    names: list[str]
    """of the files that are made of each, without suffix; all different"""
    sheets: list[Sheet]
    """the pictures' own sizes"""
    images: Tensor
    """uint8 `[n, R, R]`, white ink on black"""
    index: Tensor
    """int64 `[n]`: names the images for their noise"""
    facts: list[dict[str, object]]
    """where each comes from: the columns of its row"""
    truth: Drawing | None = None
    """`[n, ...]`, the strokes that they were drawn with, where these are known"""


def is_data_set(name: str) -> bool:
    """Whether what is to be traced is a data set, not a picture or a folder of them."""
    return name in DATA_SETS or Path(name).suffix == ".npz"


def pages_of_set(images: ImageSet) -> Pages:
    """The images of a data set; those of `scribbles` with their true strokes."""
    side = images.images.shape[-1]
    positions = images.index.tolist()
    facts = [
        {"picture": f"{images.name} {k}", "dataset": images.name, "part": images.part, "index": k,
         "fingerprint": images.fingerprint, "remark": images.remark}
        for k in positions
    ]  # fmt: skip
    truth = None
    # Neither another file of that name nor a transposed copy has these strokes.
    if images.fingerprint == files.digest(embedded_arrays("scribbles")) and not images.remark:
        truth = scribbles_drawings().map(lambda part: part[images.index])
    return Pages(
        [f"{images.name}-{k:05d}" for k in positions], [Sheet(side, side)] * len(positions),
        images.images, images.index, facts, truth,
    )  # fmt: skip


def pages_of_pictures(items: Sequence[Path], side: int, without: Path | None = None) -> Pages:
    """Pictures of any size and polarity: files, and all that are in folders but for `without`.

    An image's noise is a function of the image: it is traced alike whatever is traced beside it.
    Raises InputError for what is no picture, and for a folder that holds none.
    """
    found = list(_found(items, without))
    pages = [read_page(path, side) for _, path in found]
    digests = [hashlib.sha256(page.image.tobytes()).hexdigest() for page in pages]
    facts: list[dict[str, object]] = [
        {"picture": str(path).encode(errors="replace").decode(), "dataset": "pictures",
         "fingerprint": digest[:16], "remark": "; ".join(_remarks(page))}
        for (_, path), page, digest in zip(found, pages, digests, strict=True)
    ]  # fmt: skip
    return Pages(
        _names(name for name, _ in found),
        [page.sheet for page in pages],
        torch.stack([torch.from_numpy(page.image) for page in pages]),
        torch.tensor([int(digest[:8], 16) for digest in digests]),
        facts,
    )


def _found(items: Sequence[Path], without: Path | None) -> Iterable[tuple[str, Path]]:
    """Each picture once, with its name: its path in the folder that was given, or its stem."""
    seen = set()
    for item in items:
        paths = [item]
        if item.is_dir():
            paths = picture_files(item)
            if without is not None:
                paths = [path for path in paths if without.resolve() not in path.resolve().parents]
            if not paths:
                raise InputError(f"{item}: holds no pictures; put PNG or JPEG files into it")
        for path in paths:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                inside = path.relative_to(item) if item.is_dir() else Path(path.name)
                yield inside.with_suffix("").as_posix(), path


def _names(wanted: Iterable[str]) -> list[str]:
    """The names, with a number behind those that are taken."""
    taken: dict[str, None] = {}
    for name in wanted:
        free, number = name, 2
        while free in taken:
            free, number = f"{name}-{number}", number + 1
        taken[free] = None
    return list(taken)


def _remarks(page: Page) -> Iterable[str]:
    if page.inverted:
        yield "dark on light, inverted"
    if not page.image.any():
        yield "blank"

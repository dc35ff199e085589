"""One-shot classification: the 20 official runs of Omniglot, and episodes of the same form.

In an episode there is one picture of each class, the support, and pictures to classify, the
queries.  All classes are of one alphabet.
"""

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from doodcli.data import files
from doodcli.data.load import ImageSet, data_root_or_default, load_images, resized
from doodcli.data.registry import data_set
from doodcli.errors import InputError

OFFICIAL = "official"
KINDS = (OFFICIAL, "background", "scribbles")
NAME = "omniglot-oneshot"
SIDE = 105
RUNS, WAYS = 20, 20
MOST_BYTES = 1_000_000  # of one file in the archive; the published ones have less than a thousand
PARTS = {"background": ("validation", "train"), "scribbles": ("test", "validation", "train")}
"""Which parts episodes may be of, the default first.  Omniglot's test alphabets are those of the
official runs: no choice may be made on them."""


@dataclass(frozen=True)
class Episode:
    """One picture of each class, and pictures to classify."""

    name: str
    alphabet: str  # "" where it is not known
    part: str  # official, validation, train or test
    support: torch.Tensor  # uint8 [ways, height, width], white ink on black, native resolution
    queries: torch.Tensor  # uint8 [queries, height, width]
    truth: torch.Tensor  # int64 [queries], position of a query's class in the support
    support_index: torch.Tensor  # int64 [ways], names the pictures for their noise
    query_index: torch.Tensor  # int64 [queries]

    def at(self, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Support and queries as models see them: uint8 `[n, resolution, resolution]`."""
        return resized(self.support, resolution), resized(self.queries, resolution)


@dataclass(frozen=True)
class EpisodeSet:
    """The episodes of an experiment, and where they come from."""

    kind: str  # one of KINDS
    episodes: tuple[Episode, ...]
    fingerprint: str  # 16 hex digits, of the file that the pictures are from
    remark: str  # "" or why the pictures are not the canonical ones


def load_episodes(
    kind: str,
    *,
    part: str | None = None,
    data_root: Path | None = None,
    runs_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> EpisodeSet:
    """The first `limit` episodes of a kind: `official`, or sampled from `background`, `scribbles`.

    `part` chooses the alphabets of sampled episodes (see PARTS).  Without a limit there are 20.
    The official runs are in the data root unless `runs_file` names their archive.
    Raises InputError for what is unknown or not there, and for a part that must not be used.
    """
    if kind not in KINDS:
        raise InputError(f"--episodes {kind}: choose from {', '.join(KINDS)}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit} leaves no runs; give 1 or more, or leave it out")
    root = data_root_or_default(data_root)
    if kind == OFFICIAL:
        if part is not None:
            raise InputError(f"--part {part}: the official runs have no parts; leave it out")
        return _official(runs_file or root / data_set(NAME).archive, limit)
    if part is None:
        part = PARTS[kind][0]
    if part not in PARTS[kind]:
        why = "; the test alphabets are those of the official runs" if part == "test" else ""
        raise InputError(f"--part {part}: choose from {', '.join(PARTS[kind])}{why}")
    name = "omniglot" if kind == "background" else kind
    side = data_set(name).size or 50
    images = load_images(name, part, data_root=root, resolution=side)
    found = sampled(images, limit or RUNS, seed)
    return EpisodeSet(kind, found, images.fingerprint, images.remark)


# --- episodes that are sampled -------------------------------------------------------------------


def sampled(images: ImageSet, count: int, seed: int = 0) -> tuple[Episode, ...]:
    """Episodes of one alphabet and two hands each, like the official ones.

    Alphabets take turns; those of fewer than 20 classes only where no other is there, and then
    an episode has as many ways as there are classes.  The n-th picture of a class is taken for the
    n-th hand's, as it is in Omniglot: the support is of one hand, the queries are of another.
    Episode k of a seed is the same however many there are.  InputError without alphabets.
    """
    if images.alphabets is None:
        raise InputError(f"{images.name}: has no alphabets, so there are no within-alphabet runs")
    numbers = [int(number) for number in torch.unique(images.alphabets)]
    sizes = [len(torch.unique(images.labels[images.alphabets == number])) for number in numbers]
    enough = [n for n, size in zip(numbers, sizes, strict=True) if size >= WAYS] or numbers
    return tuple(_sampled(images, enough[k % len(enough)], k, seed) for k in range(count))


def _sampled(images: ImageSet, alphabet: int, number: int, seed: int) -> Episode:
    random = np.random.RandomState([seed, number])  # its stream is frozen for ever
    assert images.alphabets is not None
    own = torch.nonzero(images.alphabets == alphabet)[:, 0]
    classes = torch.unique(images.labels[own])
    chosen = classes[torch.from_numpy(random.permutation(len(classes))[:WAYS])]
    rows = [own[images.labels[own] == label] for label in chosen]
    hands = random.permutation(min(map(len, rows)))[:2]
    if len(hands) < 2:
        raise InputError(f"{images.name}: a class has a single picture; an episode needs two")
    support, queries = (torch.stack([row[hand] for row in rows]) for hand in hands)
    order = torch.from_numpy(random.permutation(len(rows)))
    queries = queries[order]
    name = images.classes[int(chosen[0])].partition("/")[0]
    return Episode(
        f"{number + 1:02}-{name}", name, images.part, images.images[support],
        images.images[queries], order, images.index[support], images.index[queries],
    )  # fmt: skip


# --- the official runs ---------------------------------------------------------------------------


def _official(path: Path, limit: int | None) -> EpisodeSet:
    episodes = read_runs(path)[:limit]
    return EpisodeSet(OFFICIAL, episodes, files.fingerprint(path), departure_of(path))


def departure_of(path: Path) -> str:
    """Why an archive is not the official one; "" if it is."""
    published = data_set(NAME).sources[0].sha256
    assert published is not None
    return "" if published.startswith(files.fingerprint(path)) else "not the published file"


def read_runs(path: Path) -> tuple[Episode, ...]:
    """Every run of an archive as it is published; nothing is unpacked to the disk.

    `runNN/training/classMM.png`, `runNN/test/itemMM.png`, 105×105, ink black, and
    `runNN/class_labels.txt`, which pairs each item with its class.
    Raises InputError that names the file if it is missing, damaged or of another form.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; get it by `dood data fetch {NAME}`, "
            "or name the folder that has it with --data-root"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(set(re.findall(r"^run\d+(?=/)", "\n".join(archive.namelist()), re.M)))
            if not names:
                raise ValueError("it holds no run01, run02, …")
            return tuple(_run(archive, name) for name in names)
    except (
        OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError,
        zipfile.BadZipFile, zlib.error, SyntaxError,
    ) as error:  # fmt: skip
        # Whatever zipfile and Pillow raise on bad bytes.
        reason = " ".join(str(error).split()).strip("'\"") or type(error).__name__
        raise InputError(
            f"{path}: cannot be read as one-shot runs ({reason}); "
            f"`dood data fetch {NAME} --force` brings it anew"
        ) from error


def _run(archive: zipfile.ZipFile, name: str) -> Episode:
    """One run of the archive.  ValueError and KeyError say what is wrong with it."""
    listed = _read(archive, f"{name}/class_labels.txt").decode("ascii").split()
    items, classes = listed[::2], listed[1::2]
    if not items or len(items) != len(classes):
        raise ValueError(f"{name}/class_labels.txt is no list of pairs")
    support = sorted(set(classes) | _pictures_of(archive, f"{name}/training/"))
    position = {picture: i for i, picture in enumerate(support)}
    number = int(name.removeprefix("run")) * 1000
    return Episode(
        name,
        "",
        OFFICIAL,
        torch.stack([_picture(archive, picture) for picture in support]),
        torch.stack([_picture(archive, picture) for picture in items]),
        torch.tensor([position[picture] for picture in classes]),
        number + torch.arange(len(support)),
        number + 500 + torch.arange(len(items)),
    )


def _pictures_of(archive: zipfile.ZipFile, folder: str) -> set[str]:
    return {n for n in archive.namelist() if n.startswith(folder) and n.endswith(".png")}


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member; one that says it is larger than it can be is not unpacked."""
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES:,} bytes")
    return archive.read(name)


def _picture(archive: zipfile.ZipFile, name: str) -> torch.Tensor:
    """A picture with its black ink made white, uint8 [105, 105]."""
    with Image.open(io.BytesIO(_read(archive, name)), formats=["PNG"]) as picture:
        if picture.size != (SIDE, SIDE):
            width, height = picture.size
            raise ValueError(f"{name} has {width}×{height} pixels, not {SIDE}×{SIDE}")
        return torch.from_numpy(255 - np.asarray(picture.convert("L"), dtype=np.uint8))

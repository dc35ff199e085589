"""Data sets from their publishers into NAME.npz: resumable, checked, whole or not at all."""

import contextlib
import gzip
import hashlib
import http.client
import io
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doodcli.data import files, pictures
from doodcli.data.files import Arrays
from doodcli.data.registry import (
    EMNIST_CLASSES,
    QUICKDRAW_CATEGORIES,
    QUICKDRAW_ROWS,
    DataSet,
    Source,
    data_set,
    source_note,
)
from doodcli.errors import InputError

Progress = Callable[[str, int, int | None], None]  # what, bytes so far, bytes in all if known

STAGING = ".download"  # below the data root: downloads that are not whole yet
TIMEOUT_S = 30.0
CHUNK_BYTES = 2**16
NPY_HEADER_BYTES = 4_096  # more than any header of a plain array
QUICKDRAW_SIDE = 28
QUICKDRAW_SEED = 20_223
HTTP_PARTIAL, HTTP_BAD_RANGE = 206, 416


@dataclass(frozen=True)
class Retry:
    """How often to try again when a connection fails, and the first pause; pauses double."""

    times: int = 4
    pause_s: float = 1.0


def fetch(
    name: str,
    root: Path,
    progress: Progress | None = None,
    *,
    base_url: str | None = None,
    retry: Retry | None = None,
) -> Path:
    """Download a data set and write `root/NAME.npz`; returns its path. An old file is replaced.

    An archive that is kept as published goes to `root` under the name that the registry has for it.
    What was downloaded stays in `root/.download/NAME` until the file is written, so that a second
    call continues where the first was cut off. `base_url` replaces the publisher's address.
    Raises InputError for an unknown or embedded name, a root that cannot be written, a network
    that cannot be reached, and downloads that are not what the publisher published.
    """
    entry = data_set(name)
    if entry.embedded:
        raise InputError(f"data set {name} is embedded and needs no file: use it as it is")
    staging = root / STAGING / name
    _require_writable(staging)
    base = (base_url or entry.base_url).rstrip("/")
    job = _Job(entry, staging, base, progress or _silent, retry or Retry(), root)
    path = root / entry.file
    try:
        if entry.archive:
            _publish_archive(job, path)
        else:
            arrays = _quickdraw_arrays(job) if name == "quickdraw" else _published_arrays(job)
    except OSError as error:
        raise InputError(
            f"{staging}: cannot be used ({error.strerror or error}); make room, or choose "
            "another folder with --data-root"
        ) from error
    if not entry.archive:
        files.write(path, arrays, source_note(entry, base))
    shutil.rmtree(staging, ignore_errors=True)
    with contextlib.suppress(OSError):  # other sets may still have their downloads there
        staging.parent.rmdir()
    return path


def import_omniglot_folder(folder: Path, root: Path) -> Path:
    """Write `root/omniglot.npz` from Omniglot's folder of PNGs; returns its path.

    Raises InputError for a folder that is not Omniglot's and a root that cannot be written.
    """
    arrays = pictures.read_omniglot_folder(folder)
    path = root / "omniglot.npz"
    files.write(path, arrays, {**source_note(data_set("omniglot")), "urls": []})
    return path


@dataclass(frozen=True)
class _Job:
    """What the download of one data set needs to know."""

    entry: DataSet
    staging: Path
    base_url: str
    progress: Progress
    retry: Retry
    root: Path

    def remedy(self) -> str:
        """What the user can do when the publisher cannot be reached."""
        return (
            f"run `dood data fetch {self.entry.name}` again (what is there is kept), "
            f"or bring {self.entry.file} into {self.root} yourself"
        )


def _silent(what: str, done: int, total: int | None) -> None:
    """The progress that nobody watches."""


def _require_writable(folder: Path) -> None:
    """Make the folder. Raises InputError if it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder "
            "with --data-root"
        ) from error


# --- sets that publish whole archives ------------------------------------------------------------


def _publish_archive(job: _Job, path: Path) -> None:
    """Download and check the one archive of a set, then put it in its place, whole."""
    (source,) = job.entry.sources
    target = job.staging / source.path
    _download(job, source, target)
    _require_digest(target, source)
    target.replace(path)


def _published_arrays(job: _Job) -> Arrays:
    """Download and check a set's archives, then read them."""
    for source in job.entry.sources:
        target = job.staging / source.path
        _download(job, source, target)
        _require_digest(target, source)
    if job.entry.name == "omniglot":
        for source in job.entry.sources:
            shutil.unpack_archive(job.staging / source.path, job.staging)
        return pictures.read_omniglot_folder(job.staging)
    _unpack_idx(job.entry.name, job.staging)
    return idx_arrays(job.entry.name, job.staging)


def _require_digest(path: Path, source: Source) -> None:
    """Raises InputError and removes the file if it is not the published one."""
    for method, published in (("md5", source.md5), ("sha256", source.sha256)):
        if published is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, method).hexdigest()
        if found != published:
            path.unlink()
            raise InputError(
                f"{path.name}: {method} {found} is not the published {published}: the download was "
                "damaged or the file has changed; it was removed: fetch it again"
            )


def _unpack_idx(name: str, staging: Path) -> None:
    """Put the uncompressed idx files where torchvision looks for them.

    Of EMNIST's archive, only the four files of the balanced split: all six splits take 2 GB.
    """
    raw = staging / name.upper() / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    if name == "emnist":
        with zipfile.ZipFile(staging / "gzip.zip") as archive:
            for member in archive.namelist():
                if Path(member).name.startswith("emnist-balanced-") and member.endswith(".gz"):
                    with archive.open(member) as packed, gzip.open(packed) as plain:
                        _copy(plain, raw / Path(member).stem)
        return
    for source in data_set(name).sources:
        with gzip.open(staging / source.path) as plain:
            _copy(plain, raw / Path(source.path).stem)


def _copy(plain: io.BufferedIOBase | gzip.GzipFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(plain, file)


def idx_arrays(name: str, staging: Path) -> Arrays:
    """MNIST, KMNIST or EMNIST as torchvision reads it, as the arrays of a data file.

    Expects the uncompressed idx files in `staging/NAME/raw`. EMNIST is stored transposed: it is
    put upright.
    """
    from torchvision import datasets  # noqa: PLC0415  (seconds to import)

    makers = {
        "mnist": datasets.MNIST,
        "kmnist": datasets.KMNIST,
        "emnist": lambda *a, **k: datasets.EMNIST(*a, split="balanced", **k),
    }
    parts = [makers[name](staging, train=train) for train in (True, False)]
    images = np.concatenate([part.data.numpy() for part in parts])
    if name == "emnist":
        images = images.swapaxes(1, 2)
    names = EMNIST_CLASSES if name == "emnist" else data_set(name).class_names
    return {
        "images": np.ascontiguousarray(images),
        "labels": np.concatenate([part.targets.numpy() for part in parts]).astype(np.int16),
        "split": np.repeat(np.array([0, 1], np.uint8), [len(part.data) for part in parts]),
        "classes": np.array(names),
    }


# --- QuickDraw: the first rows of ten large files ------------------------------------------------


def _quickdraw_arrays(job: _Job) -> Arrays:
    """The first drawings of each category; a seeded fifth of each for test."""
    images, labels, split = [], [], []
    random = np.random.RandomState(QUICKDRAW_SEED)  # its stream is frozen for ever
    for label, source in enumerate(job.entry.sources):
        rows = _quickdraw_rows(job, source)
        images.append(rows.reshape(-1, QUICKDRAW_SIDE, QUICKDRAW_SIDE))
        labels.append(np.full(len(rows), label, np.int16))
        part = np.zeros(len(rows), np.uint8)
        part[random.permutation(len(rows))[: len(rows) // 5]] = 1
        split.append(part)
    return {
        "images": np.concatenate(images),
        "labels": np.concatenate(labels),
        "split": np.concatenate(split),
        "classes": np.array(QUICKDRAW_CATEGORIES),
    }


def _quickdraw_rows(job: _Job, source: Source) -> np.ndarray:
    """The first rows of a category, uint8 [QUICKDRAW_ROWS, 784]; no more than these is asked for.

    Raises InputError if the file is not what QuickDraw publishes.
    """
    target = job.staging / source.path
    header = target.with_name(f"{source.path}.header")
    _download(job, source, header, stop=NPY_HEADER_BYTES)
    start, count = _npy_layout(header)
    if count < QUICKDRAW_ROWS:
        raise InputError(f"{source.path}: has {count:,} drawings, {QUICKDRAW_ROWS:,} are needed")
    stop = start + QUICKDRAW_ROWS * QUICKDRAW_SIDE**2
    _download(job, source, target, stop=stop)
    if _npy_layout(target) != (start, count) or target.stat().st_size != stop:
        target.unlink()
        header.unlink()
        raise InputError(f"{source.path}: changed during the download; fetch it again")
    rows = np.frombuffer(target.read_bytes(), np.uint8, offset=start)
    return rows.reshape(QUICKDRAW_ROWS, -1)


def _npy_layout(path: Path) -> tuple[int, int]:
    """Where the rows of an .npy file start, in bytes, and how many it has.

    Raises InputError unless it is an array uint8 [n, 784] in C order.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            shape, fortran, dtype = readers[version](file)
            start = file.tell()
    except (ValueError, KeyError, EOFError) as error:
        path.unlink()
        raise InputError(f"{path.name}: is no NumPy array ({error}); fetch it again") from error
    if dtype != np.uint8 or fortran or len(shape) != 2 or shape[1] != QUICKDRAW_SIDE**2:
        path.unlink()
        raise InputError(
            f"{path.name}: is {dtype} {list(shape)}, not uint8 [n, 784]: QuickDraw's format has "
            "changed or the address is wrong"
        )
    return start, shape[0]


# --- one file over HTTP --------------------------------------------------------------------------


def _download(job: _Job, source: Source, target: Path, stop: int | None = None) -> None:
    """Bring the first `stop` bytes of a file (all by default) to `target`, if not there already.

    What came before a connection broke lies in `target.part` and is continued, with pauses that
    double. Raises InputError when the network stays out of reach or the server refuses.
    """
    if target.exists():
        return
    url = f"{job.base_url}/{source.path}"
    part = target.with_name(f"{target.name}.part")
    for attempt in range(job.retry.times + 1):
        try:
            _continue_download(url, part, stop, job)
            part.replace(target)
            _tag_file(part).unlink(missing_ok=True)
            return
        except _Broken as broken:
            reason = broken
        if not reason.worth_retrying:
            break
        if attempt < job.retry.times:
            time.sleep(job.retry.pause_s * 2**attempt)
    raise InputError(f"data set {job.entry.name}: {url}: {reason}; {job.remedy()}") from reason


class _Broken(Exception):  # noqa: N818  (what happened to a connection)
    """A download that stopped, with the reason in words."""

    def __init__(self, reason: str, worth_retrying: bool = True) -> None:
        super().__init__(reason)
        self.worth_retrying = worth_retrying


def _tag_file(part: Path) -> Path:
    """Where the version (ETag) of a partial download is noted: two versions must never mix."""
    return part.with_name(f"{part.name}.etag")


def _continue_download(url: str, part: Path, stop: int | None, job: _Job) -> None:
    """One request for what `part` still lacks. Raises _Broken."""
    offset = part.stat().st_size if part.exists() else 0
    if offset == stop:
        return
    reply = _request(url, offset, stop, part)
    if reply is None:
        return
    with reply:
        continued = reply.status == HTTP_PARTIAL
        if continued and not _starts_at(reply, offset):
            raise _Broken("the server sent another range than was asked for", False)
        offset = offset if continued else 0  # 200: from the start, whatever was asked for
        total = _total(reply, offset, stop)
        _tag_file(part).write_text(reply.headers.get("ETag") or "")
        with part.open("ab" if continued else "wb") as file:
            for chunk in _chunks(reply, None if stop is None else stop - offset):
                file.write(chunk)
                offset += len(chunk)
                job.progress(urllib.parse.unquote(Path(url).name), offset, total)
    if total is not None and offset < total:
        raise _Broken(f"the connection was cut after {offset:,} of {total:,} bytes")


def _request(
    url: str, offset: int, stop: int | None, part: Path
) -> http.client.HTTPResponse | None:
    """Open the URL from `offset` up to `stop`; None if `part` is whole. Raises _Broken."""
    tag = _tag_file(part)
    request = urllib.request.Request(url, headers={"User-Agent": "dood"})
    if offset or stop is not None:
        last = "" if stop is None else stop - 1
        request.add_header("Range", f"bytes={offset}-{last}")
        known = tag.read_text() if offset and tag.exists() else ""
        if known and not known.startswith("W/"):  # a weak tag may not guard a range
            request.add_header("If-Range", known)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTP_BAD_RANGE:
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return None
            part.unlink(missing_ok=True)  # it is longer than the whole
            raise _Broken("the partial download did not fit and was dropped") from error
        busy = error.code >= 500 or error.code in (408, 429)
        raise _Broken(f"the server answers {error.code} {error.reason}", busy) from error
    except urllib.error.URLError as error:
        why = getattr(error.reason, "strerror", None) or error.reason
        raise _Broken(f"no network, or the server is down ({why})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"the connection failed ({error})") from error


def _starts_at(reply: http.client.HTTPResponse, offset: int) -> bool:
    return (reply.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")


def _total(reply: http.client.HTTPResponse, offset: int, stop: int | None) -> int | None:
    """How many bytes the part will have when this reply has been read; None if unknown."""
    length = reply.headers.get("Content-Length")
    whole = offset + int(length) if length and length.isdigit() else None
    return min(filter(None, (whole, stop)), default=None)


def _chunks(reply: http.client.HTTPResponse, most: int | None) -> Iterator[bytes]:
    """The body in pieces, `most` bytes at most. Raises _Broken."""
    while most is None or most > 0:
        try:
            chunk = reply.read(CHUNK_BYTES if most is None else min(CHUNK_BYTES, most))
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"the connection was cut ({error})") from error
        if not chunk:
            return
        most = None if most is None else most - len(chunk)
        yield chunk

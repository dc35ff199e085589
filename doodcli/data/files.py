"""The one-file format of a data set: NAME.npz, read without trust and written atomically.

| array | shape | meaning |
|---|---|---|
| `images` | uint8 [n, height, width] | white ink on black, upright, native resolution |
| `labels` | int16 [n] | position in `classes` |
| `split` | uint8 [n] | 0 train, 1 test |
| `classes` | str [c] | class names |
| `alphabet` | int16 [n] | position in `alphabets`; only for sets that have them |
| `alphabets` | str [a] | alphabet names |
| `source` | str [] | JSON: where the images come from, and the digest of the arrays |
"""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from doodcli.errors import InputError

Arrays = dict[str, np.ndarray]

_NEEDED = ("images", "labels", "split", "classes")
_OPTIONAL = ("alphabet", "alphabets", "source")
_MEND = "fetch or write the file anew"
_fingerprints: dict[tuple[str, int, int], str] = {}


def data_root_or_default(option: Path | None) -> Path:
    """The folder of the data files: the option, else $DOOD_DATA_ROOT, else `data`."""
    if option is not None:
        return option
    return Path(os.environ.get("DOOD_DATA_ROOT") or "data")


def read(path: Path, *, images: bool = True) -> Arrays:
    """The validated arrays of a data file.

    With `images=False` the pictures, by far the largest part, are neither read nor checked.
    Raises InputError that names the file if it is missing, damaged, pickled or wrongly shaped.
    """
    wanted = _NEEDED + _OPTIONAL if images else tuple(set(_NEEDED + _OPTIONAL) - {"images"})
    with _open(path) as archive:
        lacking = [key for key in _NEEDED if key not in archive.files]
        if lacking:
            raise InputError(f"{path}: lacks {', '.join(lacking)}: it is no data file; {_MEND}")
        arrays = {key: archive[key] for key in wanted if key in archive.files}
    return validated(arrays, str(path))


@contextmanager
def _open(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An open archive; whatever NumPy and zipfile raise on bad bytes becomes an InputError."""
    try:
        with path.open("rb") as file:  # NumPy would leave it open if the archive is damaged
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("one bare array instead of an archive of arrays")
            with archive:
                yield archive
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,  # a compression that zipfile does not know
        RuntimeError,  # an encrypted archive
        MemoryError,  # a header that promises more than there can be
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as a data file ({reason}); {_MEND}") from error


def validated(arrays: Mapping[str, np.ndarray], where: str) -> Arrays:
    """The arrays in the dtypes of the format, after every check that the format implies.

    `where` names the file in the message. `images` may be absent (see `read`).
    Raises InputError.
    """
    problem = _problem(arrays)
    if problem:
        raise InputError(f"{where}: {problem}; {_MEND}")
    result = dict(arrays)
    result["labels"] = arrays["labels"].astype(np.int16)
    result["split"] = arrays["split"].astype(np.uint8)
    if "alphabet" in arrays:
        result["alphabet"] = arrays["alphabet"].astype(np.int16)
    return result


def _problem(arrays: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the arrays of a data file; "" if nothing is."""
    n = len(arrays["labels"]) if arrays["labels"].ndim else 0
    if n == 0:
        return "holds no images"
    if ("alphabet" in arrays) != ("alphabets" in arrays):
        return "has only one of alphabet and alphabets"
    if "source" in arrays and not _is_json(arrays["source"]):
        return "source is no JSON string"
    pairs = [("labels", "classes"), ("alphabet", "alphabets")]
    found = [_index_problem(arrays, *pair) for pair in pairs if pair[0] in arrays]
    if "images" in arrays:
        found.append(_images_problem(arrays["images"], n))
    found.append(_split_problem(arrays["split"], n))
    return next(filter(None, found), "")


def _images_problem(images: np.ndarray, n: int) -> str:
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        return f"images are {images.dtype} {list(images.shape)}, not uint8 [n, height, width]"
    return "" if len(images) == n else f"{len(images):,} images but {n:,} labels"


def _split_problem(split: np.ndarray, n: int) -> str:
    if split.shape != (n,):
        return f"split has shape {list(split.shape)}, not [{n}]"
    if split.dtype.kind not in "iub" or not np.isin(split, (0, 1)).all():
        return "split has values other than 0 (train) and 1 (test)"
    return ""


def _index_problem(arrays: Mapping[str, np.ndarray], index: str, names: str) -> str:
    """What is wrong with an array of positions in an array of names; "" if nothing is."""
    positions, strings = arrays[index], arrays[names]
    if strings.dtype.kind != "U" or strings.ndim != 1 or not 0 < len(strings) <= 2**15:
        return f"{names} is {strings.dtype} {list(strings.shape)}, not a row of names"
    if positions.dtype.kind not in "iu" or positions.shape != arrays["labels"].shape:
        return f"{index} is {positions.dtype} {list(positions.shape)}, not one integer an image"
    if positions.min() < 0 or positions.max() >= len(strings):
        return f"{index} reaches beyond the {len(strings)} names in {names}"
    return ""


def _is_json(text: np.ndarray) -> bool:
    try:
        json.loads(str(text))
    except ValueError:
        return False
    return text.dtype.kind == "U" and text.ndim == 0


def write(path: Path, arrays: Mapping[str, np.ndarray], source: Mapping[str, object]) -> None:
    """Write a data file whole or not at all; `source` gains the digest of the arrays.

    Raises InputError if the arrays are not a data set or the folder cannot be written.
    """
    checked = validated({key: value for key, value in arrays.items() if key != "source"}, str(path))
    note = {**source, "arrays": digest(checked)}
    checked["source"] = np.array(json.dumps(note, ensure_ascii=False))
    handle, temporary = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            # NumPy's stubs take the keyword arguments for its own option allow_pickle.
            np.savez_compressed(file, **checked)  # type: ignore[arg-type]
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would hide a shared data folder from others
        Path(temporary).replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "choose another folder with --data-root"
        ) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """The first 16 hex digits of the sha256 of a file's bytes; remembered while it is unchanged.

    Raises InputError if the file cannot be read.
    """
    try:
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
        if key not in _fingerprints:
            with path.open("rb") as file:
                _fingerprints[key] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _fingerprints[key]


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """16 hex digits of the sha256 of all arrays but `source`: names, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for key in sorted(set(arrays) - {"source"}):
        array = np.ascontiguousarray(arrays[key])
        sha.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:16]

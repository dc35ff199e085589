"""The one-file format: what is written is read, and what is damaged is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from doodcli.data import files
from doodcli.errors import InputError


def arrays(n: int = 6) -> files.Arrays:
    random = np.random.RandomState(0)
    return {
        "images": random.randint(0, 256, (n, 5, 7)).astype(np.uint8),
        "labels": (np.arange(n) % 2).astype(np.int16),
        "split": (np.arange(n) >= n - 2).astype(np.uint8),
        "classes": np.array(["zero", "eins"]),
        "alphabet": (np.arange(n) % 3).astype(np.int16),
        "alphabets": np.array(["α", "β", "γ"]),
    }


def save_unchecked(path: Path, arrays: files.Arrays) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stubs think of allow_pickle


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "set.npz"
    files.write(path, arrays(), {"licence": "none"})
    found = files.read(path)
    for key, expected in arrays().items():
        np.testing.assert_array_equal(found[key], expected)
        assert found[key].dtype == expected.dtype
    note = json.loads(str(found["source"]))
    assert note["licence"] == "none"
    assert note["arrays"] == files.digest(found)
    assert list(path.parent.iterdir()) == [path]


def test_labels_in_another_integer_type_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    save_unchecked(path, {**arrays(), "alphabet": arrays()["alphabet"].astype(np.uint8)})
    assert files.read(path)["alphabet"].dtype == np.int16


DAMAGE: dict[str, tuple[Callable[[files.Arrays], object], str]] = {
    "no labels": (lambda a: a.pop("labels"), "lacks labels"),
    "no images at all": (lambda a: a.update(arrays(0)), "holds no images"),
    "float images": (lambda a: a.update(images=a["images"] / 255), "images are float64"),
    "flat images": (lambda a: a.update(images=a["images"].reshape(6, -1)), "not uint8 [n, height"),
    "fewer images": (lambda a: a.update(images=a["images"][:5]), "5 images but 6 labels"),
    "label too large": (lambda a: a.update(labels=a["labels"] + 1), "beyond the 2 names"),
    "label negative": (lambda a: a.update(labels=a["labels"] - 1), "beyond the 2 names"),
    "float labels": (lambda a: a.update(labels=a["labels"] * 1.0), "labels is float64"),
    "split of three": (lambda a: a.update(split=a["split"] * 2), "split has values other"),
    "short split": (lambda a: a.update(split=a["split"][:3]), "split has shape [3]"),
    "class numbers": (lambda a: a.update(classes=np.arange(2)), "not a row of names"),
    "alphabet unnamed": (lambda a: a.pop("alphabets"), "only one of alphabet"),
    "source no JSON": (lambda a: a.update(source=np.array("web")), "source is no JSON"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_with_wrong_arrays_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    damage, reason = DAMAGE[kind]
    damaged = arrays()
    damage(damaged)
    path = tmp_path / "odd.npz"
    save_unchecked(path, damaged)
    with pytest.raises(InputError) as caught:
        files.read(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def _truncated(path: Path) -> None:
    files.write(path, arrays(600), {})
    path.write_bytes(path.read_bytes()[:-200])


def _flipped(path: Path) -> None:
    files.write(path, arrays(600), {})
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


def _pickled(path: Path) -> None:
    save_unchecked(path, {**arrays(), "classes": np.array([{"a": 1}, None], dtype=object)})


def _bare(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, arrays()["images"])


@pytest.mark.parametrize(
    "make",
    [_truncated, _flipped, _pickled, _bare, Path.touch, Path.mkdir, lambda p: p.write_text("hi")],
    ids=["truncated", "flipped", "pickled", "bare", "empty", "folder", "text"],
)
def test_a_file_with_wrong_bytes_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "odd.npz"
    make(path)
    with pytest.raises(InputError, match=r"odd\.npz: cannot be read as a data file") as caught:
        files.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        files.read(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.npz"
    files.write(path, arrays(), {})
    before = path.read_bytes()

    def disk_full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_full)
    with pytest.raises(InputError, match="No space left"):
        files.write(path, arrays(4), {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_impossible_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        files.write(tmp_path / "file" / "set.npz", arrays(), {})


def test_wrong_arrays_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="beyond the 2 names"):
        files.write(tmp_path / "set.npz", {**arrays(), "labels": arrays()["labels"] + 5}, {})
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"abc")
    assert files.fingerprint(path) == "ba7816bf8f01cfea"  # the published test vector of sha256
    path.write_bytes(b"abcd")
    assert files.fingerprint(path) != "ba7816bf8f01cfea"


def test_the_digest_sees_every_array_but_the_source() -> None:
    base = files.digest(arrays())
    assert files.digest({**arrays(), "source": np.array("{}")}) == base
    for key in arrays():
        changed = arrays()
        changed[key] = changed[key][::-1]
        assert files.digest(changed) != base

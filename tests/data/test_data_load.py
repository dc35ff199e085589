"""The loader: parts, limits, resizing, its cache, and what it says when it cannot."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from doodcli.data import files, load
from doodcli.data.load import ImageSet, load_images
from doodcli.errors import InputError

REAL_ROOT = os.environ.get("DOOD_DATA_ROOT")  # before the tests clear it


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DOOD_DATA_ROOT", raising=False)
    return tmp_path / "cache"


def own_set(
    folder: Path, n: int = 100, alphabets: int = 0, shape: tuple[int, int] = (9, 9)
) -> Path:
    """A file of n training and n / 5 test images; letters in so many alphabets if any."""
    total = n + n // 5
    random = np.random.RandomState(3)
    arrays: files.Arrays = {
        "images": random.randint(0, 256, (total, *shape)).astype(np.uint8),
        "labels": (np.arange(total) % 4).astype(np.int16),
        "split": (np.arange(total) >= n).astype(np.uint8),
        "classes": np.array(list("abcd")),
    }
    if alphabets:
        arrays["alphabet"] = (np.arange(total) % alphabets).astype(np.int16)
        arrays["alphabets"] = np.array([f"alphabet {i}" for i in range(alphabets)])
    path = folder / "own.npz"
    files.write(path, arrays, {})
    return path


def parts(name: str) -> dict[str, ImageSet]:
    return {part: load_images(name, part, resolution=10) for part in load.PARTS}


def test_the_hold_out_is_a_disjoint_fixed_tenth_of_train(tmp_path: Path) -> None:
    path = str(own_set(tmp_path))
    found = parts(path)
    sizes = {part: len(images) for part, images in found.items()}
    assert sizes == {"train": 90, "validation": 10, "test": 20, "all": 120}
    together = torch.cat([found[part].index for part in ("train", "validation", "test")])
    assert together.sort().values.tolist() == list(range(120))
    # Written down: another hold-out would make old and new results silently incomparable.
    assert found["validation"].index.tolist() == [8, 24, 25, 32, 33, 37, 49, 60, 69, 97]
    assert load_images(path, "validation", seed=5).index.equal(found["validation"].index)


def test_an_image_keeps_its_identity_in_every_part(tmp_path: Path) -> None:
    found = parts(str(own_set(tmp_path)))
    for part in ("train", "validation", "test"):
        of_all = found[part].index
        assert found[part].images.equal(found["all"].images[of_all])
        assert found[part].labels.equal(found["all"].labels[of_all])


def test_whole_alphabets_are_held_out(tmp_path: Path) -> None:
    found = parts(str(own_set(tmp_path, n=300, alphabets=30)))
    held_out, kept = found["validation"].alphabets, found["train"].alphabets
    assert held_out is not None
    assert kept is not None
    assert len(held_out.unique()) == 3
    assert not set(held_out.tolist()) & set(kept.tolist())
    assert len(found["train"]) + len(found["validation"]) == 300


def test_of_two_alphabets_one_is_held_out(tmp_path: Path) -> None:
    found = parts(str(own_set(tmp_path, alphabets=2)))
    assert len(found["validation"]) == len(found["train"]) == 50


def test_a_limit_is_the_same_sorted_subset_and_part_of_a_larger_one(tmp_path: Path) -> None:
    path = str(own_set(tmp_path))
    small = load_images(path, limit=7, resolution=10)
    large = load_images(path, limit=30, resolution=10)
    assert small.index.tolist() == sorted(small.index.tolist())
    assert len(small) == 7
    assert load_images(path, limit=7, resolution=20).index.equal(small.index)
    assert set(small.index.tolist()) <= set(large.index.tolist())
    assert set(large.index.tolist()) <= set(load_images(path).index.tolist())
    assert not load_images(path, limit=7, seed=1).index.equal(small.index)
    assert len(load_images(path, limit=10_000)) == 90
    some = load_images(path, resolution=10).some(7, seed=0)
    assert all(getattr(some, name).equal(getattr(small, name)) for name in ("index", "labels"))
    assert some.images.equal(small.images)


def test_images_are_resized_with_antialiased_bilinear(tmp_path: Path) -> None:
    path = own_set(tmp_path, shape=(28, 28))
    native = torch.from_numpy(files.read(path)["images"])
    for resolution in (50, 11):
        expected = F.interpolate(
            native[:, None].float(),
            size=(resolution, resolution),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )[:, 0]
        found = load_images(str(path), "all", resolution=resolution).images
        assert found.dtype == torch.uint8
        assert found.equal(expected.round().byte())


def test_chunks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(own_set(tmp_path))
    whole = load_images(path, "all", resolution=12).images.clone()
    monkeypatch.setattr(load, "CHUNK_PIXELS", 7 * 144)
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path / "another"))
    assert load_images(path, "all", resolution=12).images.equal(whole)


def test_a_picture_that_is_not_square_gets_black_bars(tmp_path: Path) -> None:
    path = own_set(tmp_path, shape=(5, 9))
    found = load_images(str(path), "all", resolution=9).images
    assert found[:, 2:7].equal(torch.from_numpy(files.read(path)["images"]))
    assert not found[:, :2].any()
    assert not found[:, 7:].any()


def test_transposed_images_swap_their_axes_and_say_so(tmp_path: Path) -> None:
    path = str(own_set(tmp_path))
    upright = load_images(path, resolution=10)
    lying = load_images(path, resolution=10, transpose=True)
    assert lying.images.equal(upright.images.transpose(1, 2))
    assert (upright.remark, lying.remark) == ("", "transposed")
    assert upright.fingerprint == lying.fingerprint


def test_a_second_load_comes_from_the_cache_and_is_equal(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(own_set(tmp_path))
    first = load_images(path, "all").images.clone()
    assert list(cache_folder.rglob("*.pkl"))

    def forbidden(*args: object) -> None:
        raise AssertionError("the images were squared again")

    monkeypatch.setattr(load, "_squared", forbidden)
    again = load_images(path, "all").images
    assert again.equal(first)
    again.zero_()  # a careless user must not spoil the cache
    assert load_images(path, "all").images.equal(first)


def test_a_changed_file_is_not_answered_from_the_cache(tmp_path: Path) -> None:
    path = own_set(tmp_path)
    before = load_images(str(path), "all").images.clone()
    arrays = files.read(path)
    arrays["images"] = 255 - arrays["images"]
    files.write(path, arrays, {})
    assert not load_images(str(path), "all").images.equal(before)


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache_folder: Path) -> None:
    path = str(own_set(tmp_path))
    first = load_images(path, "all").images.clone()
    for entry in cache_folder.rglob("*.pkl"):
        entry.write_bytes(entry.read_bytes()[:100])
    assert load_images(path, "all").images.equal(first)


def test_an_unusable_cache_folder_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(own_set(tmp_path))
    first = load_images(path, "all").images.clone()
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path / "file" / "cache"))
    assert load_images(path, "all").images.equal(first)


def test_the_digits_need_no_file(tmp_path: Path) -> None:
    found = {part: load_images("digits", part, data_root=tmp_path) for part in load.PARTS}
    sizes = {part: len(images) for part, images in found.items()}
    assert sizes == {"train": 1_293, "validation": 144, "test": 360, "all": 1_797}
    assert found["test"].images.shape == (360, 50, 50)
    assert found["all"].images.max() > 200
    assert found["all"].remark == ""
    counts = torch.bincount(found["test"].labels)
    assert 34 <= counts.min() <= counts.max() <= 38  # stratified
    assert len(found["all"].fingerprint) == 16


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dood data fetch mnist.*--data-root"):
        load_images("mnist", data_root=tmp_path)


def test_the_data_root_is_the_option_or_the_environment_or_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load.data_root_or_default(None) == Path("data")
    monkeypatch.setenv("DOOD_DATA_ROOT", "/there")
    assert load.data_root_or_default(None) == Path("/there")
    assert load.data_root_or_default(Path("here")) == Path("here")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("mnits", {}, "unknown"),
        ("no/such.npz", {}, "no such file"),
        ("no/such", {}, "no such file or folder"),
        ("digits", {"part": "exam"}, "part 'exam' is unknown"),
        ("digits", {"limit": 0}, "--limit 0"),
        ("digits", {"resolution": 0}, "resolution 0"),
    ],
)
def test_bad_input_is_refused(name: str, options: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load_images(name, **options)


def test_a_part_without_images_is_refused(tmp_path: Path) -> None:
    path = str(own_set(tmp_path, n=4))
    assert len(load_images(path, "train")) == 4
    with pytest.raises(InputError, match="own: has no validation images"):
        load_images(path, "validation")
    with pytest.raises(InputError, match="own: has no test images"):
        load_images(path, "test")


@pytest.mark.parametrize("name", ["mnist", "emnist", "kmnist", "quickdraw", "omniglot"])
def test_the_real_file_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL_ROOT or not (Path(REAL_ROOT) / f"{name}.npz").is_file():
        pytest.skip(f"$DOOD_DATA_ROOT names no folder with {name}.npz")
    found = load_images(name, "validation", data_root=Path(REAL_ROOT), limit=200)
    assert found.images.shape == (200, 50, 50)
    assert 2 < found.images.float().mean() < 100  # white ink on black
    whole = load_images(name, "train", data_root=Path(REAL_ROOT))
    assert len(whole) > 15_000

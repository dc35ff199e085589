"""`dood data`: what it prints, where, and its exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from doodcli.cli.data import app
from doodcli.data import files
from doodcli.errors import InputError

runner = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a small file under the name of MNIST."""
    arrays: files.Arrays = {
        "images": np.zeros((5, 28, 28), np.uint8),
        "labels": np.arange(5, dtype=np.int16),
        "split": np.array([0, 0, 0, 1, 1], np.uint8),
        "classes": np.array(list("0123456789")),
    }
    files.write(tmp_path / "mnist.npz", arrays, {})
    return tmp_path


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of a call that ends with `code`."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_list_as_json_tells_what_is_there(root: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("list", "--data-root", root, "--json")[0])}
    assert {"mnist", "emnist", "kmnist", "quickdraw", "omniglot", "digits"} <= set(rows)
    mnist = rows["mnist"]
    assert (mnist["there"], mnist["n_train"], mnist["n_test"]) == (True, 3, 2)
    assert mnist["fingerprint"] == files.fingerprint(root / "mnist.npz")
    assert mnist["remark"] == "3/2 images instead of 60,000/10,000"
    assert (rows["kmnist"]["there"], rows["kmnist"]["n_train"]) == (False, 60_000)
    assert (rows["digits"]["there"], rows["digits"]["where"]) == (True, "embedded")


def test_list_prints_a_whole_table_and_hints_on_stderr(root: Path) -> None:
    out, err = run("list", "--data-root", root)
    line = next(line for line in out.splitlines() if line.startswith("mnist "))
    for cell in ("yes", str(root / "mnist.npz"), "28×28", "LeCun", "instead of 60,000/10,000"):
        assert cell in line
    assert "dood data fetch" in err
    assert run("list", "--data-root", root, "--quiet")[1] == ""


def test_list_survives_a_broken_file(root: Path) -> None:
    (root / "kmnist.npz").write_text("no archive")
    rows = {row["name"]: row for row in json.loads(run("list", "--data-root", root, "--json")[0])}
    assert rows["kmnist"]["remark"].startswith("broken: ")


def test_check_tells_ok_from_not_canonical_from_broken(root: Path) -> None:
    assert run("check", "digits", "--data-root", root)[0] == "digits: OK\n"
    assert run("check", "digits,mnist", "--data-root", root, "--quiet")[0] == (
        "mnist: not canonical (3/2 images instead of 60,000/10,000)\n"
    )
    path = root / "mnist.npz"
    path.write_bytes(path.read_bytes()[:-50])
    assert "mnist: broken (" in run("check", "mnist", "--data-root", root, code=1)[0]
    found = json.loads(run("check", "mnist", "--data-root", root, "--json", code=1)[0])
    assert [row["status"] for row in found] == ["broken"]


def test_check_sees_arrays_that_are_not_those_written(root: Path) -> None:
    path = root / "mnist.npz"
    arrays = files.read(path)
    arrays["labels"][:] = 0
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stubs think of allow_pickle
    assert "their digest differs" in run("check", "mnist", "--data-root", root, code=1)[0]


def test_check_takes_a_path(root: Path) -> None:
    path = root / "mnist.npz"
    assert run("check", path)[0] == f"{path}: OK\n"


def test_what_is_there_or_embedded_is_not_fetched(root: Path) -> None:
    before = (root / "mnist.npz").read_bytes()
    out, err = run("fetch", "mnist,digits", "--data-root", root)
    assert out.split() == [str(root / "mnist.npz"), "embedded"]
    assert "mnist: already there" in err
    assert (root / "mnist.npz").read_bytes() == before


def test_errors_are_left_to_the_entry_point(root: Path) -> None:
    with pytest.raises(InputError, match="did you mean"):
        run("fetch", "mnist", "kmnits", "--data-root", root)
    with pytest.raises(InputError, match="--from"):
        run("fetch", "mnist", "--from", root, "--data-root", root)
    with pytest.raises(InputError, match="dood data fetch"):
        run("check", "emnist", "--data-root", root)
    with pytest.raises(InputError, match="holds no images_background"):
        run("fetch", "omniglot", "--from", root, "--data-root", root)

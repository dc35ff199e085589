"""The files around the package: metadata that agree, the Makefile, what no file may name."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# Stands in for Python: makes an "environment" that holds itself, and takes note of every call of
# pip, which fails where FAKE_PIP says so.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c import platform;"*) echo "$FAKE_VERSION" ;;
  "-c "*) [ -z "$FAKE_VERSION" ] ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") echo "$*" >> "$FAKE_LOG"; exit "${FAKE_PIP:-0}" ;;
esac
"""


README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1200


def test_the_table_of_the_readme_is_what_was_measured() -> None:
    cells = pd.read_csv(ROOT / "results/laptop/transfer.csv")
    cells = cells[cells.model == "dood"].set_index(["source", "target"]).iwae_nats
    targets = ["mnist", "emnist-transposed", "kmnist", "quickdraw", "omniglot"]
    rows = re.findall(r"^\| ([A-Z]\w+?)[¹²]?, `dood` \| (.*) \|$", README, re.M)
    assert [name for name, _ in rows] == ["MNIST", "EMNIST", "KMNIST", "QuickDraw", "Omniglot"]
    for name, values in rows:
        shown = [int(text.replace(",", "").replace("−", "-")) for text in values.split(" | ")]
        assert shown == [round(cells[name.lower(), target]) for target in targets], name
    oneshot = pd.read_csv(ROOT / "results/laptop/table1.csv").query("model == 'dood'").iloc[0]
    accuracy, error = (100 * oneshot[key] for key in ("accuracy", "se"))
    assert f"{accuracy:.1f} % ± {error:.1f}" in README


def test_versions_agree() -> None:
    import doodcli

    citation = re.search(r'^version: *"?([^"\s]+)', (ROOT / "CITATION.cff").read_text(), re.M)
    assert citation is not None
    assert citation[1] == PROJECT["version"] == doodcli.__version__
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_direct_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version

    extras = PROJECT["optional-dependencies"].values()
    wanted = chain(PYPROJECT["build-system"]["requires"], PROJECT["dependencies"], *extras)
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned"
        assert pins[name] in requirement.specifier, f"{name}=={pins[name]} is not {requirement}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    # The brackets keep this file from matching itself.
    forbidden = re.compile(
        rb"(?<![\w.:/-])/(?:hom[e]|roo[t]|User[s]|wor[k]|op[t]|mn[t]|sr[v])/\w"
        rb"|index-ur[l]|find-link[s]|https?://[^\s\"']*/simple\b"
    )
    found = []
    for name in filter(None, listing.decode().split("\0")):
        path = ROOT / name
        if path.is_file():  # a tracked file may have been deleted
            found += [f"{name}: {hit[0]!r}" for hit in forbidden.finditer(path.read_bytes())]
    assert not found


def test_help_answers_without_torch() -> None:
    program = (
        "import sys\n"
        "from doodcli.cli import main\n"
        "sys.argv = ['dood', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'torchvision', 'torch_fidelity'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "Usage" in run.stdout


class Make:
    """Runs the Makefile with a stand-in for Python, in an environment that it has yet to make."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.venv = folder / "venv"
        self.log = folder / "log"
        self.log.touch()

    def __call__(self, *arguments: str, **fake: str) -> subprocess.CompletedProcess[str]:
        # These tests may run under `make test`, whose own variables would reach this make.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            ["make", *arguments, f"PYTHON={self.python}", f"VENV={self.venv}"],
            cwd=ROOT,
            env=env | {"FAKE_LOG": str(self.log), "LC_ALL": "C"} | fake,
            capture_output=True,
            text=True,
            check=False,
        )

    def pip_calls(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(tmp_path)


@needs_make
def test_make_alone_lists_every_target(make: Make) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony is not None
    run = make()
    assert run.returncode == 0, run.stderr
    assert re.findall(r"^ +make ([\w-]+) +\S", run.stdout, re.M) == phony[1].split()


@needs_make
@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("test", "pytest"),
        ("test-slow", "pytest -m slow"),
        ("reproduce", "dood reproduce --profile smoke"),
    ],
)
def test_a_missing_environment_is_made_first(make: Make, target: str, command: str) -> None:
    plan = make("-n", target)
    assert plan.returncode == 0, plan.stderr
    steps = ["-m venv", "-c constraints.txt --no-build-isolation -e", f"/bin/{command}"]
    places = [plan.stdout.find(step) for step in steps]
    assert -1 not in places, plan.stdout
    assert places == sorted(places)
    assert not make.venv.exists()


@needs_make
def test_reproduce_passes_the_profile_and_the_data(make: Make) -> None:
    plan = make("-n", "reproduce", "PROFILE=laptop", "DATA=../my data")
    assert "dood reproduce --profile laptop --data-root '../my data'" in plan.stdout


@needs_make
def test_a_failed_install_is_tried_again_and_a_finished_one_is_not(make: Make) -> None:
    assert make("setup", FAKE_PIP="1").returncode != 0
    assert make.pip_calls() == 1
    assert make("setup").returncode == 0
    assert make.pip_calls() == 3
    assert make("setup").returncode == 0
    assert make.pip_calls() == 3


@needs_make
@pytest.mark.parametrize("source", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(make: Make, source: str) -> None:
    assert make("setup").returncode == 0
    assert "pip install" not in make("-n", "test").stdout
    assert "pip install" in make("-n", "-W", source, "test").stdout


@needs_make
def test_a_failed_update_is_not_taken_for_the_old_install(make: Make) -> None:
    assert make("setup").returncode == 0
    assert make("-W", "constraints.txt", "setup", FAKE_PIP="1").returncode != 0
    assert "pip install" in make("-n", "test").stdout


@needs_make
def test_an_old_python_is_named_in_one_line(make: Make) -> None:
    run = make("setup", FAKE_VERSION="3.9.2")
    assert run.returncode != 0
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert "needs Python 3.11 or newer" in said[0]
    assert f"{make.python} is 3.9.2." in said[0]
    assert not make.venv.exists()

"""Killed at any point, `dood reproduce` goes on from there, to the same tables."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from doodcli.pipeline.engine import LEDGER, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]

ONLY = "train-air-*,cell-dood-digits-*,cell-dood-eg-*,fig1,samples*,strokes"
"""Trainings of all six models, tables of one run and of all, pictures."""

TASKS = 14
"""That these are, with what they need."""

PATIENCE = 900.0
"""Seconds that anything may take on a machine that is busy."""

VARY = {"seconds", "training_minutes", "git", "training_git", "version"}
"""Columns of times and versions."""

HEAD, WORKER = "127.0.0.2", "127.0.0.3"
"""Addresses that are this machine's alone; for 127.0.0.1 Ray would put its outer one."""


def command(*options: str) -> list[str]:
    return [
        sys.executable, "-m", "doodcli", "reproduce", "--profile", "tiny", "--only", ONLY,
        "--device", "cpu", *options,
    ]  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    """One thread, as rounding depends on their number; this checkout; and Ray tells nobody."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {
        "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0", **more,
    }  # fmt: skip


@contextmanager
def started(folder: Path, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """`dood reproduce` in a folder, from its first line on: what came before is imports."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        command(*options), cwd=folder, env=environment(**more), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline()
        yield process


def finish(folder: Path, *options: str, **more: str) -> None:
    """Run it to its end."""
    with started(folder, *options, **more) as process:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every CSV file, without what varies."""
    results = folder / "results" / "tiny"
    return {
        str(path.relative_to(results)): pd.read_csv(path).drop(columns=VARY, errors="ignore")
        for path in sorted(results.rglob("*.csv"))
    }


def same(folder: Path, other: Path) -> None:
    """Assert: the same tables, bit for bit; nothing half written."""
    ours, theirs = tables(folder), tables(other)
    assert list(ours) == list(theirs)
    for name, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[name], check_exact=True, obj=name)
    assert not [path for path in (folder / "results").rglob(".*.part*") if path.is_file()]


def done(folder: Path) -> int:
    """How many tasks the ledger holds."""
    return len(Ledger(folder / "results" / "tiny" / LEDGER).entries)


def wait_until_done(folder: Path, tasks: int, process: subprocess.Popen[str]) -> None:
    """Until so many tasks are done, of one that is still at work."""
    deadline = time.monotonic() + PATIENCE
    while done(folder) < tasks:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder, "--jobs", "1")
    assert done(folder) == TASKS
    assert {"cells/dood-digits-s0-digits.csv", "reconstruct.csv", "samples-paper.csv",
            "stroke_counts.csv"} <= set(tables(folder))  # fmt: skip
    return folder


def test_killed_at_three_random_moments_it_ends_with_the_same_tables(undisturbed, tmp_path):
    folder, random = tmp_path / "killed", Random(5)
    # So many tasks are done, and others begun: how long they take, a busy machine decides.
    moments = sorted(random.sample(range(TASKS - 4), 3))
    for jobs, tasks in zip(("1", "2", "2"), moments, strict=True):
        with started(folder, "--jobs", jobs) as process:
            wait_until_done(folder, tasks, process)
            time.sleep(random.uniform(0, 0.5))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert done(folder) < TASKS
    finish(folder, "--jobs", "2")
    same(folder, undisturbed)


def test_stopped_by_sigterm_it_says_so_and_goes_on(undisturbed, tmp_path):
    folder = tmp_path / "stopped"
    with started(folder, "--jobs", "2") as process:
        wait_until_done(folder, 3, process)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    assert done(folder) < TASKS
    finish(folder, "--jobs", "2")
    same(folder, undisturbed)


# --------------------------------------------------------------------------- a Ray cluster


@contextmanager
def node(log: Path, *options: str) -> Iterator[int]:
    """A node of a cluster; its process, whose descendants are all that belongs to it."""
    words = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
        "--num-cpus", "1", "--object-store-memory", "100000000", *options,
    ]  # fmt: skip
    with (
        log.open("w") as file,
        subprocess.Popen(words, env=environment(), stdout=file, stderr=file) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while "Ray runtime started" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield process.pid
        finally:
            kill_tree(process.pid)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def kill_tree(pid: int) -> None:
    """What happens to the processes of a machine that loses its power."""
    for one in tree(pid):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def at_work(pid: int) -> str | None:
    """The task that a node works on: Ray gives its name to the process."""
    for one in tree(pid):
        try:
            title = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        name = title.removeprefix("ray::")
        if name.startswith(("train-", "cell-")):
            return name
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HEAD, 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: the extra `cluster`")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_node_that_is_killed_loses_nothing(undisturbed, tmp_path):
    address = f"{HEAD}:{free_port()}"
    # Sockets have short names: the folder of the tests is too deep for them.
    with (
        tempfile.TemporaryDirectory(prefix="ray") as scratch,
        node(tmp_path / "head.log", "--head", "--node-ip-address", HEAD, "--temp-dir", scratch,
             "--port", address.rpartition(":")[2], "--include-dashboard=false"),
        node(tmp_path / "worker.log", "--address", address,
             "--node-ip-address", WORKER) as worker,
        started(tmp_path / "ray", "--executor", "ray", RAY_ADDRESS=address) as process,
    ):  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while (lost := at_work(worker)) is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        kill_tree(worker)
        ledger = tmp_path / "ray" / "results" / "tiny" / LEDGER
        assert lost not in Ledger(ledger).entries
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        assert lost in Ledger(ledger).entries
    same(tmp_path / "ray", undisturbed)

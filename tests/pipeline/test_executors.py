"""Where tasks run: in the right order, as many at once as there is room for, and none lost."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from doodcli.errors import InputError
from doodcli.learning.train import Listener, Plan, Stopped
from doodcli.pipeline import executors
from doodcli.pipeline.engine import BLOCKED, DONE, FAILED, LEDGER, Ledger, Result, Task, run
from doodcli.pipeline.executors import Jobs, Resources, checked, opened
from doodcli.pipeline.executors.pool import Pool
from doodcli.pipeline.graph import Suite, profile

if TYPE_CHECKING:
    from collections.abc import Callable


def silent(text: str) -> None:
    pass


def named(name, needs=(), soft=()):
    return Task(name, dict, list, f"make {name}", needs, soft)


class Later:
    """Takes tasks, and ends the youngest first."""

    def __init__(self, room: float, fails: tuple[str, ...] = ()) -> None:
        self.room, self.fails = room, fails
        self.running: list[str] = []
        self.said: list[tuple[str, ...]] = []

    def submit(self, task: Task) -> None:
        self.running.append(task.name)

    def finished(self) -> dict[str, Result]:
        self.said.append(tuple(self.running))
        name = self.running.pop()
        return {name: Result(FAILED, "no luck") if name in self.fails else Result(DONE)}

    def close(self) -> None:
        pass


GRAPH = [
    named("a"), named("b"), named("c"),
    named("ab", ("a", "b")),
    named("table", soft=("c", "ab")),
]  # fmt: skip


def test_tasks_that_are_ready_run_at_once_and_never_before_what_they_need(tmp_path):
    executor = Later(room=2)
    outcome = run(GRAPH, Ledger(tmp_path / LEDGER), silent, executor)
    # The room is never left empty while a task is ready, and those that come first go first.
    assert executor.said == [("a", "b"), ("a", "c"), ("a",), ("ab",), ("table",)]
    assert outcome.states == dict.fromkeys(["a", "b", "c", "ab", "table"], DONE)
    assert list(outcome.states) == ["a", "b", "c", "ab", "table"]


def test_a_task_that_fails_elsewhere_stops_only_what_needs_it(tmp_path):
    executor = Later(room=9, fails=("b",))
    outcome = run(GRAPH, Ledger(tmp_path / LEDGER), silent, executor)
    assert outcome.states == {"a": DONE, "b": FAILED, "c": DONE, "ab": BLOCKED, "table": DONE}
    assert outcome.reasons == {"b": "no luck", "ab": "needs b"}
    assert executor.said == [("a", "b", "c"), ("a", "b"), ("a",), ("table",)]


def test_what_is_done_is_not_submitted(tmp_path):
    run(GRAPH[:2], Ledger(tmp_path / LEDGER), silent)
    executor = Later(room=9)
    run(GRAPH, Ledger(tmp_path / LEDGER), silent, executor)
    assert executor.said[0] == ("c", "ab")


# --------------------------------------------------------------------------- a job travels


def tiny(folder: Path) -> Suite:
    plan = Plan(folder / "runs", device="cpu")
    return Suite("tiny", profile("tiny"), folder / "results" / "tiny", plan)


def of_nobody(name: str) -> Listener:
    return Listener()


def test_a_job_builds_its_task_again_where_it_arrives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    jobs = Jobs(tiny(Path()), tmp_path / "here", of_nobody)
    tasks = {task.name: task for task in jobs.suite.tasks()}
    job = pickle.loads(pickle.dumps(jobs.of(tasks["blank-digits-digits"], threads=3)))
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    result = job()
    assert (result.state, result.reason) == (DONE, "")
    assert threads == [3]
    # Paths mean what they meant where the command was given.
    ledger = Ledger(tmp_path / "here" / "results" / "tiny" / LEDGER)
    assert list(ledger.entries) == ["blank-digits-digits"]
    assert Path.cwd() == tmp_path / "here"


def test_a_job_takes_along_what_an_environment_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("DOOD_DATA_ROOT", str(tmp_path / "sets"))
    job = Jobs(tiny(tmp_path), tmp_path, of_nobody).of(named("a"), threads=1)
    assert job.suite.plan.data_root == tmp_path / "sets"


def test_a_job_whose_device_is_missing_or_that_is_stopped_fails_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = tiny(tmp_path)
    absent = Jobs(
        Suite(suite.name, suite.profile, suite.out, Plan(tmp_path, device="cuda:9")),
        tmp_path, of_nobody,
    ).of(named("training"), 1)  # fmt: skip
    assert absent().state == FAILED
    assert "--device cuda:9" in absent().reason

    def stopped(*_):
        raise Stopped(143)

    monkeypatch.setattr(executors, "attempt", stopped)
    result = Jobs(suite, tmp_path, of_nobody).of(named("training"), 1)()
    assert result == Result(FAILED, "was stopped by a signal, and saved")


# --------------------------------------------------------------------------- processes


@dataclass(frozen=True)
class Calls:
    """In the place of `Jobs`: a task is a function that pickle can name."""

    what: dict[str, Callable[[], Result]]

    def of(self, task: Task, threads: int) -> Callable[[], Result]:
        return self.what[task.name]


def dies() -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def tells(word: str = "") -> Result:
    return Result(DONE, f"{word}{os.environ.get('OMP_NUM_THREADS')}")


def sleeps(seconds: float) -> Result:
    time.sleep(seconds)
    return Result(DONE)


def test_a_process_that_dies_takes_no_other_task_with_it(tmp_path):
    calls = {"dies": dies, "sleeps": partial(sleeps, 1.0), "after": tells}
    pool = Pool(Resources(jobs=2), Calls(calls))
    try:
        tasks = [named("dies"), named("sleeps"), named("after"), named("needs", ("dies",))]
        outcome = run(tasks, Ledger(tmp_path / LEDGER), silent, pool)
    finally:
        pool.close()
    assert outcome.states == {"dies": FAILED, "sleeps": DONE, "after": DONE, "needs": BLOCKED}
    assert "process died" in outcome.reasons["dies"]


def test_each_process_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    pool = Pool(Resources(jobs=3), Calls({"tells": partial(tells, "threads ")}))
    try:
        pool.submit(named("tells"))
        assert pool.finished()["tells"].reason == "threads 2"
    finally:
        pool.close()
    # What the user allows all together is shared out too, and nobody has less than one.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert Pool(Resources(jobs=3), Calls({})).threads == 1
    assert Pool(Resources(jobs=16), Calls({})).threads == 1


ORPHAN = """
import time
from multiprocessing import active_children
from functools import partial
from doodcli.pipeline.executors.pool import Pool
from doodcli.pipeline.executors import Resources
from tests.pipeline.test_executors import Calls, named, sleeps
pool = Pool(Resources(jobs=2), Calls({"long": partial(sleeps, 600)}))
pool.submit(named("long"))
print(*(process.pid for process in active_children()), flush=True)
time.sleep(600)
"""


def test_no_process_outlives_the_command_that_was_killed():
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    deadline = time.monotonic() + 60
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # an orphan whose new parent does not look after it


# --------------------------------------------------------------------------- submitit


def test_submitit_runs_what_slurm_would(tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    from doodcli.pipeline.executors.on_slurm import OnSlurm

    plan = Plan(Path("runs"), device="cpu")
    suite = Suite("tiny", profile("tiny"), Path("results/tiny"), plan)
    tasks = [task for task in suite.tasks() if task.name == "blank-digits-digits"]
    executor = OnSlurm(Resources("slurm"), Jobs(suite, tmp_path, of_nobody), cluster="local")
    try:
        outcome = run(tasks, Ledger(tmp_path / "results" / "tiny" / LEDGER), silent, executor)
    finally:
        executor.close()
    assert outcome.states == {"blank-digits-digits": DONE}, outcome.reasons
    assert (tmp_path / "results" / "tiny" / "cells" / "blank-digits-digits.csv").is_file()
    logs = list((tmp_path / "runs" / "slurm").glob("*_log.err"))
    assert len(logs) == 1


def test_slurm_is_asked_for_what_a_task_takes(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    from doodcli.pipeline.executors.on_slurm import OnSlurm

    for name, text in (("srun", ""), ("sbatch", "echo Submitted batch job 12"),
                       ("scancel", f"echo $* > {tmp_path}/cancelled")):  # fmt: skip
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    asked = Resources("slurm", cpus=3, gpus=2.0)
    executor = OnSlurm(asked, Jobs(tiny(tmp_path), tmp_path, of_nobody))
    executor.submit(named("training"))
    script = tmp_path / "runs" / "slurm" / "12_submission.sh"
    lines = script.read_text().splitlines()
    for line in ("--cpus-per-task=3", "--gpus-per-node=2", "--job-name=dood-training",
                 "--time=1440"):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    executor.close()
    assert (tmp_path / "cancelled").read_text() == "12\n"


def test_a_job_that_leaves_no_result_fails_with_the_place_of_its_log(tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    from doodcli.pipeline.executors import on_slurm

    class Lost(Calls):
        suite, folder = tiny(tmp_path), tmp_path

    executor = on_slurm.OnSlurm(Resources("slurm"), Lost({"dies": dies}), cluster="local")
    executor.submit(named("dies"))
    result = executor.finished()["dies"]
    assert result.state == FAILED
    assert "_log.err" in result.reason


def test_a_job_whose_time_is_over_goes_on_in_the_queue():
    pytest.importorskip("submitit", reason="submitit is not installed")
    from doodcli.pipeline.executors.on_slurm import Requeued

    requeued = Requeued(partial(tells, "again "))
    again = requeued.checkpoint()
    assert again.function is requeued
    assert again.result().reason.startswith("again ")


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Resources("cloud"), ["--executor cloud", "local, ray, slurm"]),
        (Resources(gpus=0.25), ["--gpus-per-task 0.25", "--executor ray"]),
        (Resources(cpus=2), ["--cpus-per-task 2", "--executor ray"]),
        (Resources("ray", gpus=0.0), ["--gpus-per-task 0", "more than 0"]),
        (Resources("ray", gpus=float("nan")), ["--gpus-per-task nan", "more than 0"]),
        (Resources("ray", gpus=1.5), ["--gpus-per-task 1.5", "whole"]),
        (Resources("slurm", gpus=0.5), ["--gpus-per-task 0.5", "whole", "ray"]),
    ],
)
def test_what_makes_no_sense_is_refused(asked, words, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: "there")
    with pytest.raises(InputError) as refused:
        checked(asked)
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named_with_its_remedy(name, package, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"--executor {name}.*package {package}.*make setup"):
        checked(Resources(name))


def test_where_there_is_no_slurm_it_says_so(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(InputError, match="--executor slurm: there is no Slurm here"),
        opened(Resources("slurm"), Jobs(tiny(tmp_path), tmp_path, of_nobody)),
    ):
        pass


def test_room_is_one_here_and_without_end_elsewhere():
    assert Resources().room == 1
    assert Resources(jobs=3).room == 3
    assert Resources("ray").room == float("inf")
    assert Resources("slurm", jobs=5).room == 5

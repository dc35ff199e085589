"""The graph of tasks: what is done is skipped, what failed is named, the rest goes on."""

from __future__ import annotations

import json
import multiprocessing
import time

import pytest

from doodcli.errors import InputError, RunFailed
from doodcli.learning.checkpoints import write_text
from doodcli.pipeline import engine
from doodcli.pipeline.engine import (
    BLOCKED,
    DONE,
    FAILED,
    MISSING,
    Ledger,
    Task,
    only,
    plan,
    run,
)


def silent(text: str) -> None:
    pass


def writer(path, name, log, key=1, needs=(), fails=False, soft=()):
    def work():
        log.append(name)
        if fails:
            raise RunFailed("no luck")
        (path / name).write_text(name)
        return [path / name]

    return Task(name, lambda: {"key": key}, work, f"make {name}", needs, soft)


def test_a_done_task_is_skipped_until_its_key_or_file_changes(tmp_path):
    log: list[str] = []
    ledger = tmp_path / "ledger.json"
    for _ in range(2):
        assert run([writer(tmp_path, "a", log)], Ledger(ledger), silent).states == {"a": DONE}
    assert log == ["a"]
    run([writer(tmp_path, "a", log, key=2)], Ledger(ledger), silent)
    assert log == ["a", "a"]
    (tmp_path / "a").write_text("touched by somebody")
    run([writer(tmp_path, "a", log, key=2)], Ledger(ledger), silent)
    assert log == ["a", "a", "a"]


def test_a_failure_is_named_and_stops_only_what_needs_it(tmp_path):
    log: list[str] = []
    tasks = [
        writer(tmp_path, "bad", log, fails=True),
        writer(tmp_path, "child", log, needs=("bad",)),
        writer(tmp_path, "grandchild", log, needs=("child",)),
        writer(tmp_path, "other", log),
    ]
    outcome = run(tasks, Ledger(tmp_path / "ledger.json"), silent)
    assert outcome.states == {
        "bad": FAILED,
        "child": BLOCKED,
        "grandchild": BLOCKED,
        "other": DONE,
    }
    assert outcome.failed == ["bad", "child", "grandchild"]
    assert "no luck" in outcome.reasons["bad"]
    assert log == ["bad", "other"]


def test_a_failed_task_is_tried_again_the_next_time(tmp_path):
    log: list[str] = []
    ledger = tmp_path / "ledger.json"
    run([writer(tmp_path, "a", log, fails=True)], Ledger(ledger), silent)
    assert run([writer(tmp_path, "a", log)], Ledger(ledger), silent).states == {"a": DONE}


def test_a_plan_touches_nothing(tmp_path):
    log: list[str] = []
    tasks = [writer(tmp_path, "a", log), writer(tmp_path, "b", log, needs=("a",))]
    outcome = plan(tasks, Ledger(tmp_path / "ledger.json"))
    assert outcome.states == {"a": MISSING, "b": MISSING}
    assert not log
    assert not list(tmp_path.iterdir())


def test_a_broken_ledger_costs_time_and_no_more(tmp_path):
    log: list[str] = []
    ledger = tmp_path / "ledger.json"
    ledger.write_text("{ half a")
    assert run([writer(tmp_path, "a", log)], Ledger(ledger), silent).states == {"a": DONE}


def test_results_may_be_moved(tmp_path):
    log: list[str] = []
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    run([writer(first, "a", log)], Ledger(first / "ledger.json"), silent)
    first.rename(second)
    run([writer(second, "a", log)], Ledger(second / "ledger.json"), silent)
    assert log == ["a"]


def test_a_task_makes_do_with_the_soft_needs_that_did_not_fail(tmp_path):
    log: list[str] = []
    tasks = [
        writer(tmp_path, "good", log),
        writer(tmp_path, "bad", log, fails=True),
        writer(tmp_path, "child", log, needs=("bad",)),
        writer(tmp_path, "table", log, soft=("good", "bad", "child")),
        writer(tmp_path, "page", log, needs=("table",)),
    ]
    outcome = run(tasks, Ledger(tmp_path / "ledger.json"), silent)
    assert outcome.states == {
        "good": DONE, "bad": FAILED, "child": BLOCKED, "table": DONE, "page": DONE,
    }  # fmt: skip
    assert outcome.failed == ["bad", "child"]
    assert log == ["good", "bad", "table", "page"]


def test_a_task_runs_without_those_that_it_would_merely_come_after(tmp_path):
    log: list[str] = []
    page = writer(tmp_path, "page", log, soft=("table", "figure"))
    assert run([page], Ledger(tmp_path / "ledger.json"), silent).states == {"page": DONE}
    with pytest.raises(KeyError, match="table"):
        run(
            [writer(tmp_path, "b", log, needs=("table",))], Ledger(tmp_path / "ledger.json"), silent
        )
    assert log == ["page"]


def test_a_hard_need_that_failed_blocks_whatever_the_soft_ones_did(tmp_path):
    log: list[str] = []
    tasks = [
        writer(tmp_path, "good", log),
        writer(tmp_path, "bad", log, fails=True),
        writer(tmp_path, "table", log, needs=("bad",), soft=("good",)),
    ]
    outcome = run(tasks, Ledger(tmp_path / "ledger.json"), silent)
    assert outcome.states["table"] == BLOCKED
    assert outcome.reasons["table"] == "needs bad"


def test_a_plan_waits_for_soft_needs_as_a_run_does(tmp_path):
    log: list[str] = []
    tasks = [
        writer(tmp_path, "good", log),
        writer(tmp_path, "other", log),
        writer(tmp_path, "table", log, soft=("good",)),
        writer(tmp_path, "free", log, soft=("other",)),
    ]
    ledger = tmp_path / "ledger.json"
    run(tasks, Ledger(ledger), silent)
    assert set(plan(tasks, Ledger(ledger)).states.values()) == {DONE}
    (tmp_path / "good").unlink()
    # Its own file is as it was; what it is made of is not.
    assert plan(tasks, Ledger(ledger)).states == {
        "good": MISSING, "other": DONE, "table": MISSING, "free": DONE,
    }  # fmt: skip


def test_a_task_whose_soft_needs_were_done_anew_is_done_anew_if_its_key_says_so(tmp_path):
    log: list[str] = []
    part = tmp_path / "part"

    def table():
        log.append("table")
        (tmp_path / "table").write_text(part.read_text())
        return [tmp_path / "table"]

    def tasks(key: int) -> list[Task]:
        def work():
            part.write_text(str(key))
            return [part]

        return [
            Task("part", lambda: {"key": key}, work, "make part"),
            Task("table", lambda: {"part": part.read_text()}, table, "make table", soft=("part",)),
        ]

    for key in (1, 1, 2):
        run(tasks(key), Ledger(tmp_path / "ledger.json"), silent)
    assert log == ["table", "table"]
    assert (tmp_path / "table").read_text() == "2"


def test_two_ledgers_of_one_file_keep_each_others_entries(tmp_path):
    log: list[str] = []
    path = tmp_path / "ledger.json"
    one, other = Ledger(path), Ledger(path)
    names = [(one, "a"), (other, "b"), (one, "c"), (other, "d"), (other, "e"), (one, "f")]
    for ledger, name in names:
        run([writer(tmp_path, name, log)], ledger, silent)
        assert name in json.loads(path.read_text())
    tasks = [writer(tmp_path, name, log) for _, name in names]
    assert set(plan(tasks, Ledger(path)).states.values()) == {DONE}


def enter_some(path, who, start):
    """What a process does: some tasks of the ledger that others write too."""
    start.wait()
    run([Task(f"{who}{k}", dict, list, "make it") for k in range(10)], Ledger(path), silent)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_write_one_ledger_at_once_lose_nothing(tmp_path, monkeypatch):
    def slowly(*arguments):
        time.sleep(0.005)
        write_text(*arguments)

    # Long enough that the processes meet between reading and writing, if they can.
    monkeypatch.setattr(engine, "write_text", slowly)
    fork = multiprocessing.get_context("fork")
    start, path = fork.Barrier(3), tmp_path / "ledger.json"
    workers = [fork.Process(target=enter_some, args=(path, who, start)) for who in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    expected = {f"{who}{k}" for who in "abc" for k in range(10)}
    assert json.loads(path.read_text()).keys() == expected
    assert not list(tmp_path.glob("*.part"))


def test_some_tasks_are_chosen_with_what_they_need(tmp_path):
    log: list[str] = []
    tasks = [
        writer(tmp_path, "train-a", log),
        writer(tmp_path, "train-b", log),
        writer(tmp_path, "count", log, needs=("train-a",)),
        writer(tmp_path, "table", log, needs=("count",)),
        writer(tmp_path, "picture", log, needs=("train-b",)),
    ]
    assert [task.name for task in only(tasks, ["table"])] == ["train-a", "count", "table"]
    assert [task.name for task in only(tasks, ["train-*"])] == ["train-a", "train-b"]
    with pytest.raises(InputError, match=r"--only tables.*train-a, train-b, count, table, picture"):
        only(tasks, ["tables"])

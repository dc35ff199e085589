"""The graph of tasks: what is done is skipped, what failed is named, the rest goes on."""

from __future__ import annotations

from doodcli.errors import RunFailed
from doodcli.pipeline.engine import BLOCKED, DONE, FAILED, MISSING, Ledger, Task, plan, run


def silent(text: str) -> None:
    pass


def writer(path, name, log, key=1, needs=(), fails=False):
    def work():
        log.append(name)
        if fails:
            raise RunFailed("no luck")
        (path / name).write_text(name)
        return [path / name]

    return Task(name, lambda: {"key": key}, work, f"make {name}", needs)


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

"""Tasks: what is done, what is missing, what failed.

A task is done when the ledger holds its key and its files are still what they were then.  The
key is settings, data, weights and a version constant of the experiment, not the commit.  Nothing
else in the project skips, resumes or counts failures.
"""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from doodcli.errors import InputError
from doodcli.learning.checkpoints import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LEDGER = "ledger.json"
"""Name of the ledger in a folder of results."""

DONE, MISSING, FAILED, BLOCKED = "done", "missing", "failed", "blocked"


@dataclass(frozen=True)
class Task:
    """One piece of work."""

    name: str
    key: Callable[[], dict[str, Any]]
    """everything that its outputs depend on; asked when its needs are done"""
    work: Callable[[], Sequence[Path]]
    """does it; returns the files that it wrote"""
    command: str
    """what does the same by hand, in a shell"""
    needs: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    """comes after these too, but makes do with those of them that did not fail"""


@dataclass
class Outcome:
    """What became of each task, in order."""

    states: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Names of the tasks that failed or could not be tried."""
        return [name for name, state in self.states.items() if state in (FAILED, BLOCKED)]


class Ledger:
    """Which tasks are done: a JSON file that is renewed after each of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            entries = None
        # A lost or broken ledger costs time, not results: the tasks are done again.
        return entries if isinstance(entries, dict) else {}

    def is_done(self, task: Task) -> bool:
        """Whether the task's key is the one recorded, and its files are as they were.

        What a task depends on may not be there yet: then neither is its result.
        """
        entry: Any = self.entries.get(task.name)
        try:
            key, files = entry["key"], entry["files"].items()
        except (TypeError, LookupError, AttributeError):
            return False
        root = self.path.parent
        try:
            return key == _digest(task.key()) and all(_of_file(root / n) == d for n, d in files)
        except InputError:
            return False

    def enter(self, task: Task, files: Sequence[Path], seconds: float) -> None:
        """Record a task that was done just now."""
        root = self.path.parent
        # Absolute paths would not survive a move of the folder.
        inside = {str(path.relative_to(root)): _of_file(path) for path in files}
        entry = {"key": _digest(task.key()), "files": inside, "seconds": round(seconds, 1)}
        root.mkdir(parents=True, exist_ok=True)
        with (root / f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have done other tasks of the same ledger meanwhile.
            self.entries = {**self.entries, **self._read(), task.name: entry}
            write_text(self.path, json.dumps(self.entries, indent=1, sort_keys=True) + "\n")


def only(tasks: Sequence[Task], names: Sequence[str]) -> list[Task]:
    """The tasks of these names, which may be patterns as in `train-*`, and what they need.

    InputError for a name that no task has.
    """
    chosen: set[str] = set()
    for name in names:
        found = set(fnmatch.filter([task.name for task in tasks], name))
        if not found:
            known = ", ".join(task.name for task in tasks)
            raise InputError(f"--only {name}: no such task; choose from {known}")
        chosen |= found
    for task in reversed(tasks):  # what is needed comes before what needs it
        if task.name in chosen:
            chosen.update(task.needs, task.soft)
    return [task for task in tasks if task.name in chosen]


def plan(tasks: Sequence[Task], ledger: Ledger) -> Outcome:
    """What would be done, without doing it: each task is done, missing, or waits for one."""
    outcome = Outcome()
    for task in tasks:
        waits = [need for need in (*task.needs, *task.soft) if outcome.states[need] != DONE]
        done = not waits and ledger.is_done(task)
        outcome.states[task.name] = DONE if done else MISSING
    return outcome


def run(tasks: Sequence[Task], ledger: Ledger, tell: Callable[[str], None]) -> Outcome:
    """Do what is missing, in order; a task that fails does not stop those that do not need it."""
    outcome = Outcome()
    for task in tasks:
        broken = [need for need in task.needs if outcome.states[need] in (FAILED, BLOCKED)]
        if broken:
            outcome.states[task.name] = BLOCKED
            outcome.reasons[task.name] = f"needs {', '.join(broken)}"
            continue
        _do(task, ledger, outcome, tell)
    return outcome


def _do(task: Task, ledger: Ledger, outcome: Outcome, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    try:
        if ledger.is_done(task):
            tell(f"{task.name}: done before")
        else:
            tell(f"{task.name}: {task.command}")
            ledger.enter(task, task.work(), time.monotonic() - began)
        outcome.states[task.name] = DONE
    except Exception as error:  # whatever broke it, the tasks that do not need it go on
        outcome.states[task.name] = FAILED
        outcome.reasons[task.name] = f"{type(error).__name__}: {error}"
        tell(f"{task.name}: failed: {error}")
    outcome.seconds[task.name] = time.monotonic() - began


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_file(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return None

"""Tasks: what is done, what is missing, what failed.

A task is done when the ledger holds its key and its files are still what they were then.  The
key is settings, data, weights and a version constant of the experiment, not the commit.  Nothing
else in the project skips, resumes or counts failures.  Where a task runs is an executor's business
(`pipeline/executors`): this process, others, or other machines.
"""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from doodcli.errors import InputError
from doodcli.learning.checkpoints import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LEDGER = "ledger.json"
"""Name of the ledger in a folder of results."""

DONE, MISSING, FAILED, BLOCKED = "done", "missing", "failed", "blocked"


class Size(NamedTuple):
    """How much work a task is, for an estimate of its time."""

    kind: str
    """tasks of a kind take as long as their amounts are large"""
    amount: float
    seconds: float | None = None
    """where its settings say how long it takes"""


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
    size: Size | None = None


class Result(NamedTuple):
    """What became of a task."""

    state: str
    reason: str = ""
    seconds: float = 0.0


class Executor(Protocol):
    """Where tasks run."""

    room: float
    """how many tasks it takes at once"""

    def submit(self, task: Task) -> None:
        """Take a task whose needs are done."""

    def finished(self) -> dict[str, Result]:
        """Wait until something that was submitted is over; what is, by name."""

    def close(self) -> None:
        """Stop what runs."""


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

    def seconds(self, task: Task) -> float | None:
        """How long the task took the last time, whatever its key was then."""
        try:
            return float(self.entries[task.name]["seconds"])
        except (TypeError, LookupError, ValueError):
            return None

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


def only(
    tasks: Sequence[Task], names: Sequence[str], aliases: Mapping[str, Sequence[str]] | None = None
) -> list[Task]:
    """The tasks of these names, which may be patterns as in `train-*`, and what they need.

    `aliases` are other names for some of the tasks.  InputError for a name that no task has.
    """
    aliases = aliases or {}
    chosen: set[str] = set()
    for name in names:
        patterns = aliases.get(name, [name])
        found = {task.name for task in tasks for one in patterns if fnmatch.fnmatch(task.name, one)}
        if not found:
            raise InputError(f"--only {name}: no such task; choose from {_known(tasks, aliases)}")
        chosen |= found
    for task in reversed(tasks):  # what is needed comes before what needs it
        if task.name in chosen:
            chosen.update(task.needs, task.soft)
    return [task for task in tasks if task.name in chosen]


def _known(tasks: Sequence[Task], aliases: Mapping[str, Sequence[str]]) -> str:
    names = ", ".join(task.name for task in tasks)
    return f"{names}, or by the paper's names {', '.join(aliases)}" if aliases else names


def plan(tasks: Sequence[Task], ledger: Ledger) -> Outcome:
    """What would be done, without doing it: each task is done, missing, or waits for one."""
    outcome = Outcome()
    for task in tasks:
        waits = [need for need in (*task.needs, *task.soft) if outcome.states[need] != DONE]
        done = not waits and ledger.is_done(task)
        outcome.states[task.name] = DONE if done else MISSING
    return outcome


def run(
    tasks: Sequence[Task],
    ledger: Ledger,
    tell: Callable[[str], None],
    executor: Executor | None = None,
) -> Outcome:
    """Do what is missing; a task that fails does not stop those that do not need it.

    Of the tasks whose needs are settled, those that come first are submitted first.
    """
    executor = executor or Here(ledger)
    results: dict[str, Result] = {}
    waiting, running = list(tasks), set[str]()
    # A task may be run without those that it would merely come after.
    known = {task.name for task in tasks}
    if lacking := {need for task in tasks for need in task.needs} - known:
        raise KeyError(f"tasks that others need are not among them: {', '.join(sorted(lacking))}")
    while waiting or running:
        for task in list(waiting):
            if len(running) >= executor.room:
                break
            if any(n not in results for n in (*task.needs, *known.intersection(task.soft))):
                continue
            waiting.remove(task)
            result = _settled(task, ledger, results)
            if result is None:
                tell(f"{task.name}: {task.command}")
                executor.submit(task)
                running.add(task.name)
            else:
                results[task.name] = result
                tell(f"{task.name}: {_in_words(result, 'done before')}")
        for name, result in executor.finished().items() if running else ():
            running.remove(name)
            results[name] = result
            tell(f"{name}: {_in_words(result, f'done, {result.seconds:.0f} s')}")
    order = [task.name for task in tasks]
    return Outcome(
        {name: results[name].state for name in order},
        {name: results[name].reason for name in order if results[name].reason},
        {name: results[name].seconds for name in order},
    )


def _settled(task: Task, ledger: Ledger, results: Mapping[str, Result]) -> Result | None:
    """What becomes of a task without doing it; None if it must be done."""
    broken = [need for need in task.needs if results[need].state != DONE]
    if broken:
        return Result(BLOCKED, f"needs {', '.join(broken)}")
    try:
        return Result(DONE) if ledger.is_done(task) else None
    except Exception as error:  # its key could not be computed
        return _failure(error)


def attempt(task: Task, ledger: Ledger) -> Result:
    """Do a task in this process, and record it."""
    began = time.monotonic()
    try:
        # Whoever tried before may have been lost after the work, before it could say so.
        if not ledger.is_done(task):
            ledger.enter(task, task.work(), time.monotonic() - began)
        return Result(DONE, "", time.monotonic() - began)
    except Exception as error:  # whatever broke it, the tasks that do not need it go on
        return _failure(error)._replace(seconds=time.monotonic() - began)


class Here:
    """In this process, one task after the other."""

    room: float = 1

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.taken: list[Task] = []

    def submit(self, task: Task) -> None:
        """It is done when it is waited for."""
        self.taken.append(task)

    def finished(self) -> dict[str, Result]:
        """Do what was submitted."""
        taken, self.taken = self.taken, []
        return {task.name: attempt(task, self.ledger) for task in taken}

    def close(self) -> None:
        """Nothing runs when nobody waits for it."""


def _failure(error: Exception) -> Result:
    return Result(FAILED, f"{type(error).__name__}: {error}")


def _in_words(result: Result, done: str) -> str:
    return done if result.state == DONE else f"{result.state}: {result.reason}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_file(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return None

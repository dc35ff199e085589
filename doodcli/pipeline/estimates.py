"""How long the tasks of `reproduce` will take, as far as ledgers tell."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from doodcli.pipeline.engine import LEDGER, Ledger, Size
from doodcli.pipeline.graph import PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from doodcli.pipeline.engine import Task
    from doodcli.pipeline.graph import Suite

UNKNOWN = "unknown"

ORDER = ("laptop", "paper", "smoke", "tiny")
"""Of the profiles from whose ledgers an estimate is taken: from what is largest, as a rule."""


class Estimate(NamedTuple):
    """Seconds, and where they are from."""

    seconds: float | None
    source: str


class Measured(NamedTuple):
    """What a ledger says of a task."""

    name: str
    size: Size
    seconds: float


def estimates(suite: Suite, tasks: Sequence[Task]) -> dict[str, Estimate]:
    """The time of each task, by name: the first that there is of

    - what its settings say (`learning.minutes`),
    - what it took the last time, by the ledger of these results,
    - the median of its kind in that ledger, then in those of other profiles, in proportion to the
      amount of work: images × steps of a training, images × samples of a cell of the grid, runs of
      any other task.  It knows nothing of other models' sizes and of other machines.
    """
    own = list(_measured(suite, tasks))
    ledgers = {suite.name: own}
    for name in ORDER:
        if name != suite.name:
            # Changes of settings, and which runs are chosen, are of this suite.
            other = replace(
                suite, name=name, profile=PROFILES[name], out=suite.out.parent / name,
                assignments=(), chosen=None,
            )  # fmt: skip
            ledgers[name] = list(_measured(other, other.tasks()))
    last = {one.name: one.seconds for one in own}
    return {task.name: _estimate(task, last, ledgers) for task in tasks}


def _estimate(task: Task, last: dict[str, float], ledgers: dict[str, list[Measured]]) -> Estimate:
    size = _size(task)
    if size.seconds is not None:
        return Estimate(size.seconds, "its settings")
    if task.name in last:
        return Estimate(last[task.name], "the last time")
    for profile, found in ledgers.items():
        alike = [one.seconds / one.size.amount for one in found if one.size.kind == size.kind]
        if alike:
            seconds = round(median(alike) * size.amount, 1)
            return Estimate(seconds, f"{len(alike)} of its kind in {profile}")
    return Estimate(None, UNKNOWN)


def _measured(suite: Suite, tasks: Iterable[Task]) -> Iterator[Measured]:
    ledger = Ledger(suite.out / LEDGER)
    for task in tasks:
        seconds = ledger.seconds(task)
        if seconds is not None:
            yield Measured(task.name, _size(task), seconds)


def _size(task: Task) -> Size:
    return task.size or Size(task.name, max(1, len(task.needs) + len(task.soft)))

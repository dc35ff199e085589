"""What a profile's results should hold, by name, and the commands that make what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from doodcli.data.registry import short
from doodcli.learning.train import Plan
from doodcli.pipeline import grid
from doodcli.report.document import Gap

if TYPE_CHECKING:
    from doodcli.pipeline.graph import Suite, Training
    from doodcli.report.folder import Folder

FILES = {
    "compare": ("models/compare.png",),
    "samples": ("samples.csv", "samples.png"),
    "samples-paper": ("samples-paper.csv", "samples-paper.png"),
    "complete": ("completions.csv", "completions.png"),
    "strokes": ("stroke_counts.csv", "stroke_counts.png"),
    "clusters": ("strokes.csv",),
    "oneshot": ("table1.csv", "oneshot.png"),
    "animations": ("animations.json",),
    "refined": ("refined.csv", "amortisation_gap.csv"),
}
"""Files without which a task is not done; of another task NAME this is NAME.csv."""


CELLS = {
    grid.AMORTISED: "of Fig. 4",
    grid.REFINED: "with refined posteriors",
    grid.SCALED: "with refined posteriors and scales",
}
"""Tasks of which there is one for each run and target, and what they are."""


class Expected(NamedTuple):
    """What should be there; without a profile, nothing is."""

    profile: str
    """"" of a folder that is no profile's"""
    trainings: list[Training]
    targets: list[str]
    """of the grid"""
    commands: dict[str, str]
    """by task, in order"""

    @staticmethod
    def of(suite: Suite) -> Expected:
        """The items of a suite, as they would be made in the project's folder.

        Where the results and the data are on this machine is not said.
        """
        home = dataclasses.replace(
            suite, out=Path("results") / suite.name, plan=Plan(Path("runs")), may_train=True,
            chosen=None,
        )  # fmt: skip
        names = [short(name) for name in grid.targets(suite.profile.targets)]
        commands = {task.name: task.command for task in home.tasks() if task.name != "report"}
        return Expected(suite.name, home.trainings, names, commands)

    @staticmethod
    def nothing() -> Expected:
        """Of a folder about which nothing is known."""
        return Expected("", [], [], {})

    def command(self, names: str) -> str:
        """What makes some tasks and what they need."""
        only = f"'{names}'" if "*" in names else names
        return f"dood reproduce --profile {self.profile} --only {only}" if self.profile else ""

    def gap(self, what: str, task: str, folder: Folder) -> Gap:
        """That something is missing, and why, if its files are there."""
        reasons = [
            f"{name} {folder.broken[name]}" for name in _files(task) if name in folder.broken
        ]
        known = task in self.commands
        return Gap(what, task, self.command(task) if known else "", "; ".join(reasons))


def gaps(folder: Folder, expected: Expected) -> list[Gap]:
    """The tasks that were not done: not run, or failed.

    What waits for a training is one item with it, as are the cells of a run.
    """
    waiting: dict[str, list[str]] = {what.name: [] for what in expected.trainings}
    found, untrained = [], []
    for task in expected.commands:
        if _is_done(task, folder):
            continue
        owner = next((name for name in waiting if _is_of(task, name)), None)
        if owner is None:
            found.append(expected.gap("", task, folder))
        elif task.startswith("train-"):
            untrained.append(owner)
        else:
            waiting[owner].append(task)
    for owner, tasks in waiting.items():
        names = [f"train-{owner}"] if owner in untrained else []
        counts = []
        rest = tasks
        for kind, of in CELLS.items():
            cells = [task for task in tasks if task.startswith(f"{kind}-")]
            rest = [task for task in rest if task not in cells]
            names += [f"{kind}-{owner}-*"] if len(cells) > 1 else cells
            counts += [f"{len(cells)} cell{'s' * (len(cells) != 1)} {of}"] if cells else []
        names += rest
        if names:
            what = ", ".join(counts)
            found.append(Gap(what, ", ".join(names), expected.command(",".join(names))))
    return found


def _is_of(task: str, run: str) -> bool:
    whole = task in (f"train-{run}", f"export-{run}", f"scale-{run}")
    return whole or task.startswith(tuple(f"{kind}-{run}-" for kind in CELLS))


def _is_done(task: str, folder: Folder) -> bool:
    kind, _, rest = task.partition("-")
    if kind == "train":
        return folder.has(f"run-{rest}.json")
    if kind == "export":
        facts = folder.json(f"run-{rest}.json") or {}
        return folder.has(f"weights/{facts.get('run')}/run.json")
    if kind == "blank":
        return folder.has(f"cells/{task}.csv")
    if kind in (*grid.FOLDERS, "scale"):
        return folder.has(f"{grid.FOLDERS.get(kind, grid.FOLDERS[grid.SCALED])}/{rest}.csv")
    return all(folder.has(name) and name not in folder.broken for name in _files(task))


def _files(task: str) -> tuple[str, ...]:
    return FILES.get(task, (f"{task}.csv",))

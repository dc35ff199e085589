"""`dood reproduce`: every table and figure of a profile."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doodcli.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from doodcli.pipeline.engine import Ledger, Task
    from doodcli.pipeline.executors import Resources
    from doodcli.pipeline.graph import Suite


def reproduce(
    profile: Annotated[str, typer.Option(help="tiny, smoke, laptop or paper.")] = "smoke",
    out: Annotated[
        Path, typer.Option(help="Folder of the results; the profile's is in it.")
    ] = Path("results"),
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
    only: Annotated[
        str | None,
        typer.Option(
            help="Tasks, with commas between, as in 'train-*,strokes,fig4,table1', and what they "
            "need."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Tasks at once [default: 1; ray, slurm: as many as have room]."),
    ] = None,
    train: Annotated[
        bool, typer.Option(help="Train what is not trained, or do without those models.")
    ] = True,
    executor: Annotated[
        str, typer.Option(help="Where tasks run: local (processes of this machine), ray or slurm.")
    ] = "local",
    cpus_per_task: Annotated[
        int | None, typer.Option(min=1, help="Cores of a task, with ray or slurm [default: 1].")
    ] = None,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs of a task, with ray or slurm [default: 0]; ray takes 0.25 too."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds of the trainings, with commas between [default: --seed]."),
    ] = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    assignments: options.Assignments = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train, draw and measure; skip what is done; name what failed.

    `tiny` and `smoke` use the embedded data and no network.  Killed at any point, the same
    command goes on from there.  --only takes the paper's names too: fig1, fig3 to fig8, table1,
    ablations, probes.  --executor ray joins the cluster that runs here, or that $RAY_ADDRESS names;
    slurm puts jobs into the queue (docs/cluster.md).
    """
    from doodcli.cli.train import progress
    from doodcli.learning.train import Plan
    from doodcli.pipeline import engine
    from doodcli.pipeline.aliases import ALIASES
    from doodcli.pipeline.executors import LOCAL, Resources, checked
    from doodcli.pipeline.graph import Suite
    from doodcli.pipeline.graph import profile as profile_of

    asked = checked(Resources(executor, jobs, cpus_per_task, gpus_per_task))
    if executor == LOCAL:
        device = options.device(device)
    elif device == "auto" and gpus_per_task is None:
        # Ray does not hide what a task did not ask for.
        device = "cpu"
    plan = Plan(runs, data_root=data_root, device=device)
    suite = Suite(
        profile, profile_of(profile), out / profile, plan,
        (seed,) if seeds is None else options.numbers(seeds, "--seeds"), seed, progress(quiet),
        tuple(assignments or ()),
    )  # fmt: skip
    if not train:
        suite = suite.of_trained()
    tasks = suite.tasks()
    if only is not None:
        tasks = engine.only(tasks, options.commas(only, "--only"), ALIASES)
    do(suite, tasks, json_output=json_output, quiet=quiet, dry_run=dry_run, asked=asked)


def do(
    suite: Suite,
    tasks: list[Task],
    *,
    json_output: bool,
    quiet: bool,
    dry_run: bool,
    asked: Resources | None = None,
) -> None:
    """Do the tasks, or show what would be done; exit code 1 when one failed."""
    from doodcli.cli.train import plain_progress
    from doodcli.learning.train import Stopped
    from doodcli.pipeline import engine
    from doodcli.pipeline.executors import Jobs, Resources, opened
    from doodcli.pipeline.reporting import PAGE

    ledger = engine.Ledger(suite.out / engine.LEDGER)
    if dry_run:
        _show(suite, tasks, ledger, quiet)
        return
    listener = partial(plain_progress, quiet)
    try:
        with opened(asked or Resources(), Jobs(suite, Path.cwd(), listener)) as executor, _stops():
            outcome = engine.run(tasks, ledger, lambda text: options.say(text, quiet), executor)
    except Stopped as stopped:
        options.say("stopped; the same command goes on from here", quiet)
        sys.exit(stopped.code)
    if json_output:
        options.print_json(vars(outcome))
    else:
        width = max(map(len, outcome.states))
        for name, state in outcome.states.items():
            line = f"{state:8s} {name:{width}s} {outcome.seconds.get(name, 0):6.0f} s"
            print(f"{line}  {outcome.reasons.get(name, '')}".rstrip())
        print(f"results are in {suite.out}")
        if outcome.states.get("report") == engine.DONE:
            print(suite.out / PAGE)
    if outcome.failed:
        options.say(f"dood: failed: {', '.join(outcome.failed)}")
        sys.exit(1)


def _show(suite: Suite, tasks: list[Task], ledger: Ledger, quiet: bool) -> None:
    """The tasks as JSON, and in one line what they come to."""
    from doodcli.pipeline import engine
    from doodcli.pipeline.estimates import estimates

    states, times = engine.plan(tasks, ledger).states, estimates(suite, tasks)
    rows = [
        {
            "task": task.name,
            "state": states[task.name],
            "needs": [*task.needs, *task.soft],
            "seconds": times[task.name].seconds,
            "estimate": times[task.name].source,
            "command": task.command,
        }
        for task in tasks
    ]
    options.print_json(rows)
    left = [times[name].seconds for name, state in states.items() if state != engine.DONE]
    known = [seconds for seconds in left if seconds is not None]
    options.say(
        f"{len(tasks) - len(left)} tasks are done, {len(left)} are not: about "
        f"{sum(known) / 60:.1f} minutes, one after the other, and {len(left) - len(known)} of "
        "unknown length",
        quiet,
    )


@contextmanager
def _stops() -> Iterator[None]:
    """SIGINT and SIGTERM stop the work as they stop a training, which handles them itself."""
    from doodcli.learning.train import Stopped

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(128 + number)

    before = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

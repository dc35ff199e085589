"""`dood reproduce`: every table and figure of a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doodcli.cli import options

if TYPE_CHECKING:
    from doodcli.pipeline.engine import Task
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
            help="Tasks, with commas between, as in 'train-*,strokes', and what they need."
        ),
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
    command goes on from there.
    """
    from doodcli.cli.train import progress
    from doodcli.learning.train import Plan
    from doodcli.pipeline import engine
    from doodcli.pipeline.graph import Suite
    from doodcli.pipeline.graph import profile as profile_of

    plan = Plan(runs, data_root=data_root, device=options.device(device))
    suite = Suite(
        profile, profile_of(profile), out / profile, plan, (seed,), seed, progress(quiet),
        tuple(assignments or ()),
    )  # fmt: skip
    tasks = suite.tasks()
    if only is not None:
        tasks = engine.only(tasks, options.commas(only, "--only"))
    do(suite, tasks, json_output=json_output, quiet=quiet, dry_run=dry_run)


def do(suite: Suite, tasks: list[Task], *, json_output: bool, quiet: bool, dry_run: bool) -> None:
    """Do the tasks, or show what would be done; exit code 1 when one failed."""
    from doodcli.learning.train import Stopped
    from doodcli.pipeline import engine
    from doodcli.pipeline.reporting import PAGE

    ledger = engine.Ledger(suite.out / engine.LEDGER)
    if dry_run:
        states = engine.plan(tasks, ledger).states
        rows = [{"task": t.name, "state": states[t.name], "command": t.command} for t in tasks]
        options.print_json(rows)
        return
    try:
        outcome = engine.run(tasks, ledger, lambda text: options.say(text, quiet))
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

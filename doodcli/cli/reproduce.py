"""`dood reproduce`: every table and figure of a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def reproduce(
    profile: Annotated[str, typer.Option(help="tiny, smoke, laptop or paper.")] = "smoke",
    out: Annotated[
        Path, typer.Option(help="Folder of the results; the profile's is in it.")
    ] = Path("results"),
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
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
    from doodcli.learning.train import Plan, Stopped
    from doodcli.pipeline import engine
    from doodcli.pipeline.graph import Suite

    plan = Plan(runs, data_root=data_root, device=options.device(device))
    suite = Suite(profile, out / profile, plan, seed, progress(quiet), tuple(assignments or ()))
    tasks, ledger = suite.tasks(), engine.Ledger(suite.out / "ledger.json")
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
        for name, state in outcome.states.items():
            reason = outcome.reasons.get(name, "")
            print(f"{state:8s} {name:20s} {outcome.seconds.get(name, 0):6.0f} s  {reason}".rstrip())
        print(f"results are in {suite.out}")
    if outcome.failed:
        options.say(f"dood: failed: {', '.join(outcome.failed)}")
        sys.exit(1)

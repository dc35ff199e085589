"""`dood report`: what a folder of results holds, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doodcli.cli import options

if TYPE_CHECKING:
    from doodcli.pipeline.graph import Suite


def report(
    profile: Annotated[
        str | None, typer.Option(help="tiny, smoke, laptop or paper [default: smoke].")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of results [default: results/PROFILE].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page [default: that of the results].")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make index.html, which needs nothing but itself, and report.tex of a folder of results.

    Everything is read from the folder, and what should be there and is not is named.  Only the
    drawings that draw themselves need a model, from the folder's weights or from --runs: they are
    made when they are missing or outdated, and kept in animations.json.  A folder that has no
    profile's name and comes without --profile is shown as it is.
    """
    name = profile or (results.resolve().name if results else "smoke")
    where = results or Path("results") / name
    page = out or where
    if dry_run:
        options.print_json({"profile": name, "results": str(where), "out": str(page)})
        return
    from doodcli.pipeline.expected import Expected
    from doodcli.pipeline.graph import PROFILES
    from doodcli.pipeline.reporting import require_results, write_report

    suite = None
    if profile is not None or name in PROFILES:
        suite = _suite(name, where, runs, data_root, options.device(device))
    require_results(where)
    if suite is not None:
        _animate(suite, quiet)
    expected = Expected.nothing() if suite is None else Expected.of(suite)
    paths = write_report(where, expected, page)
    if json_output:
        options.print_json({"profile": expected.profile, "files": [str(path) for path in paths]})
        return
    print("\n".join(map(str, paths)))


def _suite(name: str, where: Path, runs: Path, data_root: Path | None, device: str) -> Suite:
    from doodcli.learning.train import Plan
    from doodcli.pipeline.graph import Suite, profile

    plan = Plan(runs, data_root=data_root, device=device)
    return Suite(name, profile(name), where, plan, may_train=False)


def _animate(suite: Suite, quiet: bool) -> None:
    """Draw what draws itself, if that is not done and can be."""
    from doodcli.pipeline import engine
    from doodcli.pipeline.reporting import animations, draws_as_much

    if not draws_as_much(suite):
        options.say("note: no new animations: the runs are neither here nor in --runs", quiet)
        return
    ledger = engine.Ledger(suite.out / engine.LEDGER)
    outcome = engine.run([animations(suite)], ledger, lambda text: options.say(text, quiet))
    for task, reason in outcome.reasons.items():
        options.say(f"note: no new {task}: {reason}", quiet)

"""`dood oneshot`: one-shot classification (Table 1)."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options
from doodcli.errors import InputError


class Scoring(StrEnum):
    """How queries are scored."""

    ONE_WAY = "one-way"
    TWO_WAY = "two-way"


def oneshot(
    runs: options.Runs,
    episodes: Annotated[
        str,
        typer.Option(help="official (the 20 runs), background or scribbles (sampled, --seed)."),
    ] = "official",
    runs_file: Annotated[
        Path | None,
        typer.Option(help="The official runs [default: the archive in the data root]."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="Of background: validation (default) or train; of scribbles also test."),
    ] = None,
    scoring: Annotated[
        Scoring, typer.Option(help="two-way adds its own columns to those of one-way.")
    ] = Scoring.ONE_WAY,
    parses: Annotated[
        int | None, typer.Option(min=1, help="Parses a picture [default: parse.count].")
    ] = None,
    token_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of a fit [default: token.steps].")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The first so many runs [default: 20].")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, as in token.blur=2; may be repeated."),
    ] = None,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Also measure with these changes, as in 'token.blur=2 parse.count=1'; repeatable.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the tables and the picture.")] = Path(
        "oneshot"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Within-alphabet one-shot classification: of which support is a query another token?

    Writes oneshot.csv (a row a query), oneshot_runs.csv (a row a run), table1.csv and .tex with
    nearest neighbours and, for the official runs, the numbers of others beside, oneshot.json (the
    settings), and a picture of some decisions.  --try compares settings, in oneshot_choices.csv:
    on sampled episodes alone, for no choice may be made on the official runs.
    """
    if tries and episodes == "official":
        raise InputError(
            "--try: no choice may be made on the official runs; give --episodes background"
        )
    if runs_file is not None and episodes != "official":
        raise InputError(f"--runs-file {runs_file}: goes with --episodes official")
    from doodcli.experiments.oneshot import Asked, OneShotSettings

    given = {"parse.count": parses, "token.steps": token_steps}
    direct = [f"{name}={value}" for name, value in given.items() if value is not None]
    settings = OneShotSettings().changed([*direct, *(assignments or ())])
    changed = {text: settings.changed(text.split()) for text in tries or ()}
    if dry_run:
        options.print_json(
            {
                "runs": options.commas(runs, "RUNS"), "episodes": episodes, "part": part,
                "limit": limit, "scoring": scoring, "seed": seed,
                "settings": dataclasses.asdict(settings),
                "tries": {text: dataclasses.asdict(value) for text, value in changed.items()},
            }
        )  # fmt: skip
        return
    from doodcli.data.oneshot import load_episodes
    from doodcli.pipeline.classification import one_shot

    found = load_episodes(
        episodes, part=part, data_root=data_root, runs_file=runs_file, limit=limit, seed=seed
    )
    asked = Asked(
        found, settings, two_way=scoring is Scoring.TWO_WAY, seed=seed,
        device=options.device(device), tell=lambda text: options.say(text, quiet),
    )  # fmt: skip
    table, paths = one_shot(options.open_runs(runs), asked, out, changed)
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    shown = ["model", "trained_on", "two_way", "accuracy", "se", "runs", "source"]
    options.print_table(table[[*shown, *(["changes"] if changed else [])]])
    print("\n".join(map(str, paths)))

"""`dood transfer-grid`: every model of every source on every target (Fig. 4)."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options
from doodcli.cli.reproduce import do
from doodcli.errors import InputError


def transfer_grid(
    model: Annotated[
        str, typer.Option(help="Models, with commas between.")
    ] = "dood,air-difference",
    sources: Annotated[
        str | None, typer.Option(help="Data sets to train on [default: the profile's targets].")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Data sets to test on [default: the profile's].")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings.")] = "0",
    preset: Annotated[str, typer.Option(help="tiny, smoke, laptop or paper.")] = "laptop",
    train: Annotated[
        bool, typer.Option(help="Train what is missing; else say what is missing.")
    ] = True,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Posterior samples an image [default: the profile's].")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Test images a cell [default: the profile's].")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the results; the profile's is in it.")
    ] = Path("results"),
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: Annotated[
        int, typer.Option(help="Seed of the evaluation's noise and subsets.", **options.SEEDS)
    ] = 0,
    assignments: options.Assignments = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Zero-shot transfer: IWAE bounds of every source's model on every target.

    Writes to results/<preset>/: transfer.csv, for each model transfer_<model>.tex and its picture,
    transfer_vs_paper.csv and .tex, transfer_claims.csv, and transfer_ablations.tex: of the cells
    that the options name.  What was done is not done again; what fails is named in the end.
    --seed is that of the evaluation.  A model whose pen leaks (pen=amortised) is in transfer.csv
    alone: its numbers are no bounds.  Preset laptop trains 3,700 steps a model, those whose steps
    are cheap more (docs/reproduce.md): a quarter of an hour to half an hour each, on one core.
    """
    from doodcli.cli.train import progress
    from doodcli.data.registry import known, short
    from doodcli.learning.train import Plan
    from doodcli.pipeline import grid
    from doodcli.pipeline.graph import Suite
    from doodcli.pipeline.graph import profile as profile_of
    from doodcli.variants import VARIANTS

    of_preset = profile_of(preset, "--preset")
    names = {
        "--model": options.commas(model, "--model"),
        "--sources": of_preset.targets if sources is None else options.commas(sources, "--sources"),
        "--targets": of_preset.targets if targets is None else options.commas(targets, "--targets"),
    }
    for name in names["--model"]:
        if name not in VARIANTS:
            raise InputError(f"--model {name}: choose from {', '.join(VARIANTS)}")
    for option in ("--sources", "--targets"):
        for name in names[option]:
            known(name, option)
        if len(set(map(short, names[option]))) < len(names[option]):
            raise InputError(f"{option}: two data sets have the same name; rename one")
    profile = dataclasses.replace(
        of_preset,
        trainings=tuple(itertools.product(names["--model"], names["--sources"])),
        targets=tuple(names["--targets"]),
        samples=samples or of_preset.samples,
        limit=limit or of_preset.limit,
    )
    plan = Plan(runs, data_root=data_root, device=options.device(device))
    suite = Suite(
        preset, profile, out / preset, plan, options.numbers(seeds, "--seeds"), seed,
        progress(quiet), tuple(assignments or ()), may_train=train,
    )  # fmt: skip
    tasks = [*suite.training_tasks(), *grid.tasks(suite)]
    do(suite, tasks, json_output=json_output, quiet=quiet, dry_run=dry_run)

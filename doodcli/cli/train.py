"""`dood train`: options, live progress, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from doodcli.cli import options

PLAIN_SECONDS = 15.0
"""How often a line is printed where there is no terminal."""


def train(
    dataset: Annotated[
        str | None,
        typer.Option(help="A data set's name, or a path to one [default: mnist]; A,B trains both."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="dood, dood-eg, dood-dr, dood-sp, air or air-difference [default: dood]; A,B "
            "trains both."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="tiny, smoke, laptop or paper.")] = "laptop",
    steps: Annotated[int | None, typer.Option(help="Gradient steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of training instead.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Adam's rate after the warm-up.")] = None,
    pen: Annotated[str | None, typer.Option(help="latent, global, amortised or none.")] = None,
    place: Annotated[str | None, typer.Option(help="points or image.")] = None,
    likelihood: Annotated[
        str | None, typer.Option(help="laplace or normal, around the canvas.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Weight on the stopping variable.")] = None,
    beta_on: Annotated[str | None, typer.Option(help="stop or signal.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
    run_dir: Annotated[
        Path | None, typer.Option(help="This run folder; refused if its settings differ.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with a run that was cut.")] = True,
    extend: Annotated[
        bool, typer.Option(help="Go on with the run in --run-dir to another length.")
    ] = False,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes that share each batch, one a device.")
    ] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile a step of the strokes into fused kernels.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all that is random [default: 0].", **options.SEEDS)
    ] = None,
    transpose: Annotated[
        bool | None, typer.Option("--transpose", help="Swap the images' axes: the paper's EMNIST.")
    ] = None,
    settings_file: options.SettingsFile = None,
    assignments: options.Assignments = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train a model; go on where an earlier run of the same settings was cut.

    Prints the run's folder.  The folder is named by model, data, seed and a hash of the
    settings, so the same command finds the same run.  With --devices N processes on this machine
    share each batch; over several machines `torchrun … -m doodcli train …` does the same.  Several
    models and data sets, separated by commas, are trained in turns, a step of each, which fills a
    large accelerator.
    """
    direct = {
        "data.transpose": transpose,
        "model.pen": pen, "model.place": place, "model.likelihood": likelihood,
        "learning.steps": steps, "learning.minutes": minutes, "learning.batch_size": batch_size,
        "learning.lr": lr, "learning.beta": beta, "learning.beta_on": beta_on, "seed": seed,
    }  # fmt: skip
    every = [
        options.settings_from(
            preset, settings_file, {**direct, "model.name": one, "data.dataset": on}, assignments
        )
        for one in _several(model, "--model")
        for on in _several(dataset, "--dataset")
    ]
    if dry_run:
        from doodcli.settings import as_dict

        _print_json([as_dict(settings) for settings in every])
        return
    from doodcli.devices import require_compiler
    from doodcli.learning.team import gathered, is_worker, launch
    from doodcli.learning.train import Plan, Stopped, train_together

    if devices > 1 and not is_worker():
        code = launch(devices, sys.argv[1:])
        # The rendezvous leaves threads and a store behind, and taking the interpreter down around
        # them has ended in an abort: everything is written, so the process ends here.
        sys.stderr.flush()
        os._exit(code)
    try:
        with gathered(options.device(device)) as (team, mine):
            if compiled:
                require_compiler(mine)
            plan = Plan(
                runs, run_dir, data_root, mine, resume, extend, checkpoint_minutes, team, compiled
            )
            quiet_here = quiet or not team.leads
            listeners = [progress(quiet_here)]
            if len(every) > 1:
                names = [f"{one.model.name}, {one.data.dataset}" for one in every]
                listeners = [plain_progress(quiet_here, name) for name in names]
            found = train_together(every, plan, listeners)
            if not team.leads:
                return
    except Stopped as stopped:
        options.say("stopped; the same command goes on from here", quiet)
        sys.exit(stopped.code)
    if json_output:
        _print_json([{"path": str(run.path), **run.provenance()} for run in found])
    else:
        print(*(run.path for run in found), sep="\n")


def _several(text: str | None, option: str) -> list[str | None]:
    """What commas separate; None stays what it is, the default."""
    return [None] if text is None else [*options.commas(text, option)]


def _print_json(values: list[Any]) -> None:
    """One value as itself, several as a list."""
    options.print_json(values[0] if len(values) == 1 else values)


def progress(quiet: bool) -> Any:
    """The listener that suits where stderr goes: a live bar, plain lines, or silence."""
    from doodcli.cli.progress import LiveProgress, PlainProgress, SilentProgress

    if quiet:
        return SilentProgress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress(PLAIN_SECONDS)


def plain_progress(quiet: bool, name: str) -> Any:
    """The listener of a training that is not the only one: its lines begin with its name."""
    from doodcli.cli.progress import PlainProgress, SilentProgress

    return SilentProgress() if quiet else PlainProgress(PLAIN_SECONDS, f"{name}: ")

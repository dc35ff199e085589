"""`dood bench`: what rendering, training and inference cost here, and what learning reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from doodcli.cli import options

app = typer.Typer()

Quick = Annotated[
    bool, typer.Option("--quick", help="Small sizes: whether it works, not how fast.")
]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    device: options.Device = "auto",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    quick: Quick = False,
) -> None:
    """Speed and memory, beside a dense renderer and a step as the reference implementation's.

    Takes a few minutes on a laptop.
    """
    if context.invoked_subcommand is not None:
        return
    from doodcli.experiments.bench import benchmark

    where = options.device(device)
    result = benchmark(where, quick=quick, tell=lambda text: options.say(text, quiet))
    if json_output:
        options.print_json(result)
    else:
        _print_table(result)


@app.command()
def stages(
    out: Annotated[Path | None, typer.Option(help="Write stages.csv to this folder.")] = None,
    device: options.Device = "auto",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    quick: Quick = False,
) -> None:
    """Where a training step and an IWAE evaluation spend their time, and the machine's limits."""
    from doodcli.experiments.bench import FULL, QUICK
    from doodcli.experiments.stages import stages as measure
    from doodcli.report.tables import write_csv

    options.say("profiling a training step and a likelihood, stage by stage", quiet)
    table = measure(QUICK if quick else FULL, options.device(device), 1 if quick else 5)
    if out is not None:
        write_csv(table, out / "stages.csv")
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    options.print_table(table[["work", "stage", "milliseconds", "share"]])
    for work, part in table.groupby("work", sort=False):
        row = part.iloc[0]
        print(
            f"{work}: {part.milliseconds.sum():,.0f} ms; {row.gflop:,.1f} GFLOP would take "
            f"{row.floor_of_gflop:,.0f} ms here, {row.gigabytes:,.1f} GB moved "
            f"{row.floor_of_gigabytes:,.0f} ms"
        )


@app.command()
def scaling(
    out: Annotated[
        Path | None, typer.Option(help="Write scaling.csv and its picture to this folder.")
    ] = None,
    device: options.Device = "auto",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    quick: Quick = False,
) -> None:
    """How a training step's cost grows with images, strokes and curve samples, and how straight."""
    from doodcli.experiments import scaling as growth
    from doodcli.experiments.bench import FULL, QUICK
    from doodcli.report.figures import save_figure, scaling_figure
    from doodcli.report.tables import write_csv

    options.say("timing training steps of growing sizes, in turns", quiet)
    where = options.device(device)
    table = (
        growth.scaling(QUICK, where, growth.QUICK_AXES) if quick else growth.scaling(FULL, where)
    )
    if out is not None:
        write_csv(table, out / "scaling.csv")
        save_figure(scaling_figure(table), out / "scaling")
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    options.print_table(
        table[["setting", "value", "milliseconds", "line_milliseconds", "mebibytes"]]
    )
    options.print_table(growth.lines(table))


@app.command()
def quality(
    dataset: Annotated[str, typer.Option(help="Data sets, with commas between.")] = "mnist",
    preset: Annotated[str, typer.Option(help="tiny, smoke, laptop or paper.")] = "laptop",
    model: Annotated[str | None, typer.Option(help="The model variant [default: dood].")] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps of each training.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of each instead.")] = None,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Settings to try beside the preset's, as in 'learning.beta=2 model.pen=global'; "
            "may be repeated.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Posterior samples an image.")] = 50,
    limit: Annotated[int, typer.Option(min=1, help="Validation images.")] = 500,
    out: Annotated[Path | None, typer.Option(help="Write quality.csv to this folder.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the run folders.")] = Path("runs"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """What settings reach in an equal time, or in equal steps, on validation images.

    Trains the preset and every --try on every data set, and measures the IWAE bound and the error
    on images that are held out of the training split.
    """
    from doodcli.cli.train import progress
    from doodcli.experiments.quality import Candidate, Sizes
    from doodcli.experiments.quality import quality as measure
    from doodcli.learning.train import Plan
    from doodcli.report.tables import write_csv
    from doodcli.settings import as_dict

    direct = {
        "model.name": model, "learning.steps": steps, "learning.minutes": minutes, "seed": seed,
    }  # fmt: skip
    candidates = [
        Candidate(
            options.settings_from(preset, None, {**direct, "data.dataset": name}, changes.split()),
            changes,
        )
        for name in options.commas(dataset, "--dataset")
        for changes in ("", *(tries or ()))
    ]
    if dry_run:
        options.print_json(
            [{"changes": c.changes, "settings": as_dict(c.settings)} for c in candidates]
        )
        return
    table = measure(
        candidates, Plan(runs, data_root=data_root, device=options.device(device)),
        Sizes(samples, limit), seed, progress(quiet), lambda text: options.say(text, quiet),
    )  # fmt: skip
    if out is not None:
        write_csv(table, out / "quality.csv")
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        columns = ["model", "source", "changes", "steps", "training_images", "training_minutes",
                   "images_per_s", "mean_strokes", "mean_abs_error", "blank_error",
                   "blank_nats"]  # fmt: skip
        numbers = [name for name in map(str, table) if name.endswith(("iwae_nats", "iwae_se"))]
        options.print_table(table[[*columns, *numbers]])


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What was measured, ours, the yardstick's, how many times better."""
    render, train = result["renderer"], result["train"]
    infer, likelihood = result["infer"], result["likelihood"]

    def of(value: float, unit: str) -> str:
        return f"{value:,.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"

    def times(value: float) -> str:
        return f"{value:,.1f} ×"

    return [
        (
            f"render {render['batch']} strokes and their gradients",
            of(render["milliseconds"], "ms"),
            of(render["dense_milliseconds"], "ms"),
            times(render["time_ratio"]),
        ),
        (
            "its peak memory",
            of(render["mebibytes"], "MiB"),
            of(render["dense_mebibytes"], "MiB"),
            times(render["memory_ratio"]),
        ),
        ("its largest error, in [0, 1]", f"{render['max_abs_diff']:.1e}", "exact", ""),
        (
            f"training, batch {train['batch']}, {train['strokes']:.1f} strokes",
            of(train["images_per_s"], "images/s"),
            of(train["reference_images_per_s"], "images/s"),
            times(train["ratio"]),
        ),
        (
            "peak memory of a step",
            of(train["mebibytes"], "MiB"),
            of(train["reference_mebibytes"], "MiB"),
            times(train["memory_ratio"]),
        ),
        (
            f"infer, batch {infer['batch']}, {infer['strokes']:.1f} strokes",
            of(infer["drawings_per_s"], "drawings/s"),
            "",
            "",
        ),
        (
            f"likelihood, {likelihood['batch']} images × {likelihood['samples']} samples",
            of(likelihood["drawings_per_s"], "drawings/s"),
            of(likelihood["reference_drawings_per_s"], "drawings/s"),
            times(likelihood["ratio"]),
        ),
        *(
            (
                f"training {row['model']}, {row['parameters'] / 1e6:.2f} M parameters",
                of(row["images_per_s"], "images/s"),
                "",
                "",
            )
            for row in result["models"]
        ),
    ]


def _print_table(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("measured")
    for name in ("dood", "reference", "ratio"):
        table.add_column(name, justify="right")
    for row in _rows(result):
        table.add_row(*row)
    around = result["environment"]
    console = options.console()
    console.print(table)
    console.print(
        f"{around['device']}, {around['threads']} threads, torch {around['torch']}, "
        f"dood {around['version']}",
        markup=False,
    )

"""`dood bench`: what rendering, training and inference cost on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from doodcli.cli import options


def bench(
    device: options.Device = "auto",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: whether it works, not how fast.")
    ] = False,
) -> None:
    """Speed and memory, beside a dense renderer and a step as the reference implementation's.

    Takes a few minutes on a laptop.
    """
    from doodcli.experiments.bench import benchmark

    where = options.device(device)
    result = benchmark(where, quick=quick, tell=lambda text: options.say(text, quiet))
    if json_output:
        options.print_json(result)
    else:
        _print_table(result)


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
            "",
            "",
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

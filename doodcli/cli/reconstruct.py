"""`dood reconstruct`: step-by-step drawings, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def reconstruct(
    runs: options.Runs,
    dataset: Annotated[str, typer.Option(help="Data sets, with commas between.")] = "mnist",
    num: Annotated[int, typer.Option(min=1, max=100, help="Images of each data set.")] = 10,
    part: options.Part = "test",
    transpose: options.Transpose = False,
    out: Annotated[Path, typer.Option(help="Folder of the pictures and the table.")] = Path(
        "reconstructions"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Draw images stroke by stroke, as in Figs. 1 and 3 of the paper.

    Writes reconstruct.png, reconstruct.pdf and reconstruct.csv: for each run (a row) and each
    data set (a column) the target, the canvas after each stroke, and the strokes in colour.  Of
    several runs also compare.png and compare.pdf: what each makes of the same targets.
    """
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "datasets": names, "num": num})
        return
    import pandas as pd

    from doodcli.experiments.reconstruct import reconstruct as draw
    from doodcli.report.figures import comparison_figure, reconstruction_figure, save_figure
    from doodcli.report.tables import write_csv

    where = options.device(device)
    wanted = options.Target(part, data_root, num, seed, transpose)
    rows = []
    for run in options.open_runs(runs):
        sets = [wanted.load(run, name) for name in names]
        options.say(f"drawing {', '.join(names)} with {run.name}", quiet)
        rows.append([draw(run, images, seed, where) for images in sets])
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    write_csv(table, out / "reconstruct.csv")
    paths = [
        *save_figure(reconstruction_figure(rows), out / "reconstruct"),
        out / "reconstruct.csv",
    ]
    if len(rows) > 1:
        paths += save_figure(comparison_figure(rows), out / "compare")
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        print("\n".join(map(str, paths)))

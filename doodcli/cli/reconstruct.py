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
    refine: Annotated[
        int, typer.Option(min=0, help="Also with posteriors fitted to each image by so many steps.")
    ] = 0,
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
    several runs also compare.png and compare.pdf: what each makes of the same targets.  With
    --refine a run has a second row, of posteriors that were fitted to each image.
    """
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "datasets": names, "num": num,
                            "refine": refine})  # fmt: skip
        return
    from doodcli.pipeline.studies import reconstructions

    study = options.Target(part, data_root, num, seed, transpose).study(names, device, quiet)
    table, paths = reconstructions(options.open_runs(runs), study, out, refine)
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        print("\n".join(map(str, paths)))

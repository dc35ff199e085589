"""`dood likelihood`: IWAE bounds of the log marginal likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options
from doodcli.errors import InputError


def likelihood(
    runs: options.Runs,
    dataset: Annotated[str, typer.Option(help="Data sets, with commas between.")] = "mnist",
    samples: Annotated[int, typer.Option(min=1, help="Posterior samples an image.")] = 200,
    refine: Annotated[
        int,
        typer.Option(min=0, help="Also fit each image a posterior of its own, by so many steps."),
    ] = 0,
    scale_images: Annotated[
        int,
        typer.Option(min=0, help="Also learn the scales anew, on so many training images."),
    ] = 0,
    limit: options.Limit = None,
    part: options.Part = "test",
    transpose: options.Transpose = False,
    out: Annotated[Path | None, typer.Option(help="Write likelihood.csv to this folder.")] = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Lower bounds of log p(x) in nats an image, beside the `blank` page's.

    The blank row draws nothing: per-pixel median and scale of the run's training images.  With
    --refine the bounds of refined posteriors follow those of the amortised one, and with
    --scale-images those of a model whose scales suit them.
    """
    if scale_images and not refine:
        raise InputError("--scale-images: are for posteriors of their own; give --refine too")
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "datasets": names,
                            "samples": samples, "refine": refine, "scale_images": scale_images,
                            "limit": limit})  # fmt: skip
        return
    from doodcli.experiments.likelihood import Effort
    from doodcli.pipeline.studies import likelihoods
    from doodcli.report.tables import write_csv

    study = options.Target(part, data_root, limit, seed, transpose).study(names, device, quiet)
    table = likelihoods(
        options.open_runs(runs),
        study,
        lambda run: options.source_of(run, data_root),
        Effort(samples, refine, scale_images, seed),
    )
    if out is not None:
        write_csv(table, out / "likelihood.csv")
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        columns = ["model", "source", "target", "remark", "kind", "images", "samples"]
        columns += ["refine_steps"] * (refine > 0) + ["scale_images"] * (scale_images > 0)
        numbers = [name for name in map(str, table) if name.endswith(("_nats", "_se"))]
        options.print_table(table[[*columns, *numbers, "mean_abs_error", "mean_strokes"]])

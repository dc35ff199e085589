"""`dood export`: a trained model, small enough to pass on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the export; an export there is replaced.")],
    samples: Annotated[
        int, typer.Option(min=1, help="Posterior samples an image of the check.")
    ] = 50,
    limit: Annotated[int, typer.Option(min=2, help="Validation images of the check.")] = 300,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Half-precision weights, settings, log and model card of a run, in one folder.

    The folder takes a run's place in every command but `dood train`.  Both are measured on
    validation images of the run's own data set; an export that lost more than 2 nats an image is
    a failure.
    """
    found = options.open_one(run)
    if dry_run:
        options.print_json({"run": found.name, "out": out, "samples": samples, "limit": limit})
        return
    from doodcli.pipeline.studies import Study, export_run

    target = options.Target("validation", data_root, limit, seed, found.settings.data.transpose)
    study = Study(
        [found.settings.data.dataset], target.load, seed, options.device(device),
        lambda text: options.say(text, quiet),
    )  # fmt: skip
    result, paths = export_run(found, study, samples, out)
    if json_output:
        options.print_json(result.table.to_dict("records"))
        return
    columns = ["run", "precision", "target", "part", "images", "samples", "iwae_nats", "iwae_se"]
    options.print_table(result.table[columns])
    print("\n".join(map(str, paths)))

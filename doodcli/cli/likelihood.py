"""`dood likelihood`: IWAE bounds of the log marginal likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def likelihood(
    runs: options.Runs,
    dataset: Annotated[str, typer.Option(help="Data sets, with commas between.")] = "mnist",
    samples: Annotated[int, typer.Option(min=1, help="Posterior samples an image.")] = 200,
    limit: options.Limit = None,
    part: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Write likelihood.csv to this folder.")] = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Lower bounds of log p(x) in nats an image, beside the `blank` page's.

    The blank row draws nothing: per-pixel median and scale of the run's training images.
    """
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "datasets": names,
                            "samples": samples, "limit": limit})  # fmt: skip
        return
    import pandas as pd

    from doodcli.experiments.likelihood import blank
    from doodcli.experiments.likelihood import likelihood as measure
    from doodcli.report.tables import write_csv

    where = options.device(device)
    parts = []
    for run in options.open_runs(runs):
        source = options.source_of(run, data_root)
        for name in names:
            target = options.target_for(run, name, part, data_root, limit, seed)
            options.say(f"{run.name} on {name}: {len(target)} images × {samples} samples", quiet)
            parts += [measure(run, target, samples, seed, where), blank(source, target)]
    table = pd.concat(parts, ignore_index=True).drop_duplicates(["run", "source", "target"])
    if out is not None:
        write_csv(table, out / "likelihood.csv")
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        columns = ["model", "source", "target", "kind", "images", "samples", "iwae_nats", "iwae_se",
                   "elbo_nats", "mean_abs_error", "mean_strokes"]  # fmt: skip
        options.print_table(table[columns])

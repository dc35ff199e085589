"""`dood probe`: what a linear classifier reads off the latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def probe(
    runs: options.Runs,
    target: Annotated[str, typer.Option(help="Labelled data sets, with commas between.")] = "mnist",
    limit_train: Annotated[
        int | None, typer.Option(min=2, help="Training images of each set, a random subset.")
    ] = None,
    limit: options.Limit = None,
    transpose: options.Transpose = False,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("probe"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Linear probes: logistic regression on the latents of each run, on each data set.

    Fitted to the latents of training images, one posterior sample each, and scored on those of
    test images (--limit of them).  The latents are flattened: control points (or codes) and
    layouts of all steps, zeros where there is no stroke.  Writes probe.csv, and probe.tex with
    the paper's numbers in brackets.  A set whose test classes are others than its training
    classes, as Omniglot's, has no probe.
    """
    names = options.commas(target, "--target")
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "targets": names,
                            "limit_train": limit_train, "limit": limit})  # fmt: skip
        return
    from doodcli.experiments.probe import summary
    from doodcli.pipeline.studies import probes

    learn = options.Target("train", data_root, limit_train, seed, transpose)
    test = options.Target("test", data_root, limit, seed, transpose)
    table, paths = probes(
        options.open_runs(runs), test.study(names, device, quiet), learn.load, out
    )
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    options.print_table(summary(table).drop(columns=["target_fingerprint", "remark"]))
    print("\n".join(map(str, paths)))

"""`dood strokes`: what the strokes say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options

app = typer.Typer(no_args_is_help=True)


@app.command()
def count(
    runs: options.Runs,
    dataset: Annotated[str, typer.Option(help="Data sets, with commas between.")] = "mnist",
    part: options.Part = "test",
    limit: options.Limit = None,
    transpose: options.Transpose = False,
    out: Annotated[Path, typer.Option(help="Folder of the tables and the picture.")] = Path(
        "strokes"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """How many strokes each model uses on each data set (Fig. 3 b to d), and the paper's claims.

    Writes stroke_counts.csv, .png and .pdf, and, where a run's own data set is among the sets,
    stroke_claims.csv: each claim of the paper with its number, holds or does not.
    """
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json(
            {"runs": options.commas(runs, "RUNS"), "datasets": names, "limit": limit}
        )
        return
    import pandas as pd

    from doodcli.experiments import strokes
    from doodcli.report.figures import counts_figure, save_figure
    from doodcli.report.tables import write_csv

    where = options.device(device)
    wanted = options.Target(part, data_root, limit, seed, transpose)
    parts, comparable = [], True
    for run in options.open_runs(runs):
        sets = [wanted.load(run, name) for name in names]
        options.say(f"counting the strokes of {run.name} on {', '.join(names)}", quiet)
        parts += [strokes.count(run, images, seed, where) for images in sets]
        own = run.record["data"]["name"]
        comparable &= own in (found := {images.name for images in sets}) and len(found) > 1
    counts = pd.concat(parts, ignore_index=True)
    write_csv(counts, out / "stroke_counts.csv")
    paths = [out / "stroke_counts.csv", *save_figure(counts_figure(counts), out / "stroke_counts")]
    if comparable:
        claims = strokes.claims(counts)
        write_csv(claims, out / "stroke_claims.csv")
        paths.append(out / "stroke_claims.csv")
    else:
        options.say("no claims: they compare a run's own data set with others; name both", quiet)
    if json_output:
        options.print_json(counts.to_dict("records"))
        return
    options.print_table(strokes.means(counts).drop(columns="run"))
    if comparable:
        print()
        said = claims[claims.paper].drop(columns=["run", "paper"])
        options.print_table(said.assign(holds=said.holds.map({True: "yes", False: "no"})))
    print("\n".join(map(str, paths)))

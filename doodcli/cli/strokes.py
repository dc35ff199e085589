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
    stroke_claims.csv: each claim of the paper with its number, holds or does not.  The paper makes
    them of models trained on MNIST; of others the same numbers are shown.
    """
    names = options.commas(dataset, "--dataset")
    if dry_run:
        options.print_json(
            {"runs": options.commas(runs, "RUNS"), "datasets": names, "limit": limit}
        )
        return
    from doodcli.experiments.strokes import means, of_their_models
    from doodcli.pipeline.studies import stroke_counts

    study = options.Target(part, data_root, limit, seed, transpose).study(names, device, quiet)
    counts, claims, paths = stroke_counts(options.open_runs(runs), study, out)
    if json_output:
        options.print_json(counts.to_dict("records"))
        return
    options.print_table(means(counts).drop(columns="run"))
    if claims.empty:
        options.say("no claims: they compare a run's own data set with others; name both", quiet)
    else:
        print()
        options.print_table(of_their_models(claims))
    print("\n".join(map(str, paths)))


@app.command()
def cluster(
    runs: options.Runs,
    dataset: Annotated[
        str | None, typer.Option(help="Data set [default: what each run was trained on].")
    ] = None,
    clusters: Annotated[int, typer.Option(min=2, max=100, help="Clusters in the picture.")] = 8,
    limit_strokes: Annotated[
        int, typer.Option(min=10, help="Strokes of each run at most, of images in random order.")
    ] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder of the tables and the pictures.")] = Path(
        "strokes"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Kinds of strokes: k-means of those of training images, and their silhouettes (Fig. 5).

    Writes strokes.csv, strokes.tex with the paper's numbers, and strokes_<model>.png and .pdf: a
    t-SNE map of the strokes, and a row of exemplars for each cluster.  Clusters are of control
    points in the stroke's own frame, or of AIR's codes.  The silhouette is that of k = 5, 8, 10,
    15 and --clusters; the column one_way is after one direction was chosen for every stroke, since
    a stroke drawn backwards is the same stroke.
    """
    names = options.commas(runs, "RUNS")
    if dry_run:
        options.print_json({"runs": names, "dataset": dataset, "clusters": clusters,
                            "limit_strokes": limit_strokes})  # fmt: skip
        return
    from doodcli.experiments.clusters import summary
    from doodcli.pipeline.studies import stroke_clusters

    target = options.Target("train", data_root, None, seed, False)
    table, claims, paths = stroke_clusters(
        options.open_runs(runs),
        target.study([], device, quiet),
        lambda run: target.load(run, dataset) if dataset else options.source_of(run, data_root),
        out, clusters, limit_strokes,
    )  # fmt: skip
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    options.print_table(summary(table).drop(columns=["fingerprint", "remark"]))
    if len(claims):
        print()
        options.print_table(claims)
    print("\n".join(map(str, paths)))

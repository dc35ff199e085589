"""`dood fid`: how much samples look like real images (Fig. 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from doodcli.cli import options
from doodcli.errors import InputError

app = typer.Typer(no_args_is_help=True)


@app.command()
def score(
    runs: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUNS]", help="Run folders or pretrained:NAME, with commas between."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data sets, with commas between [default: what RUNS were trained on]."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="Folders of pictures, with commas between: a row each on every set."),
    ] = None,
    part: Annotated[
        Literal["test", "validation"],
        typer.Option(help="Images that all are compared with: to choose settings by, validation."),
    ] = "test",
    num: Annotated[
        int, typer.Option(min=10, max=100_000, help="Pictures of each row, and of that part.")
    ] = 5000,
    sample_seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Seeds of samples and of images, from --seed on.")
    ] = 5,
    temperature: Annotated[
        str,
        typer.Option(
            help="Of samples, with commas between; paper: its three factors, of control points."
        ),
    ] = "1,paper",
    features: Annotated[
        str, typer.Option(help="strokes (our extractor), inception-64 or inception-2048.")
    ] = "strokes",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="torch-fidelity's file for Inception [default: fetched once], or a folder of "
            "`dood fid train-features` [default: the one that ships]."
        ),
    ] = None,
    transpose: options.Transpose = False,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("fid"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """FID, KID, precision and recall of samples against test images.

    Each set is scored by the runs that were trained on it, at their own temperature and tempered
    as in the paper; real training images in their place are the floor.  The number of pictures is
    the same in all rows, as FID depends on it.  Writes fid.csv (a row a sample seed) and fid.tex
    with the paper's numbers, which are on another scale, in a column of their own.
    """
    from doodcli.experiments.generate import Temperature

    names = options.commas(runs, "RUNS") if runs is not None else []
    folders = options.commas(images, "--images") if images is not None else []
    if not names and not folders:
        raise InputError("RUNS: is missing; name runs, or --images of a folder of pictures")
    if not names and dataset is None:
        raise InputError("--dataset: is missing; name the sets that --images are compared with")
    chosen = [Temperature.parse(text) for text in options.commas(temperature, "--temperature")]
    if dry_run:
        options.print_json(
            {
                "runs": names,
                "datasets": options.commas(dataset, "--dataset") if dataset else None,
                "images": folders, "part": part, "num": num, "sample_seeds": sample_seeds,
                "temperatures": {one.name: one.temper._asdict() for one in chosen},
                "features": features, "weights": weights, "seed": seed,
            }
        )  # fmt: skip
        return
    from doodcli.data.load import load_images
    from doodcli.experiments import extractors
    from doodcli.experiments.fid import SEVERAL, Asked, summary
    from doodcli.learning.features import SIDE
    from doodcli.pipeline.fidelity import Sources, scores

    extractors.require()
    for folder in folders:
        if not Path(folder).expanduser().is_dir():
            raise InputError(f"--images {folder}: no such folder")

    def tell(text: str) -> None:
        options.say(text, quiet and not text.startswith("warning"))

    opened = options.open_runs(runs) if runs is not None else []
    sets = (
        options.commas(dataset, "--dataset")
        if dataset is not None
        else list(dict.fromkeys(str(run.settings.data.dataset) for run in opened))
    )
    sources = Sources(
        opened, sets, [Path(name).expanduser() for name in folders],
        lambda name, which: load_images(
            name, which, data_root=data_root, resolution=SIDE, transpose=transpose
        ),
        part,
    )  # fmt: skip
    asked = Asked(num, sample_seeds, seed, tell)
    extractor = extractors.chosen(features, weights, tell)
    table, paths = scores(sources, chosen, extractor, asked, options.device(device), out)
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    measured = [f"{name}{end}" for name in SEVERAL for end in ("", "_std")]
    shown = ["dataset", "drawn_by", "images", "sample_seeds", *measured, "paper_fid"]
    options.print_table(summary(table)[shown])
    print("\n".join(map(str, paths)))


@app.command()
def train_features(
    dataset: Annotated[
        str | None,
        typer.Option(help="Labelled sets, with commas between [default: the paper's five]."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the training.")] = None,
    share: Annotated[int | None, typer.Option(min=2, help="Images of each set in a batch.")] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Adam's rate.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the extractor.")] = Path("features"),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train the extractor of --features strokes: a classifier of the sets' labels.

    Writes weights.safetensors (half precision), features.json (settings, data, accuracies) and a
    card.  Training images alone are learned from; `dood fid score --weights FOLDER` uses it.
    """
    import dataclasses

    from doodcli.learning.features import FeatureSettings

    given: dict[str, Any] = {"steps": steps, "share": share, "lr": lr, "seed": seed}
    settings = dataclasses.replace(
        FeatureSettings(), **{name: value for name, value in given.items() if value is not None}
    )
    if dataset is not None:
        names = tuple(options.commas(dataset, "--dataset"))
        settings = dataclasses.replace(settings, datasets=names)
    if dry_run:
        options.print_json({**dataclasses.asdict(settings), "out": str(out)})
        return
    from doodcli.pipeline.fidelity import extractor_of

    found = extractor_of(
        settings, out, data_root, options.device(device), lambda text: options.say(text, quiet)
    )
    if json_output:
        options.print_json(found.record)
        return
    import pandas as pd

    options.print_table(pd.DataFrame(found.record["data"]).drop(columns="remark"))
    print(out)

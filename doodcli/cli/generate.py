"""`dood sample`, `dood exemplars`, `dood complete`: new drawings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doodcli.cli import options

if TYPE_CHECKING:
    import pandas as pd

MOST_SAMPLES = 2_500
PARSES = 20
SHOWN = 8

Images = Annotated[
    str | None,
    typer.Option(help="Your own pictures: files or folders, with commas between."),
]
DataSets = Annotated[
    str | None,
    typer.Option(help="Data sets, with commas between [default: mnist, if no --images]."),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100, help="Images of each data set, a random subset.")
]
Parses = Annotated[
    int,
    typer.Option("--samples", min=1, max=1000, help="Parses an image, of which the best counts."),
]


def sample(
    runs: options.Runs,
    num: Annotated[int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples of each run.")] = 100,
    temperature: Annotated[
        str, typer.Option(help="Factor of the prior's deviations, or paper: its three factors.")
    ] = "1",
    out: Annotated[Path, typer.Option(help="Folder of the picture and the table.")] = Path(
        "samples"
    ),
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Draw from the prior, as in Fig. 6 of the paper.

    Writes samples.png, .pdf and .csv, and of models with strokes .svg, one path a stroke.  The
    temperature is 1, the model's own, unless said; other samples are marked in title and table, and
    their files are named after it.
    """
    from doodcli.experiments.generate import Temperature

    chosen = Temperature.parse(temperature)
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), "num": num,
                            "temperature": chosen.name, "tempered": chosen.tempered,
                            "factors": chosen.temper._asdict()})  # fmt: skip
        return
    from doodcli.pipeline.studies import Draws, samples

    draws = Draws(num, chosen, seed, options.device(device), lambda text: options.say(text, quiet))
    _print(*samples(options.open_runs(runs), draws, out), json_output=json_output)


def exemplars(
    runs: options.Runs,
    images: Images = None,
    dataset: DataSets = None,
    num: Annotated[int, typer.Option(min=1, max=100, help="Exemplars of each image.")] = SHOWN,
    limit: Limit = SHOWN,
    samples: Parses = PARSES,
    part: options.Part = "test",
    out: Annotated[Path, typer.Option(help="Folder of the picture and the table.")] = Path(
        "exemplars"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Draw characters again, each time a little differently, as in Fig. 7 of the paper.

    Writes exemplars.png, .pdf and .csv.  The best parse of an image is its type; every exemplar
    is a token of it: noise on the middle of the strokes (or on AIR's codes), and an affine map.
    """
    chosen = options.Chosen.parse(images, dataset)
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), **chosen.described(),
                            "num": num, "limit": limit, "samples": samples})  # fmt: skip
        return
    from doodcli.pipeline import studies

    target = options.Target(part, data_root, limit, seed, transpose=False)
    study = chosen.study(target, device, quiet)
    amounts = studies.Amounts(num, samples)
    made = studies.exemplars(options.open_runs(runs), study, amounts, out)
    _print(*made, json_output=json_output)


def complete(
    runs: options.Runs,
    images: Images = None,
    dataset: DataSets = None,
    strokes_given: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Keep so many first strokes of each image [default: 1 of a data set's images; "
            "--images are partial drawings already].",
        ),
    ] = None,
    num: Annotated[int, typer.Option(min=1, max=100, help="Completions of each image.")] = SHOWN,
    limit: Limit = SHOWN,
    samples: Parses = PARSES,
    part: options.Part = "test",
    out: Annotated[Path, typer.Option(help="Folder of the picture and the table.")] = Path(
        "completions"
    ),
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Finish partial drawings, as in Fig. 8 of the paper.

    Writes completions.png, .pdf and .csv.  The partial drawing itself is on the canvas; its best
    parse tells the prior what was drawn.  A data set's images are made partial by erasing what
    the parse draws after its first strokes; of scribbles the true first strokes are known.
    """
    chosen = options.Chosen.parse(images, dataset)
    if strokes_given is None and not chosen.paths:
        strokes_given = 1
    if dry_run:
        options.print_json({"runs": options.commas(runs, "RUNS"), **chosen.described(),
                            "strokes_given": strokes_given, "num": num, "limit": limit,
                            "samples": samples})  # fmt: skip
        return
    from doodcli.pipeline import studies

    target = options.Target(part, data_root, limit, seed, transpose=False)
    study = chosen.study(target, device, quiet)
    amounts = studies.Amounts(num, samples)
    made = studies.completions(options.open_runs(runs), study, amounts, strokes_given, out)
    _print(*made, json_output=json_output)


def _print(table: pd.DataFrame, paths: list[Path], *, json_output: bool) -> None:
    """What was made: the rows for machines, or where the files are."""
    if json_output:
        options.print_json(table.to_dict("records"))
    else:
        print("\n".join(map(str, paths)))

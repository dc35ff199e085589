"""`dood trace`: a picture in, editable strokes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doodcli.cli import options
from doodcli.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from doodcli.data.pages import Pages
    from doodcli.learning.runs import Run


def trace(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES",
            help="Picture files and folders of them, with commas or blanks between; or a data set.",
        ),
    ],
    run: Annotated[
        str,
        typer.Option(
            "--run", help="The run that draws, or pretrained:NAME; several with --table-only."
        ),
    ] = "pretrained:omniglot",
    out: Annotated[Path, typer.Option(help="Folder of the drawings and the table.")] = Path(
        "traces"
    ),
    samples: Annotated[
        int, typer.Option(min=1, help="Parses of each picture; the best by log joint is kept.")
    ] = 20,
    refine: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Gradient steps on the best parse.")
    ] = 0,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="The table and the overview, no files a picture.")
    ] = False,
    part: options.Part = "test",
    limit: options.Limit = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Take pictures apart into strokes: SVG, SVG that draws itself, JSON.

    Each picture, of any size, light on dark or dark on light, becomes NAME.svg (a path a stroke,
    in drawing order, in the picture's own pixels), NAME.animated.svg and NAME.json.  trace.csv has
    a row a picture, trace.svg, .png and .pdf an overview.  Of a data set --part and --limit say
    which images; those of `scribbles` are scored against the strokes that they were drawn with.
    """
    items = _items(pictures)
    if dry_run:
        options.print_json({"pictures": items, "run": run, "samples": samples, "refine": refine,
                            "limit": limit, "out": str(out)})  # fmt: skip
        return
    from doodcli.experiments.trace import Effort
    from doodcli.pipeline.tracing import Tracing, traces

    runs = options.open_runs(run)
    if len(runs) > 1 and not table_only:
        raise InputError(f"--run {run}: their files would have the same names; give --table-only")
    target = options.Target(part, data_root, limit, seed, transpose=False)

    def pages(one: Run) -> Pages:
        return _pages(items, one, target, out, quiet)

    effort = Effort(samples, refine, seed)
    tracing = Tracing(
        pages, effort, options.device(device), lambda text: options.say(text, quiet), not table_only
    )
    table, paths = traces(runs, tracing, out)
    if json_output:
        options.print_json(table.to_dict("records"))
        return
    _print(table)
    written = [path for path in paths if path.stem == "trace" and path.parent == out]
    print("\n".join(map(str, written)))
    if not table_only:
        print(f"{out}: NAME.svg, NAME.animated.svg and NAME.json of {len(table)} pictures")


def _items(pictures: list[str]) -> list[str]:
    """What is to be traced; a name with a comma in it that is there is one name."""
    items: list[str] = []
    for text in pictures:
        items += [text] if Path(text).exists() else options.commas(text, "PICTURES")
    return list(dict.fromkeys(items))


def _pages(items: list[str], run: Run, target: options.Target, out: Path, quiet: bool) -> Pages:
    """The pictures as a run reads them; says which were turned around or hold nothing."""
    from doodcli.data.pages import is_data_set, pages_of_pictures, pages_of_set

    if any(map(is_data_set, items)):
        if len(items) > 1:
            raise InputError(
                f"PICTURES {', '.join(items)}: give pictures and folders, or one data set alone"
            )
        return pages_of_set(target.load(run, items[0]))
    pages = pages_of_pictures(
        [Path(item).expanduser() for item in items], run.settings.model.resolution, without=out
    )
    for facts in pages.facts:
        if facts["remark"]:
            options.say(f"note: {facts['picture']}: {facts['remark']}", quiet)
    return pages


def _print(table: pd.DataFrame) -> None:
    """The scores where there are some, else a line a picture."""
    from doodcli.experiments.trace import means

    if "true_strokes" in table:
        options.print_table(means(table))
    else:
        numbers = [str(name) for name in table if str(name).endswith("log_joint_nats")]
        options.print_table(
            table[["picture", "strokes", *numbers, "mean_abs_error", "svg_overlap"]]
        )

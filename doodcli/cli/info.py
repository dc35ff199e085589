"""`dood info` and `dood settings`: what a run is, and what can be set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doodcli.cli import options


def info(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or pretrained:NAME.")],
    out: Annotated[
        Path | None, typer.Option(help="Also draw the training curve into this folder.")
    ] = None,
    json_output: options.Json = False,
) -> None:
    """What a run is: settings, data, where its training stands, and its figures."""
    from doodcli.report.figures import curve_figure, save_figure
    from doodcli.settings import flat

    found = options.open_one(run)
    log = found.log()
    figures = sorted(str(path) for path in found.path.glob("*.png"))
    if out is not None:
        figures += map(str, save_figure(curve_figure([(found.name, log)]), out / "curve"))
    facts = {
        "run": found.provenance(),
        "data": found.record["data"],
        "checkpoint": found.checkpoint.facts,
        "extended": found.record["extended"],
        "last": log.iloc[-1].to_dict(),
        "figures": figures,
    }
    if json_output:
        options.print_json({**facts, "settings": flat(found.settings)})
        return
    for title, values in (*facts.items(), ("settings", flat(found.settings))):
        print(f"{title}:")
        rows = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in rows:
            print(f"  {key}: {value}")
    options.print_table(log.iloc[:: max(1, len(log) // 12)][CURVE])


CURVE = ["step", "images", "elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error"]


def settings(
    preset: Annotated[str | None, typer.Option(help="Show the values of this preset.")] = None,
    json_output: options.Json = False,
) -> None:
    """Every setting of a run: its name, value and meaning."""
    from doodcli import settings as s

    values = s.flat(s.Settings() if preset is None else s.preset(preset))
    rows = [(name, values[name], text) for name, text in s.describe()]
    if json_output:
        options.print_json([{"name": n, "value": v, "help": t} for n, v, t in rows])
        return
    for name, value, text in rows:
        print(f"{name} = {value}\n    {text}")

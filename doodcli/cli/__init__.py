"""The command line: parse, call, print.  No science here."""

from __future__ import annotations

import sys

import typer

from doodcli.cli import (
    bench,
    data,
    export,
    fid,
    generate,
    info,
    likelihood,
    oneshot,
    probe,
    reconstruct,
    report,
    reproduce,
    strokes,
    trace,
    train,
    transfer,
)
from doodcli.errors import InputError, RunFailed

app = typer.Typer(
    name="dood",
    help="Drawing out of Distribution: train a model that learns to draw, and reproduce its paper.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train.train)
app.command()(info.info)
app.command()(reconstruct.reconstruct)
app.command()(generate.sample)
app.command()(generate.exemplars)
app.command()(generate.complete)
app.command()(likelihood.likelihood)
app.command()(probe.probe)
app.command()(transfer.transfer_grid)
app.command()(oneshot.oneshot)
app.command()(trace.trace)
app.command()(reproduce.reproduce)
app.command()(report.report)
app.command()(export.export)
app.command()(info.settings)
app.add_typer(bench.app, name="bench")
app.add_typer(strokes.app, name="strokes", help="What the strokes say: how many, which kinds.")
app.add_typer(fid.app, name="fid", help="How much samples look like real images.")
app.add_typer(data.app, name="data", help="Lists, fetches and checks the data sets.")


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from doodcli import __version__

        typer.echo(f"dood {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """The command `dood`.

    Exit codes: 0 done, 1 the run failed, 2 wrong usage or input, 130 interrupted, 143 stopped by
    SIGTERM after saving.
    """
    try:
        app()
    except InputError as error:
        sys.exit(_one_line(error, 2))
    except RunFailed as error:
        sys.exit(_one_line(error, 1))
    except OSError as error:
        # A full disk, a folder that may not be read: the message names the file.
        sys.exit(_one_line(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)


def _one_line(error: Exception, code: int) -> int:
    print(f"dood: {' '.join(str(error).split())}", file=sys.stderr)
    return code

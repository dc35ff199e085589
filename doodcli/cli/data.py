"""`dood data`: which data sets there are, fetching them, and checking their files."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from doodcli.cli import options

app = typer.Typer(no_args_is_help=True, help="List, fetch and check the data sets.")

Names = Annotated[list[str] | None, typer.Argument(help="Data sets; also with commas.")]
PLAIN_STEP = 0.25  # without a terminal, a line whenever so much more of a file has come
OK, NOT_CANONICAL, BROKEN = "OK", "not canonical", "broken"


@app.command("list")
def list_command(
    data_root: options.DataRoot = None, as_json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Show the data sets: which are there, where, and what they hold."""
    from doodcli.data.files import data_root_or_default
    from doodcli.data.registry import DATA_SETS

    root = data_root_or_default(data_root)
    rows = [_row(name, root) for name in DATA_SETS]
    if as_json:
        options.print_json(rows)
        return
    _print_table(rows)
    if not quiet and not all(row["there"] for row in rows):
        print("get what is missing by `dood data fetch NAME`", file=sys.stderr)


@app.command("fetch")
def fetch_command(
    names: Annotated[list[str], typer.Argument(help="Data sets; also with commas.")],
    *,
    data_root: options.DataRoot = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again even if the file is there.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Omniglot only: its folder of PNGs, instead of the network."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download data sets into the data root; a second call continues a broken download."""
    from doodcli.data.fetch import fetch, import_omniglot_folder
    from doodcli.data.files import data_root_or_default
    from doodcli.data.registry import data_set
    from doodcli.errors import InputError

    root = data_root_or_default(data_root)
    wanted = _split_names(names)
    if folder is not None and wanted != ["omniglot"]:
        raise InputError("--from: is for omniglot alone; name no other data set with it")
    for name in wanted:
        data_set(name)  # a misspelt last name must not show after an hour of downloads
    rows = []
    for name in wanted:
        there = _file_of(name, root).is_file()
        if not data_set(name).embedded and (force or not there):
            with _progress(quiet) as progress:
                if folder is None:
                    fetch(name, root, progress)
                else:
                    import_omniglot_folder(folder, root)
        elif not quiet:
            how = "embedded, nothing to fetch" if data_set(name).embedded else "already there"
            print(f"{name}: {how}", file=sys.stderr)
        rows.append(_row(name, root))
    if as_json:
        options.print_json(rows)
    else:
        for row in rows:
            print(row["where"])


@app.command("check")
def check_command(
    names: Names = None,
    data_root: options.DataRoot = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read data files whole and compare their counts and classes with the published sets'.

    Exit code 1 if one is broken.

    Without names, all data sets that are there. A path to a .npz file of your own is a name too.
    """
    from doodcli.data.files import data_root_or_default
    from doodcli.data.registry import DATA_SETS

    root = data_root_or_default(data_root)
    present = [
        name for name, entry in DATA_SETS.items() if entry.embedded or _file_of(name, root).exists()
    ]
    results = []
    for name in _split_names(names) if names else present:
        results.append(_check(name, root))
        if not as_json and not (quiet and results[-1]["status"] == OK):
            why = f" ({results[-1]['reason']})" if results[-1]["reason"] else ""
            print(f"{name}: {results[-1]['status']}{why}", flush=True)
    if as_json:
        options.print_json(results)
    if any(result["status"] == BROKEN for result in results):
        raise typer.Exit(1)


def _split_names(names: Sequence[str]) -> list[str]:
    """`["a,b", "c"]` as `["a", "b", "c"]`, each once."""
    listed = [part.strip() for name in names for part in name.split(",")]
    return list(dict.fromkeys(filter(None, listed)))


def _file_of(name: str, root: Path) -> Path:
    from doodcli.data.registry import DATA_SETS

    if name in DATA_SETS:
        return root / DATA_SETS[name].file
    return Path(name) if name.endswith(".npz") else root / f"{name}.npz"


def _row(name: str, root: Path) -> dict[str, Any]:
    """What `list` tells of a data set. Counts are the file's, or the canonical ones without it."""
    from doodcli.data import files
    from doodcli.data.registry import DATA_SETS, departure
    from doodcli.errors import InputError

    entry = DATA_SETS[name]
    path = _file_of(name, root)
    row: dict[str, Any] = {
        "name": name,
        "title": entry.title,
        "there": entry.embedded or path.is_file(),
        "where": "embedded" if entry.embedded else str(path),
        "n_train": entry.n_train,
        "n_test": entry.n_test,
        "size": entry.size,
        "classes": entry.n_classes,
        "licence": entry.licence,
        "fingerprint": None,
        "remark": "",
    }
    if entry.embedded or not row["there"]:
        return row
    try:
        row["fingerprint"] = files.fingerprint(path)
        if entry.archive:
            return row
        arrays = files.read(path, images=False)
    except InputError as error:
        return {**row, "fingerprint": None, "remark": f"broken: {error}"}
    n_test = int(arrays["split"].sum())
    row["n_train"], row["n_test"] = len(arrays["split"]) - n_test, n_test
    row["classes"] = len(arrays["classes"])
    row["remark"] = departure(entry, arrays)
    return row


def _check(name: str, root: Path) -> dict[str, Any]:
    """The verdict on one data set: name, status, reason, fingerprint. Raises InputError."""
    from doodcli.data import files
    from doodcli.data.registry import DATA_SETS, data_set, departure, read_source_note
    from doodcli.errors import InputError

    path = _file_of(name, root)
    result: dict[str, Any] = {"name": name, "status": OK, "reason": "", "fingerprint": None}
    if name in DATA_SETS and DATA_SETS[name].embedded:
        from doodcli.data.load import embedded_arrays

        arrays = files.validated(embedded_arrays(name), name)
        result["fingerprint"] = files.digest(arrays)
    else:
        if not name.endswith(".npz"):
            data_set(name)
        if not path.exists():
            get = (
                "check the path" if name.endswith(".npz") else f"get it by `dood data fetch {name}`"
            )
            raise InputError(
                f"{path}: no such file; {get}, or name the folder that has it with --data-root"
            )
        try:
            if name in DATA_SETS and DATA_SETS[name].archive:
                return {**result, **_check_runs(path)}
            arrays = files.read(path)
            result["fingerprint"] = files.fingerprint(path)
        except InputError as error:
            return {**result, "status": BROKEN, "reason": str(error)}
        recorded = read_source_note(arrays).get("arrays")
        if recorded is not None and recorded != files.digest(arrays):
            reason = "its arrays are not those that were written: their digest differs"
            return {**result, "status": BROKEN, "reason": reason}
    remark = departure(DATA_SETS[name], arrays) if name in DATA_SETS else ""
    return {**result, "status": NOT_CANONICAL if remark else OK, "reason": remark}


def _check_runs(path: Path) -> dict[str, Any]:
    """The verdict on the one-shot runs, which are read whole. Raises InputError."""
    from doodcli.data import files, oneshot

    oneshot.read_runs(path)
    remark = oneshot.departure_of(path)
    status = NOT_CANONICAL if remark else OK
    return {"status": status, "reason": remark, "fingerprint": files.fingerprint(path)}


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    def shown(value: int | str | None) -> str:
        if isinstance(value, int):
            return f"{value:,}"
        return value or "–"

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("name", "there?", "where", "train", "test", "pixels", "classes"):
        justify: Literal["left", "right"] = "right" if column in ("train", "test") else "left"
        # A path is the one long word: fold it rather than cut it.
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column != "where")
    for column in ("licence", "fingerprint", "remark"):
        table.add_column(column, overflow="fold")
    for row in rows:
        side = row["size"]
        counts = [shown(row[key]) for key in ("n_train", "n_test")]
        table.add_row(
            row["name"],
            "yes" if row["there"] else "no",
            row["where"],
            *counts,
            f"{side}×{side}" if side else "–",
            shown(row["classes"]),
            row["licence"],
            shown(row["fingerprint"]),
            shown(row["remark"]),
        )
    # Into a pipe or a file nothing is to be wrapped: rich would take 80 columns.
    options.console().print(table)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A watcher of downloads on stderr: a bar on a terminal, otherwise a line now and then."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def watch(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield watch


def _plain_progress() -> Callable[[str, int, int | None], None]:
    """Lines instead of a bar: one for each quarter of a file."""
    told: dict[str, int] = {}

    def watch(what: str, done: int, total: int | None) -> None:
        step = int(done / total / PLAIN_STEP) if total else done // 2**24
        if step > told.get(what, -1):
            told[what] = step
            of_all = f" of {total:,}" if total else ""
            print(f"{what}: {done:,}{of_all} bytes", file=sys.stderr)

    return watch

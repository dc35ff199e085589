"""Options that mean the same in every command, and what they turn into."""

from __future__ import annotations

import json
import math
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from doodcli.devices import usable as device
from doodcli.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.pipeline.studies import Study
    from doodcli.settings import Settings

DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the data sets [default: $DOOD_DATA_ROOT or data]."),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, … or auto.")]
SEEDS = {"min": 0, "max": 2**32 - 1}
Seed = Annotated[int, typer.Option("--seed", help="Seed of all that is random.", **SEEDS)]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done and with which settings; stop.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting, as in model.strokes=8; may be repeated."),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="JSON file of settings to start from.")
]
Runs = Annotated[
    str, typer.Argument(metavar="RUNS", help="Run folders or pretrained:NAME, with commas between.")
]
Part = Annotated[str, typer.Option(help="test, validation, train or all.")]
Transpose = Annotated[
    bool, typer.Option("--transpose", help="Swap the images' axes: the paper's EMNIST.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="A seeded random subset of this many images.")
]


WIDE = 1000


def commas(text: str, option: str) -> list[str]:
    """The items of a list option, each once.  InputError when there are none."""
    items = list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
    if not items:
        raise InputError(f"{option}: is empty; give names with commas between")
    return items


def numbers(text: str, option: str) -> tuple[int, ...]:
    """The seeds of a list option.  InputError for what is none."""
    items = commas(text, option)
    if not all(item.isascii() and item.isdigit() and int(item) < 2**32 for item in items):
        raise InputError(f"{option} {text}: must be whole numbers from 0 with commas between")
    return tuple(dict.fromkeys(map(int, items)))


def settings_from(
    preset: str, file: Path | None, direct: dict[str, Any], assignments: list[str] | None
) -> Settings:
    """The settings of a preset for a data set, changed by a file, by a command's own options, then
    by --set.

    A length that is given, in steps or in minutes, replaces the preset's, whichever that was.
    """
    from doodcli import settings as s

    named = s.preset(preset) if file is None else s.read_settings(file, s.preset(preset))
    model = direct.get("model.name") or named.model.name
    try:
        settings = s.preset(preset, direct.get("data.dataset") or named.data.dataset, model)
    except InputError as error:
        raise InputError(str(error).replace(f"model.name={model}", f"--model {model}")) from None
    # A variant sets what it is made of, so its name comes before what is changed of that.
    direct = dict(sorted(direct.items(), key=lambda item: item[0] != "model.name"))
    if file is not None:
        settings = s.read_settings(file, settings)
    if direct.get("learning.steps") is not None and direct.get("learning.minutes") is not None:
        raise InputError("--steps and --minutes: give one of the two")
    given = {key: value for key, value in direct.items() if value is not None}
    for key, value in given.items():
        try:
            settings = s.override(settings, {key: value})
        except InputError as error:
            raise InputError(
                str(error).replace(f"{key}={value}", f"{_option(key)} {value}")
            ) from None
    return s.check(s.change_by_text(settings, assignments or []))


def _option(key: str) -> str:
    """The option that stands for a setting, as in --batch-size for learning.batch_size."""
    return "--model" if key == "model.name" else f"--{key.rpartition('.')[2].replace('_', '-')}"


def open_runs(text: str) -> list[Run]:
    """The runs of a RUNS argument; says which checkpoints were refused."""
    from doodcli.learning.runs import open_run

    runs = [open_run(Path(name)) for name in commas(text, "RUNS")]
    for run in runs:
        for line in run.refused:
            say(f"warning: {line}")
    return runs


def open_one(text: str) -> Run:
    """The run of a RUN argument; says which checkpoints were refused."""
    runs = open_runs(text)
    if len(runs) > 1:
        raise InputError(f"RUN {text}: this command takes one run")
    return runs[0]


def say(text: str, quiet: bool = False) -> None:
    """A line for people, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A JSON value on stdout."""
    print(json.dumps(_without_nan(value), indent=1, default=str, allow_nan=False))


def _without_nan(value: Any) -> Any:
    """The value with null where a number is missing: NaN is no JSON."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def source_of(run: Run, data_root: Path | None) -> ImageSet:
    """The images that a run was trained on.  InputError when the file is another one now."""
    from doodcli.learning.train import training_images

    images = training_images(run.settings, data_root)
    if images.fingerprint != run.record["data"]["fingerprint"]:
        raise InputError(
            f"{run.settings.data.dataset}: is not the data that {run.name} was trained on "
            f"(fingerprint {images.fingerprint}, then {run.record['data']['fingerprint']}); "
            "give its --data-root"
        )
    return images


class Target(NamedTuple):
    """Which images a command tries its runs on."""

    part: str
    data_root: Path | None
    limit: int | None
    seed: int
    transpose: bool

    def load(self, run: Run, name: str) -> ImageSet:
        """The images of a set at the run's resolution."""
        from doodcli.data.load import load_images

        return load_images(
            name, self.part, data_root=self.data_root, resolution=run.settings.model.resolution,
            transpose=self.transpose, limit=self.limit, seed=self.seed,
        )  # fmt: skip

    def study(self, names: list[str], device_name: str, quiet: bool) -> Study:
        """These images of the named sets, for an experiment on some runs."""
        from doodcli.pipeline.studies import Study

        return Study(
            names, self.load, self.seed, device(device_name), lambda text: say(text, quiet)
        )


class Chosen(NamedTuple):
    """What --images and --dataset name: the user's own pictures, or else data sets."""

    paths: list[Path]
    names: list[str]

    @staticmethod
    def parse(images: str | None, dataset: str | None) -> Chosen:
        """InputError when both are given; MNIST when neither is."""
        if images is None:
            return Chosen([], commas("mnist" if dataset is None else dataset, "--dataset"))
        if dataset is not None:
            raise InputError("--images and --dataset: give one of the two")
        return Chosen([Path(name).expanduser() for name in commas(images, "--images")], [])

    def described(self) -> dict[str, list[str]]:
        """For --dry-run."""
        return {"images": list(map(str, self.paths)), "datasets": self.names}

    def study(self, target: Target, device_name: str, quiet: bool) -> Study:
        """The pictures, or the target's images of the sets, for an experiment on some runs."""
        if not self.paths:
            return target.study(self.names, device_name, quiet)
        from doodcli.data.load import load_pictures

        @cache  # several runs read the same, and hear once what was inverted
        def pictures(resolution: int) -> ImageSet:
            return load_pictures(self.paths, resolution)

        study = target.study(["pictures"], device_name, quiet)
        return study._replace(load=lambda run, _: pictures(run.settings.model.resolution))


def print_table(frame: pd.DataFrame) -> None:
    """A table for people, on stdout."""
    from pandas.api.types import is_numeric_dtype
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        table.add_column(name, justify="right" if is_numeric_dtype(frame[name]) else "left")
    for values in frame.itertuples(index=False):
        table.add_row(*(_text(value) for value in values))
    console().print(table)


def console() -> Console:
    """Where tables are printed; no terminal gives no width, so that a line is as long as it is."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=True, highlight=False)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"  # noqa: PLR0124
    return str(value)

"""The tasks of the transfer grid (Fig. 4): a cell for each model, source, target and seed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from doodcli.data.load import load_images
from doodcli.data.registry import DATA_SETS, short
from doodcli.errors import InputError, RunFailed
from doodcli.experiments import likelihood, semi_amortised, transfer
from doodcli.experiments.reconstruct import reconstruct
from doodcli.learning.train import training_images
from doodcli.pipeline.engine import LEDGER, Ledger, Size, Task
from doodcli.report.figures import save_figure, transfer_figure
from doodcli.report.tables import write_csv, write_tex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite, Training

PICTURES = 3
"""Reconstructions inside a cell of the picture."""

AMORTISED, REFINED, SCALED = "cell", "refine", "rescale"
FOLDERS = {AMORTISED: "cells", REFINED: "refined", SCALED: "rescaled"}
"""Kinds of cells, as the names of their tasks begin, and where they are: with the amortised
posterior; with posteriors of each image's own; with those, and scales that were learned with such.
"""

WHOLE = (
    "seed", "steps", "training_images", "samples", "refine_steps", "scale_images",
    "evaluation_seed",
)  # fmt: skip
"""Columns of whole numbers that a blank row lacks, and older cells may lack too."""

VERSION = 1
"""Raised when the same cells would give other tables or pictures."""


def tasks(suite: Suite) -> list[Task]:
    """Every cell of the suite's trainings and targets, and the tables and pictures of them."""
    names = targets(suite.profile.targets)
    cells = [cell(suite, what, target) for what in suite.trainings for target in names]
    # One blank page a source, in the likelihood of the first model that learns from it.
    first: dict[str, Training] = {}
    for what in suite.trainings:
        first.setdefault(what.source, what)
    blank = [_blank(suite, what, target) for what in first.values() for target in names]
    return [*cells, *blank, _tables(suite, [*cells, *blank])]


def targets(names: Sequence[str]) -> list[str]:
    """The targets of a grid: EMNIST upright, and also transposed as the paper's was."""
    return [
        target
        for name in names
        for target in ([name, name + transfer.TRANSPOSED] if name == "emnist" else [name])
    ]


def target_images(suite: Suite, target: str, resolution: int, limit: int | None) -> ImageSet:
    """The test images of a target, by the name that :func:`targets` gives it."""
    name = target.removesuffix(transfer.TRANSPOSED)
    return load_images(
        name, "test", data_root=suite.plan.data_root, resolution=resolution,
        transpose=name != target, limit=limit, seed=suite.seed,
    )  # fmt: skip


def _file(suite: Suite, name: str, target: str, kind: str = AMORTISED) -> Path:
    return suite.out / FOLDERS[kind] / f"{name}-{short(target)}.csv"


def _command(suite: Suite, what: Training, target: str) -> str:
    """What prints the same number, and that of the blank page."""
    swapped = " --transpose" if target.endswith(transfer.TRANSPOSED) else ""
    limit = f" --limit {suite.profile.limit}" if suite.profile.limit else ""
    return (
        f"dood likelihood $({suite.command(what)}) "
        f"--dataset {target.removesuffix(transfer.TRANSPOSED)}{swapped}"
        f" --samples {suite.profile.samples}{limit} --seed {suite.seed}{suite.root()}"
    )


def cell(suite: Suite, what: Training, target: str, kind: str = AMORTISED) -> Task:
    """What one run gives to one target: a CSV file of one row.

    `kind` says with which posteriors: a key of `FOLDERS`.
    """
    profile, path = suite.profile, _file(suite, what.name, target, kind)
    effort = efforts(suite)[kind]
    scale = scale_file(suite, what)

    def images(run: Run) -> ImageSet:
        return target_images(suite, target, run.settings.model.resolution, profile.limit)

    def key() -> dict[str, Any]:
        run = suite.run(what)
        return {
            "version": likelihood.VERSION,
            "weights": run.weights,
            "target": [target, images(run).fingerprint, profile.limit],
            "samples": profile.samples,
            "seed": suite.seed,
            **({"refine": [semi_amortised.VERSION, effort.refine]} if effort.refine else {}),
            **({"scale": _read(scale)} if effort.scale_images else {}),
        }

    def work() -> list[Path]:
        run = suite.run(what)
        model = run.model(suite.plan.device)
        if effort.scale_images:
            model.scale.copy_(torch.from_numpy(np.loadtxt(scale, delimiter=",", ndmin=2)))
        found = likelihood.row_of_run(run, model, images(run), effort)
        write_csv(pd.DataFrame([{**found, **_marks(run, found, target)}]), path)
        return [path]

    name = f"{kind}-{what.name}-{short(target)}"
    work_of_image = effort.refine or profile.samples
    size = Size(f"{kind}-{what.model}", _count(suite, target) * work_of_image)
    command = _command(suite, what, target)
    command += f" --refine {effort.refine}" if effort.refine else ""
    command += f" --scale-images {effort.scale_images}" if effort.scale_images else ""
    needs = (what.task, *([f"scale-{what.name}"] if effort.scale_images else []))
    return Task(name, key, work, command, needs, size=size)


def efforts(suite: Suite) -> dict[str, likelihood.Effort]:
    """How tight the bounds of each kind of cell are."""
    amortised = likelihood.Effort(suite.profile.samples, seed=suite.seed)
    refined = amortised._replace(refine=suite.profile.refine)
    scaled = refined._replace(scale_images=suite.profile.scale_images)
    return dict(zip(FOLDERS, (amortised, refined, scaled), strict=True))


def scale_file(suite: Suite, what: Training) -> Path:
    """The scales of a run that were learned anew, a row of numbers for each of pixels."""
    return suite.out / FOLDERS[SCALED] / f"{what.name}.csv"


def _read(path: Path) -> str:
    """A file that another task makes.  InputError where it is not there."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: is not there yet") from None


def _count(suite: Suite, target: str) -> int:
    """Images of a target, without reading it; of a user's own as many as MNIST has."""
    known = DATA_SETS.get(target.removesuffix(transfer.TRANSPOSED), DATA_SETS["mnist"])
    whole = known.n_test or 10_000
    return min(whole, suite.profile.limit or whole)


def _marks(run: Run, found: dict[str, object], target: str) -> dict[str, object]:
    """The target by its name in the grid, and what is not canonical about source and target."""
    data = run.settings.data
    marks = {
        "source": _remark(data.dataset, run.record["data"]["remark"]),
        "target": _remark(target.removesuffix(transfer.TRANSPOSED), str(found["remark"])),
    }
    return {
        "target": short(target),
        "source_transposed": data.transpose,
        "remarks": "; ".join(f"{which}: {text}" for which, text in marks.items() if text),
    }


def _remark(name: str, remark: str) -> str:
    """What is not canonical about a set; that it is transposed is said elsewhere."""
    return remark.removesuffix("transposed").rstrip("; ") if name in DATA_SETS else "own data"


def _blank(suite: Suite, what: Training, target: str) -> Task:
    """What a page without strokes gives: each pixel's centre and scale as the source has them."""
    path = _file(suite, f"blank-{short(what.source)}", target)
    settings = suite.settings(*what)

    def learned() -> ImageSet:
        return training_images(settings, suite.plan.data_root)

    def images() -> ImageSet:
        return target_images(suite, target, settings.model.resolution, suite.profile.limit)

    def key() -> dict[str, Any]:
        return {
            "version": likelihood.VERSION,
            "model": [settings.model.likelihood, settings.model.scale_floor],
            "source": [learned().fingerprint, settings.data.transpose, settings.data.limit],
            "resolution": settings.model.resolution,
            "seeds": [what.seed, suite.seed],
            "target": [target, images().fingerprint, suite.profile.limit],
        }

    def work() -> list[Path]:
        page = likelihood.BlankPage.fitted(learned(), settings.model)
        write_csv(pd.DataFrame([{**page.row(images()), "target": short(target)}]), path)
        return [path]

    name = f"blank-{short(what.source)}-{short(target)}"
    size = Size("blank", _count(suite, target))
    return Task(name, key, work, _command(suite, what, target), size=size)


def done_files(suite: Suite, cells: Sequence[Task], kind: str = AMORTISED) -> list[Path]:
    """The files of those cells of a kind that are done; of blank pages too."""
    # A file may be there and outdated: the ledger knows.
    ledger = Ledger(suite.out / LEDGER)
    return [
        suite.out / FOLDERS[kind] / f"{task.name.removeprefix(f'{kind}-')}.csv"
        for task in cells
        if ledger.is_done(task)
    ]


def _tables(suite: Suite, parts: list[Task]) -> Task:
    """`transfer.*`, of those cells that are done: one that failed leaves a gap."""

    @functools.cache  # every key is of whole sets of images
    def done() -> list[Path]:
        return done_files(suite, parts)

    def key() -> dict[str, Any]:
        cells = {path.name: path.read_text("utf-8") for path in done()}
        return {"versions": [VERSION, transfer.VERSION], "cells": cells}

    def work() -> list[Path]:
        found = [pd.read_csv(path) for path in done()]
        if not any("seed" in cell for cell in found):
            raise RunFailed(f"{suite.out / 'cells'}: no cell is there, so there is no table")
        table = pd.concat(found, ignore_index=True)
        table = table.astype({name: "Int64" for name in WHOLE if name in table})
        return write_tables(suite, table)

    models, sources = (
        list(dict.fromkeys(names)) for names in zip(*suite.profile.trainings, strict=True)
    )
    profile = suite.profile
    limit = f" --limit {profile.limit}" if profile.limit else ""
    rest = (
        f"--seed {suite.seed} --out {suite.out.parent} --runs {suite.plan.runs}{suite.root()}"
        + "".join(f" --set {text}" for text in suite.assignments)
    )
    if suite.chosen is None and len(profile.trainings) == len(models) * len(sources):
        command = (
            f"dood transfer-grid --preset {suite.name} --model {','.join(models)} "
            f"--sources {','.join(sources)} --targets {','.join(profile.targets)} "
            f"--seeds {','.join(map(str, suite.seeds))} --samples {profile.samples}{limit} {rest}"
        )
    else:  # trainings that are no square
        command = f"dood reproduce --profile {suite.name}{suite.no_train()} --only transfer {rest}"
    return Task("transfer", key, work, command, soft=tuple(part.name for part in parts))


def write_tables(suite: Suite, table: pd.DataFrame) -> list[Path]:
    """Every table and picture of the grid's cells; those of an earlier, wider grid go."""
    out = suite.out
    for stale in out.glob("transfer*"):
        stale.unlink()
    write_csv(table, out / "transfer.csv")
    paths = [out / "transfer.csv"]
    # The paper's numbers are of trainings on each set; the ablations only of MNIST.
    for model, part in transfer.summary(table).groupby("model", sort=False):
        paths.append(_tex_of_model(suite, str(model), part, table))
        paths += save_figure(_picture(suite, str(model), part), out / f"transfer_{model}")
    beside = transfer.against_paper(table)
    if len(beside):
        write_csv(beside, out / "transfer_vs_paper.csv")
        paths += [out / "transfer_vs_paper.csv", _tex_vs_paper(suite, beside)]
    said = transfer.claims(table)
    write_csv(said, out / "transfer_claims.csv")
    paths.append(out / "transfer_claims.csv")
    of_mnist = transfer.summary(table[table.source == "mnist"])
    if of_mnist.model.nunique() > 1:
        paths.append(_tex_ablations(suite, of_mnist, table))
    return paths


def _shown(cell: pd.Series) -> str:
    """A cell for print: its mean, its deviation (see :func:`_caption`), its error."""
    apart = cell["std"] if cell["seeds"] > 1 else cell["se"]
    return f"{cell['iwae_nats']:,.1f} ± {apart:,.1f} ({cell['mean_abs_error']:.3f})"


def _caption(part: pd.DataFrame) -> str:
    """What the numbers of a square are, and of how many seeds, images and samples."""
    seeds, images, samples = (
        "/".join(dict.fromkeys(map(str, part[name]))) for name in ("seeds", "images", "samples")
    )
    return (
        f"Log marginal likelihood, nats an image: IWAE with {samples} samples, {images} images, "
        f"{seeds} seed(s); ± is the standard deviation over seeds or, of one, the standard error "
        "over images; in brackets the mean absolute error of a pixel. blank draws nothing. Bold: "
        "the best model of a column, which a blank page may pass."
    )


def _square(
    part: pd.DataFrame, rows: str, table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells as texts, `rows` by target, with the blank rows below; and which are the best."""
    order = list(dict.fromkeys(part.target))
    values = part.pivot_table("iwae_nats", rows, "target", sort=False)[order]
    texts = part.assign(text=part.apply(_shown, axis=1))
    shown = texts.pivot_table("text", rows, "target", aggfunc="first", sort=False)[order]
    best = values == values.max()
    for source, pages in table[table.model == "blank"].groupby("source", sort=False):
        if source in set(part.source):
            numbers = zip(pages.target, pages.iwae_nats, pages.mean_abs_error, strict=True)
            found = {target: f"{nats:,.1f} ({error:.3f})" for target, nats, error in numbers}
            name = f"blank, {source}"
            shown.loc[name] = [found.get(target, "--") for target in order]
            best.loc[name] = False
    return shown.fillna("--").reset_index(names=rows), best.reset_index(drop=True)


def _tex_of_model(suite: Suite, model: str, part: pd.DataFrame, table: pd.DataFrame) -> Path:
    path = suite.out / f"transfer_{model}.tex"
    shown, best = _square(part, "source", table)
    write_tex(shown, path, f"{model}. {_caption(part)}", f"tab:{suite.name}-transfer-{model}", best)
    return path


def _tex_ablations(suite: Suite, part: pd.DataFrame, table: pd.DataFrame) -> Path:
    path = suite.out / "transfer_ablations.tex"
    shown, best = _square(part, "model", table)
    text = f"All models, trained on MNIST. {_caption(part)}"
    write_tex(shown, path, text, f"tab:{suite.name}-transfer-ablations", best)
    return path


def _tex_vs_paper(suite: Suite, beside: pd.DataFrame) -> Path:
    path = suite.out / "transfer_vs_paper.tex"
    columns = ["figure", "model", "source", "target"]
    numbers = ["iwae_nats", "se", "paper_nats", "difference"]
    shown = beside[columns].assign(
        **{name: beside[name].map("{:,.1f}".format) for name in numbers},
        alike=beside.like_for_like.map({True: "yes", False: "no"}),
    )
    text = (
        "Ours beside the paper's, nats an image; se is ours over images. The paper's DooD numbers "
        "are of a bound that leaks the target into the pen. alike: canonical data, same k, "
        "resolution and likelihood."
    )
    write_tex(shown, path, text, f"tab:{suite.name}-transfer-vs-paper")
    return path


def _picture(suite: Suite, model: str, part: pd.DataFrame) -> Figure:
    """The heat map of Fig. 4, with reconstructions in every cell, by runs of the first seed."""
    drawn = {}
    for what in suite.trainings:
        if what.model != model or what.seed != suite.seeds[0] or not suite.trained(what):
            continue
        run = suite.run(what)
        own = part[part.source == run.record["data"]["name"]]
        for target in targets(suite.profile.targets):
            if short(target) not in set(own.target):
                continue
            side = run.settings.model.resolution
            images = target_images(suite, target, side, PICTURES)
            item = reconstruct(run, images, suite.seed, suite.plan.device)
            drawn[run.record["data"]["name"], short(target)] = item
    return transfer_figure(part, drawn)

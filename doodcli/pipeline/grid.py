"""The tasks of the transfer grid (Fig. 4): a cell for each model, source, target and seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.data.load import load_images
from doodcli.errors import RunFailed
from doodcli.experiments import likelihood, transfer
from doodcli.experiments.reconstruct import reconstruct
from doodcli.pipeline.engine import Task
from doodcli.report import paper
from doodcli.report.figures import save_figure, transfer_figure
from doodcli.report.tables import write_csv, write_tex
from doodcli.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite, Training

PICTURES = 3
"""Reconstructions inside a cell of the picture."""

WHOLE = ("seed", "steps", "training_images", "samples", "evaluation_seed")
"""Columns of whole numbers that a blank row lacks."""

VERSION = 1
"""Raised when the same cells would give other tables or pictures."""


def tasks(suite: Suite) -> list[Task]:
    """Every cell of the suite's trainings and targets, and the tables and pictures of them."""
    names = targets(suite.profile.targets)
    cells = [_cell(suite, what, target) for what in suite.trainings for target in names]
    sources = dict.fromkeys(what.source for what in suite.trainings)
    blank = [_blank(suite, source, target) for source in sources for target in names]
    parts = [*cells, *blank]
    return [*parts, _tables(suite, [task.name for task in parts])]


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


def _cell(suite: Suite, what: Training, target: str) -> Task:
    """What one run gives to one target: a CSV file of one row."""
    profile, path = suite.profile, suite.out / "cells" / f"{what.name}-{target}.csv"

    def images(run: Run) -> ImageSet:
        return target_images(suite, target, run.settings.model.resolution, profile.limit)

    def key() -> dict[str, Any]:
        run = suite.run(what)
        return {
            "version": likelihood.VERSION,
            "weights": run.provenance()["weights"],
            "target": [target, images(run).fingerprint, profile.limit],
            "samples": profile.samples,
            "seed": suite.seed,
        }

    def work() -> list[Path]:
        # An outdated number goes, whatever becomes of the new one.
        path.unlink(missing_ok=True)
        run = suite.run(what)
        found = likelihood.row_of_run(
            run, run.model(suite.plan.device), images(run), profile.samples, suite.seed
        )
        write_csv(pd.DataFrame([{**found, **_marks(run, found, target)}]), path)
        return [path]

    swapped = " --transpose" if target.endswith(transfer.TRANSPOSED) else ""
    limit = f" --limit {profile.limit}" if profile.limit else ""
    command = (
        f"dood likelihood $({suite.command(what)}) "
        f"--dataset {target.removesuffix(transfer.TRANSPOSED)}{swapped}"
        f" --samples {profile.samples}{limit} --seed {suite.seed}{suite.root()}"
    )
    return Task(f"cell-{what.name}-{target}", key, work, command, (what.task,))


def _marks(run: Run, found: dict[str, object], target: str) -> dict[str, object]:
    """The target by its name in the grid, and what is not canonical about source and target."""
    source, other = run.record["data"]["remark"], str(found["remark"])
    other = other.removesuffix("transposed").rstrip("; ")
    marks = [f"source: {source}" if source else "", f"target: {other}" if other else ""]
    return {"target": target, "remarks": "; ".join(filter(None, marks))}


def _blank(suite: Suite, source: str, target: str) -> Task:
    """What a page without strokes gives: each pixel's centre and scale as the source has them."""
    path = suite.out / "cells" / f"blank-{source}-{target}.csv"
    model = suite.settings("dood", source, suite.seed).model

    def learned() -> ImageSet:
        root, side = suite.plan.data_root, model.resolution
        return load_images(source, "train", data_root=root, resolution=side)

    def images() -> ImageSet:
        return target_images(suite, target, model.resolution, suite.profile.limit)

    def key() -> dict[str, Any]:
        return {
            "version": likelihood.VERSION,
            "source": learned().fingerprint,
            "target": [target, images().fingerprint, suite.profile.limit],
            "seed": suite.seed,
        }

    def work() -> list[Path]:
        page = likelihood.BlankPage.fitted(learned(), model)
        write_csv(pd.DataFrame([{**page.row(images()), "target": target}]), path)
        return [path]

    return Task(f"blank-{source}-{target}", key, work, f"the blank row of {target} after {source}")


def _tables(suite: Suite, parts: list[str]) -> Task:
    """`transfer.*`, of every cell in the folder: a grid that grows keeps what it had."""
    folder = suite.out / "cells"

    def key() -> dict[str, Any]:
        cells = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.csv"))}
        return {"versions": [VERSION, transfer.VERSION], "cells": cells}

    def work() -> list[Path]:
        found = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
        if not any("seed" in cell for cell in found):
            raise RunFailed(f"{folder}: no cell is there, so there is no table")
        table = pd.concat(found, ignore_index=True)
        table = table.astype(dict.fromkeys(WHOLE, "Int64"))
        order = {name: k for k, name in enumerate([*VARIANTS, *paper.SETS])}
        by = ["model", "source", "seed", "target"]
        table = table.sort_values(by, key=lambda c: c.map(lambda v: (order.get(v, 99), str(v))))
        return write_tables(suite, table)

    return Task(
        "transfer", key, work, f"dood transfer-grid --preset {suite.name}", soft=tuple(parts)
    )


def write_tables(suite: Suite, table: pd.DataFrame) -> list[Path]:
    """Every table and picture of the grid's cells."""
    out = suite.out
    write_csv(table, out / "transfer.csv")
    paths = [out / "transfer.csv"]
    # The paper's numbers are of trainings on each set; the ablations only of MNIST.
    for model, part in transfer.summary(table).groupby("model", sort=False):
        paths.append(_tex_of_model(suite, str(model), part, table))
        if runs := [what for what in suite.trainings if what.model == model]:
            paths += save_figure(_picture(suite, runs, part), out / f"transfer_{model}")
    beside = transfer.against_paper(table)
    if len(beside):
        write_csv(beside, out / "transfer_vs_paper.csv")
        paths += [out / "transfer_vs_paper.csv", _tex_vs_paper(suite, beside)]
    said = transfer.claims(table)
    write_csv(said, out / "transfer_claims.csv")
    paths.append(out / "transfer_claims.csv")
    of_mnist = table[table.source == "mnist"]
    if of_mnist.model.nunique() > 2:
        paths.append(_tex_ablations(suite, of_mnist))
    return paths


def _shown(cell: pd.Series) -> str:
    """A cell for print: its mean, and its deviation over seeds or, of one seed, over images."""
    apart = cell["std"] if cell["seeds"] > 1 else cell["se"]
    return f"{cell['iwae_nats']:,.1f} ± {apart:,.1f}"


CAPTION = (
    "Log marginal likelihood, nats an image (IWAE). ± is the standard deviation over seeds, or, of "
    "one seed, the standard error over images. blank draws nothing. Bold: best of a column. "
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
            found = pages.set_index("target").iwae_nats
            name = f"blank, {source}"
            shown.loc[name] = [f"{found[t]:,.1f}" if t in found else "--" for t in order]
            best.loc[name] = False
    return shown.fillna("--").reset_index(names=rows), best.reset_index(drop=True)


def _tex_of_model(suite: Suite, model: str, part: pd.DataFrame, table: pd.DataFrame) -> Path:
    path = suite.out / f"transfer_{model}.tex"
    shown, best = _square(part, "source", table)
    write_tex(shown, path, f"{model}. {CAPTION}", f"tab:{suite.name}-transfer-{model}", best)
    return path


def _tex_ablations(suite: Suite, table: pd.DataFrame) -> Path:
    path = suite.out / "transfer_ablations.tex"
    shown, best = _square(transfer.summary(table), "model", table)
    text = f"All models, trained on MNIST. {CAPTION}"
    write_tex(shown, path, text, f"tab:{suite.name}-transfer-ablations", best)
    return path


def _tex_vs_paper(suite: Suite, beside: pd.DataFrame) -> Path:
    path = suite.out / "transfer_vs_paper.tex"
    columns = ["figure", "model", "source", "target"]
    numbers = ["iwae_nats", "paper_nats", "difference"]
    shown = beside[columns].assign(
        **{name: beside[name].map("{:,.1f}".format) for name in numbers},
        alike=beside.like_for_like.map({True: "yes", False: "no"}),
    )
    text = (
        "Ours beside the paper's (of its leaky bound), nats an image. alike: the data are the "
        "canonical ones and the quantity is the same."
    )
    write_tex(shown, path, text, f"tab:{suite.name}-transfer-vs-paper")
    return path


def _picture(suite: Suite, trainings: Sequence[Training], part: pd.DataFrame) -> Any:
    """The heat map of Fig. 4, with reconstructions in every cell, by runs of the first seed."""
    columns = list(dict.fromkeys(part.target))
    drawn = {}
    for what in trainings:
        if what.seed != suite.seed or not suite.trained(what):
            continue
        run = suite.run(what)
        for target in columns:
            side = run.settings.model.resolution
            images = target_images(suite, target, side, PICTURES)
            drawn[what.source, target] = reconstruct(run, images, suite.seed, suite.plan.device)
    return transfer_figure(part, drawn)

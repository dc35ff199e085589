"""Sections of scores: one-shot classification, probes; and the runs that made everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.experiments import probe
from doodcli.pipeline.sections.common import (
    ONESHOT_COLUMNS,
    Sources,
    kind,
    picture,
    recorded,
    rows_of,
)
from doodcli.report import paper
from doodcli.report.document import (
    BAD,
    FAINT,
    GOOD,
    MISSING,
    NOTHING,
    Cell,
    Facts,
    Group,
    Section,
    Table,
)
from doodcli.report.numbers import around, facts, listed, number, signed, significant

if TYPE_CHECKING:
    from doodcli.report.document import Part


CURVE = ("elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error")


PROBE_COLUMNS = [
    "model", "source", "seed", "recipe", "target", "target_fingerprint", "remark", "accuracy",
    "accuracy_se", "train_images", "test_images", "chance",
]  # fmt: skip


RUNS_SHOWN = [
    "run", "minutes", "images", "steps", "device", "seed", "preset", "pen", "dood", "commit",
    "fingerprint", "weights", "settings",
]  # fmt: skip


def oneshot(of: Sources) -> Section:
    """Table 1."""
    parts: list[Part] = []
    table = of.folder.table("table1.csv", ONESHOT_COLUMNS)
    if table is None:
        parts.append(of.expected.gap("one-shot classification", "oneshot", of.folder))
    else:
        parts.append(_table1(of, table))
    if table is not None or of.folder.has("oneshot.png"):
        parts += picture(
            of, "oneshot", "oneshot", "Some decisions",
            "Queries, the supports that were chosen, and the tokens that were fitted.",
            "oneshot.csv", "queries with the chosen supports and the fitted tokens",
        )  # fmt: skip
    return Section(
        "oneshot", "One-shot classification (Table 1)",
        "One drawing of each of some characters of an alphabet, and new drawings: which is which? "
        "Nothing was chosen on the official runs.", parts,
    )  # fmt: skip


def _table1(of: Sources, table: pd.DataFrame) -> Table:
    words = {"True": "yes", "False": "no"}
    reported = {one.model: one.accuracy for one in paper.ONE_SHOT}["DooD"]
    official = (table.source == "reported").any()
    rows = []
    for row in rows_of(table):
        apart = NOTHING
        one_way = str(row.two_way) == "False"  # as the paper's
        if official and one_way and row.source == "measured" and row.model == "dood":
            value = 100 * (row.accuracy - reported)
            apart = Cell(f"{signed(value, 1)} points", GOOD if value > 0 else BAD)
        helps = [Cell(words.get(str(v), "–")) for v in (row.da, row.es, row.two_way)]
        accuracy = around(100 * row.accuracy, 100 * row.se if pd.notna(row.se) else None, 1)
        said = row.reference if isinstance(row.reference, str) else ""
        trained = row.trained_on if isinstance(row.trained_on, str) else "–"
        rows.append([
            Cell(row.model), Cell(trained), *helps, Cell(f"{accuracy} %"), apart,
            Cell(row.source + (f": {said}" if said else "")),
        ])  # fmt: skip
    runs = listed(table, "runs")
    each = of.folder.table("oneshot_runs.csv", ["run", "episodes"])
    how = [] if each is None else [(name, listed(each, name)) for name in ("run", "episodes")]
    names = ("table1.csv", "oneshot_runs.csv", "oneshot.json")
    return Table(
        "table1", f"Table 1: accuracy, ± standard error over {runs} runs. DA: data augmentation, "
        "ES: extra supervision, 2W: two-way scoring.",
        ["model", "trained on", "DA", "ES", "2W", "accuracy", "less the paper's", "source"],
        [Group("", rows)], files=[name for name in names if of.folder.has(name)],
        facts=Facts(how), words=True,
    )  # fmt: skip


def probes(of: Sources) -> Section:
    table = of.folder.table("probe.csv", PROBE_COLUMNS)
    if table is None:
        parts: list[Part] = [of.expected.gap("linear probes", "probe", of.folder)]
    else:
        parts = [_probe_table(table)]
    return Section(
        "probes", "Linear probes of the latents",
        "Logistic regression on the latents of one drawing: what a reader of strokes alone would "
        "know of the class.", parts,
    )  # fmt: skip


def _probe_table(table: pd.DataFrame) -> Table:
    found = probe.summary(table)
    targets = list(dict.fromkeys(found.target))
    groups = []
    for (model, source, _), part in found.groupby(["model", "source", "recipe"], sort=False):
        mine = {row.target: row for row in rows_of(part)}
        ours: list[Cell] = []
        theirs: list[Cell] = []
        apart: list[Cell] = []
        for name in targets:
            cells = [NOTHING] * 3
            if (row := mine.get(name)) is not None:
                error = row.se if pd.isna(row.std) else row.std
                cells[0] = Cell(around(row.accuracy, error, 3))
                if pd.notna(row.paper_accuracy):
                    value = row.accuracy - row.paper_accuracy
                    cells[1] = Cell(number(row.paper_accuracy, 2))
                    cells[2] = Cell(signed(value, 3), kind(str(model), value))
            for column, cell in zip((ours, theirs, apart), cells, strict=True):
                column.append(cell)
        rows = [[Cell("ours"), *ours]]
        if any(cell is not NOTHING for cell in theirs):
            rows += [[Cell("the authors'"), *theirs], [Cell("difference"), *apart]]
        groups.append(Group(f"{model}, trained on {source}", rows))
    chance = found.groupby("target").chance.first()
    groups.append(
        Group("", [[Cell("commonest class", FAINT),
                    *(Cell(number(chance[name], 3), FAINT) for name in targets)]])
    )  # fmt: skip
    return Table(
        "probe", "Accuracy on test images. The authors' numbers are from their code; their AIR is "
        "Difference-AIR, their EMNIST transposed.",
        ["accuracy", *targets], groups, files=["probe.csv"], facts=facts(table),
    )  # fmt: skip


def training(of: Sources) -> Section:
    parts: list[Part] = []
    found = {row["name"]: row for row in recorded(of.folder)}
    names = list(dict.fromkeys([*(what.name for what in of.expected.trainings), *found]))
    if names:
        parts.append(_runs_table(names, found))
    else:
        parts.append(of.expected.gap("records of trained runs", "train-*", of.folder))
    parts += picture(
        of, "training", "training", "Training curves",
        "The terms of the bound while it was learned.", "training.csv",
        "curves of the bound and its terms by training step",
    )  # fmt: skip
    curve = of.folder.table("training.csv", ["model", "source", *CURVE])
    if curve is not None:
        rows = [
            [Cell(f"{row['model']}, {row['source']}"),
             *(Cell(significant(float(row[name]))) for name in CURVE)]
            for _, row in curve.iterrows()
        ]  # fmt: skip
        parts.append(Table(
            "curve", "The last rows of each log, on average: nats an image of training batches.",
            ["model, trained on", *(name.replace("_", " ") for name in CURVE)],
            [Group("", rows)], files=["training.csv"], facts=facts(curve),
        ))  # fmt: skip
    return Section(
        "training", "Training runs: budget, seeds, device, versions", _of_which(of), parts,
    )  # fmt: skip


def _of_which(of: Sources) -> str:
    """Whether the tables above are of the runs that are recorded here."""
    weights = {row["weights"] for row in recorded(of.folder)}
    others = [
        name
        for name, table in of.folder.tables.items()
        if "weights" in table and not set(table.weights.dropna()) <= weights
    ]
    text = "What was measured above was measured with these runs"
    return f"{text}, but for {', '.join(others)}: of other weights." if others else f"{text}."


def _runs_table(names: list[str], found: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for name in names:
        row = found.get(name)
        if row is None:
            rows.append([Cell(name), MISSING, *[NOTHING] * (len(RUNS_SHOWN) - 2)])
            continue
        rows.append([
            Cell(name), Cell(number(row["training_minutes"], 1)),
            Cell(number(row["training_images"])), Cell(number(row["steps"])),
            *(Cell(str(row[key])) for key in
              ("training_device", "seed", "preset", "pen", "version", "training_git",
               "source_fingerprint", "weights", "settings_hash")),
        ])  # fmt: skip
    return Table(
        "runs", "Each run by its model, data set and seed. fingerprint: of the images that it "
        "learned from; the same number is the same file, split and preparation.",
        RUNS_SHOWN, [Group("", rows)],
        files=[f"run-{name}.json" for name in found],
    )  # fmt: skip

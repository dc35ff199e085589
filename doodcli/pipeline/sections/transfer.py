"""The section of zero-shot transfer (Fig. 4) and ablations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.experiments import transfer
from doodcli.pipeline.sections.common import (
    BESIDE_COLUMNS,
    CLAIM_COLUMNS,
    GAP_COLUMNS,
    TRANSFER_COLUMNS,
    Sources,
    kind,
    picture,
    rows_of,
    verdict,
)
from doodcli.report import paper
from doodcli.report.document import FAINT, MISSING, NOTHING, Cell, Facts, Group, Section, Table
from doodcli.report.numbers import around, facts, number, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from doodcli.report.document import Part


COMPARED = ("dood", "air-difference")
"""The models of which the paper has whole squares, its Fig. 4."""


def transfers(of: Sources) -> Section:
    """Fig. 4 and the ablations."""
    parts: list[Part] = []
    table = of.folder.table("transfer.csv", TRANSFER_COLUMNS)
    if table is None:
        parts.append(of.expected.gap("the tables of Fig. 4", "transfer", of.folder))
        table = pd.DataFrame(columns=TRANSFER_COLUMNS)
    cells = transfer.summary(table)
    beside = of.folder.table("transfer_vs_paper.csv", BESIDE_COLUMNS)
    squares = Squares(of, table, cells, beside)
    wanted = [(what.model, what.source) for what in of.expected.trainings]
    there = list(zip(cells.model, cells.source, strict=True))
    for model in COMPARED:
        sources = list(dict.fromkeys(s for m, s in [*wanted, *there] if m == model))
        if sources:
            parts += _pictures_of_square(of, model, table)
            parts.append(squares.of_model(model, sources))
    others = list(dict.fromkeys(pair for pair in [*wanted, *there] if pair[0] not in COMPARED))
    for source in dict.fromkeys(source for _, source in others):
        models = [m for m, s in dict.fromkeys([*wanted, *there]) if s == source]
        parts.append(squares.of_source(source, models))
    for model in dict.fromkeys(model for model, _ in others):
        parts += _pictures_of_square(of, model, table)
    parts += _amortisation_gaps(of)
    claims = of.folder.table("transfer_claims.csv", CLAIM_COLUMNS)
    if claims is not None:
        parts.append(_transfer_claims(claims))
    elif len(table):
        parts.append(of.expected.gap("the claims about Fig. 4", "transfer", of.folder))
    return Section(
        "transfer", "Zero-shot transfer (Fig. 4) and ablations",
        "A model learns from one set and is tested on every other. Numbers are log marginal "
        "likelihoods in nats an image, the IWAE bound: more is better. A page on which nothing is "
        "drawn already has thousands of them, so a number means little without the blank row "
        "below it, and the error of a pixel beside it. The pen is a latent here; the bounds "
        "of the paper's DooD leak the target into the pen.", parts,
    )  # fmt: skip


def _pictures_of_square(of: Sources, model: str, table: pd.DataFrame) -> list[Part]:
    """The heat map of a model, if there is one: a model without cells has none."""
    if not (table.model == model).any():
        return []
    return picture(
        of, "transfer", f"transfer_{model}", f"Fig. 4: {model}",
        "The bound of each cell, with test images above and reconstructions below.",
        "transfer.csv", f"a heat map of {model}'s bounds by source and target, with drawings",
        only=table[table.model == model],
    )  # fmt: skip


class Squares(NamedTuple):
    """Tables of bounds, with the paper's numbers beside ours."""

    of: Sources
    table: pd.DataFrame
    cells: pd.DataFrame
    beside: pd.DataFrame | None

    @property
    def targets(self) -> list[str]:
        """Those that should be there, and others that are."""
        return list(dict.fromkeys([*self.of.expected.targets, *self.cells.target]))

    def of_model(self, model: str, sources: list[str]) -> Table:
        """All sources of a model."""
        notes: list[str] = []
        groups = [
            Group(f"trained on {source}", [
                *self._rows(model, source, "Fig. 4", notes), *self._blank(source),
            ])
            for source in sources
        ]  # fmt: skip
        return self._table(f"transfer-{model}", f"{model}, zero-shot", groups, notes, model=model)

    def of_source(self, source: str, models: list[str]) -> Table:
        """All models that learned from one set: the ablations."""
        notes: list[str] = []
        groups = [Group(model, self._rows(model, source, "ablations", notes)) for model in models]
        groups.append(Group("blank page", self._blank(source)))
        return self._table(
            f"ablations-{source}", f"Ablations: all models trained on {source}", groups, notes,
            source=source,
        )  # fmt: skip

    def _table(
        self, name: str, title: str, groups: list[Group], notes: list[str], **which: str
    ) -> Table:
        mine = self.table[self.table.model != "blank"]
        for column, value in which.items():
            mine = mine[mine[column] == value]
        files = ["transfer.csv", *(["transfer_vs_paper.csv"] if self.beside is not None else [])]
        caption = (
            f"{title}. ± is the standard deviation over seeds or, of one seed, the standard error "
            "over images; the paper's is over seeds. A numbered difference is not like for like."
        )
        return Table(
            name, caption, ["nats an image", *self.targets], groups, notes, files, facts(mine)
        )

    def _rows(self, model: str, source: str, figure: str, notes: list[str]) -> list[list[Cell]]:
        """Ours, the paper's, the difference, the error and the strokes of one run."""
        found = self.cells[(self.cells.model == model) & (self.cells.source == source)]
        mine = {row.target: row for row in rows_of(found)}
        known = {target: self._reported(model, source, target, figure) for target in self.targets}
        rows = [[Cell("ours"), *(self._ours(mine, model, source, t) for t in self.targets)]]
        if any(known.values()):
            theirs = [Cell(around(*pair)) if pair else NOTHING for pair in known.values()]
            rows.append([Cell("the paper's"), *theirs])
            apart = [self._difference(model, source, t, figure, notes) for t in self.targets]
            rows.append([Cell("difference"), *apart])
        if mine:
            for label, column, digits in (
                ("error of a pixel", "mean_abs_error", 3), ("strokes", "mean_strokes", 1),
            ):  # fmt: skip
                rows.append([
                    Cell(label),
                    *(
                        Cell(number(getattr(mine[t], column), digits)) if t in mine else NOTHING
                        for t in self.targets
                    ),
                ])  # fmt: skip
        return rows

    def _ours(self, mine: dict[str, Any], model: str, source: str, target: str) -> Cell:
        if target in mine:
            row = mine[target]
            return Cell(around(row.iwae_nats, row.std if row.seeds > 1 else row.se))
        wanted = [(what.model, what.source) for what in self.of.expected.trainings]
        return MISSING if (model, source) in wanted else NOTHING

    @staticmethod
    def _reported(model: str, source: str, target: str, figure: str) -> paper.Number | None:
        name = target.removesuffix(transfer.TRANSPOSED)
        if figure == "ablations" and model in paper.ABLATIONS and source == "mnist":
            return paper.ABLATIONS[model].get(name)
        return paper.TRANSFER.get(model, {}).get(source, {}).get(name)

    def _difference(
        self, model: str, source: str, target: str, figure: str, notes: list[str]
    ) -> Cell:
        if self.beside is None:
            return NOTHING
        rows = self.beside[
            (self.beside.model == model)
            & (self.beside.source == source)
            & (self.beside.target == target)
        ]
        # Difference-AIR stands in Fig. 4 alone.
        chosen = rows[rows.figure == figure] if (rows.figure == figure).any() else rows
        if chosen.empty:
            return NOTHING
        row = chosen.iloc[0]
        note = 0 if row.like_for_like else _note(row.why_not, notes)
        return Cell(signed(row.difference), kind(model, row.difference), note)

    def _blank(self, source: str) -> list[list[Cell]]:
        """The page on which nothing is drawn."""
        pages = self.table[(self.table.model == "blank") & (self.table.source == source)]
        found = {row.target: row for row in rows_of(pages)}
        bounds = [
            Cell(number(found[t].iwae_nats), FAINT) if t in found else self._no_page()
            for t in self.targets
        ]
        errors = [
            Cell(number(found[t].mean_abs_error, 3), FAINT) if t in found else self._no_page()
            for t in self.targets
        ]
        return [[Cell("blank page", FAINT), *bounds], [Cell("its error", FAINT), *errors]]

    def _no_page(self) -> Cell:
        return MISSING if self.of.expected.profile else NOTHING


def _note(text: str, notes: list[str]) -> int:
    """The number of a note, which is added where it is new."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _amortisation_gaps(of: Sources) -> list[Part]:
    """What posteriors of each image's own gain, a table a model."""
    table = of.folder.table("amortisation_gap.csv", GAP_COLUMNS)
    if table is None:
        known = "refined" in of.expected.commands
        return [of.expected.gap("the amortisation gap", "refined", of.folder)] if known else []
    return [
        _gaps_of_model(of, str(model), part) for model, part in table.groupby("model", sort=False)
    ]


def _gaps_of_model(of: Sources, model: str, table: pd.DataFrame) -> Table:
    targets = list(dict.fromkeys([*of.expected.targets, *table.target]))
    notes: list[str] = []
    groups = [
        Group(f"trained on {source}", _gap_rows(part, targets, notes))
        for source, part in table.groupby("source", sort=False)
    ]
    caption = (
        f"{model}: the same images with the posterior as one pass of the recognition network has "
        "it (amortised); with a posterior of each image's own, fitted to its ELBO (refined), which "
        "bounds the same log p(x) of the same model; and with the likelihood's scales "
        f"learned anew on such posteriors of training images. IWAE with {table.samples.iloc[0]} "
        "samples. The paper's posterior is amortised, so no difference of a refined one is like "
        "for like; a numbered one is otherwise unlike too."
    )
    raw = of.folder.table("refined.csv", TRANSFER_COLUMNS)
    how = Facts([]) if raw is None else facts(raw[raw.model == model])
    files = [name for name in ("amortisation_gap.csv", "refined.csv") if of.folder.has(name)]
    return Table(
        f"amortisation-gap-{model}", caption, ["nats an image", *targets], groups, notes, files, how
    )


def _gap_rows(part: pd.DataFrame, targets: list[str], notes: list[str]) -> list[list[Cell]]:
    """The cells of one run, with each posterior."""

    def less_theirs(row: Any) -> Cell:
        if pd.isna(row.difference):
            return NOTHING
        note = 0 if row.otherwise_alike else _note(row.why_not, notes)
        return Cell(signed(row.difference), kind(row.model, row.difference), note)

    lines: list[list[Cell]] = []
    for posterior, cells in part.groupby("posterior", sort=False):
        mine = {row.target: row for row in rows_of(cells)}
        texts: dict[str, Callable[[Any], Cell]] = {
            str(posterior): lambda row: Cell(
                around(row.iwae_nats, row.std if row.seeds > 1 else row.se)
            ),
            "less the paper's": less_theirs,
            "error of a pixel": lambda row: Cell(number(row.mean_abs_error, 3), FAINT),
        }
        lines += [
            [Cell(label), *(text(mine[t]) if t in mine else NOTHING for t in targets)]
            for label, text in texts.items()
            if label != "less the paper's" or cells.paper_nats.notna().any()
        ]
    return lines


def _transfer_claims(claims: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(row.claim), Cell(row.model), Cell(row.where),
            Cell("yes" if row.paper else "no"), Cell(number(row.value)),
            Cell(number(row.against)),
            Cell(around(row.value - row.against, row.se)), verdict(bool(row.holds)),
        ]
        for row in rows_of(claims)
    ]  # fmt: skip
    return Table(
        "transfer-claims", "The claims of Section 3.1 about Fig. 4, one by one. ± is the standard "
        "error of the difference over images.",
        ["claim", "model", "where", "the paper says so", "ours", "against", "difference",
         "verdict"],
        [Group("", rows)], files=["transfer_claims.csv"], words=True,
    )  # fmt: skip

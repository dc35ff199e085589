"""The sections of a report, in the paper's order, from the files of a folder of results.

Nothing is measured here: means over seeds and the like come from the experiments' own summaries
of their tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.experiments import clusters, probe, strokes, trace, transfer
from doodcli.pipeline.expected import Expected, gaps
from doodcli.report import paper
from doodcli.report.document import (
    BAD,
    FAINT,
    GOOD,
    MISSING,
    NOTHING,
    Cell,
    Document,
    Facts,
    Group,
    Picture,
    Section,
    Sketches,
    Table,
    Tile,
)
from doodcli.report.numbers import (
    PROVENANCE,
    any_cell,
    around,
    facts,
    listed,
    number,
    percent,
    signed,
    span,
)
from doodcli.report.sketches import read_sketches

if TYPE_CHECKING:
    from collections.abc import Callable

    from doodcli.report.document import Gap
    from doodcli.report.folder import Folder

    Part = Table | Picture | Gap | Sketches

COMPARED = ("dood", "air-difference")
"""The models of which the paper has whole squares, its Fig. 4."""

CLUSTERS = 8
"""Of Fig. 5."""

ROWS = 60
"""Of a table whose size nobody knows, the first so many are shown."""


class Sources(NamedTuple):
    """Where a report comes from."""

    folder: Folder
    expected: Expected


def document(folder: Folder, expected: Expected) -> Document:
    """The whole report."""
    of = Sources(folder, expected)
    sections = [make(of) for make in SECTIONS]
    missing = gaps(folder, expected)
    name = expected.profile or folder.path.resolve().name
    claims = _claims_summary(of)
    return Document(
        title=f"Drawing out of Distribution: results of the profile {name}"
        if expected.profile
        else f"Drawing out of Distribution: results in {name}",
        lead=_lead(of),
        tiles=_tiles(of, missing),
        claims=claims,
        sections=sections,
        gaps=missing,
        complete=bool(expected.profile) and not missing,
    )


# ------------------------------------------------------------------------------ the summary


def _lead(of: Sources) -> str:
    """How much was trained, on what and with which versions."""
    runs = pd.DataFrame(_runs(of.folder))
    if runs.empty:
        return "No trained run is recorded in this folder."
    minutes = runs.training_minutes
    models = f"{len(runs)} model{'s' * (len(runs) != 1)}"
    of_all = f" of {len(of.expected.trainings)}" if of.expected.trainings else ""
    return (
        f"{models}{of_all} trained for {span(minutes, 1)} minutes each, "
        f"{number(minutes.sum(), 1)} in all, on {listed(runs, 'training_device')}: "
        f"{span(runs.training_images)} images each, seed{'s' * (runs.seed.nunique() > 1)} "
        f"{listed(runs, 'seed')}. dood {listed(runs, 'version')}, "
        f"commit{'s' * (runs.training_git.nunique() > 1)} {listed(runs, 'training_git')}."
    )


def _tiles(of: Sources, missing: list[Gap]) -> list[Tile]:
    """The headline: each number with what stands beside it."""
    makers: list[Callable[[Sources], Tile | None]] = [
        _tile_own, _tile_paper, _tile_rival, _tile_oneshot, _tile_strokes, _tile_silhouette,
    ]  # fmt: skip
    tiles = [tile for make in makers if (tile := make(of)) is not None]
    if of.expected.commands:
        done = "Nothing is missing" if not missing else "Named at the end"
        tiles.append(Tile(str(len(missing)), f"item{'s' * (len(missing) != 1)} missing", done))
    return tiles


def _tile_own(of: Sources) -> Tile | None:
    table = of.folder.table("transfer.csv", TRANSFER_COLUMNS)
    if table is None:
        return None
    cells = transfer.summary(table)
    own = cells[(cells.model == "dood") & (cells.source == cells.target)]
    if own.empty:
        return None
    cell = own.iloc[0]
    page = table[
        (table.model == "blank") & (table.source == cell.source) & (table.target == cell.target)
    ]
    beside = f"A blank page has {number(page.iwae_nats.iloc[0])}. " if len(page) else ""
    known = paper.TRANSFER["dood"].get(cell.source, {}).get(cell.target)
    beside += f"The paper: {number(known[0])}" if known else "The paper has no such set"
    return Tile(
        number(cell.iwae_nats),
        f"nats an image of {cell.target}, by dood trained there (IWAE, k = {cell.samples:.0f})",
        beside,
    )


def _tile_paper(of: Sources) -> Tile | None:
    beside = of.folder.table("transfer_vs_paper.csv", BESIDE_COLUMNS)
    if beside is None:
        return None
    alike = beside[
        (beside.figure == "Fig. 4") & (beside.model == "dood") & beside.like_for_like.astype(bool)
    ]
    if alike.empty:
        return None
    apart = alike.difference
    return Tile(
        f"{int(alike.above_paper.sum())} of {len(alike)}",
        "cells of Fig. 4 in which dood passes the paper's, of those that compare like for like",
        f"From {signed(apart.min())} to {signed(apart.max())} nats",
    )


def _tile_rival(of: Sources) -> Tile | None:
    claims = of.folder.table("transfer_claims.csv", CLAIM_COLUMNS)
    if claims is None:
        return None
    rival = claims[claims.claim.str.startswith("better than air-difference")]
    if rival.empty:
        return None
    held = f"{int(rival.holds.sum())} of {len(rival)}"
    return Tile(held, "cells in which dood passes Difference-AIR", "The paper: 24 of its 25")


def _tile_oneshot(of: Sources) -> Tile | None:
    table = of.folder.table("table1.csv", ONESHOT_COLUMNS)
    if table is None:
        return None
    mine = table[(table.model == "dood") & (table.source == "measured")]
    if mine.empty:
        return None
    first = mine.iloc[0]
    official = (table.source == "reported").any()
    reported = {one.model: one.accuracy for one in paper.ONE_SHOT}["DooD"]
    return Tile(
        percent(first.accuracy),
        f"one-shot accuracy of dood trained on {first.trained_on}",
        f"The paper: {percent(reported)}" if official else "Not the official runs",
    )


def _tile_strokes(of: Sources) -> Tile | None:
    counts = of.folder.table("stroke_counts.csv", COUNT_COLUMNS)
    if counts is None:
        return None
    means = strokes.means(counts)
    mine = means[means.model == "dood"]
    mine = mine[mine.source == mine.source.iloc[0]] if len(mine) else mine
    own, others = mine[mine.dataset == mine.source], mine[mine.dataset != mine.source]
    if own.empty or others.empty:
        return None
    source = own.source.iloc[0]
    return Tile(
        number(own.mean_strokes.iloc[0], 1),
        f"strokes a drawing of {source}, by dood trained there",
        f"{span(others.mean_strokes, 1)} on other sets",
    )


def _tile_silhouette(of: Sources) -> Tile | None:
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    if table is None:
        return None
    found = clusters.summary(table)
    mine = found[(found.model == "dood") & (found.clusters == CLUSTERS) & found.silhouette.notna()]
    if mine.empty:
        return None
    first = mine.iloc[0]
    known = paper.SILHOUETTE["dood"] if first.source == first.dataset == "mnist" else None
    return Tile(
        number(first.silhouette, 2),
        f"silhouette of {CLUSTERS} clusters of strokes of {first.dataset}",
        f"The paper: {known}" if known else "The paper has it of MNIST",
    )


def _claims_summary(of: Sources) -> Table | None:
    """Each claim with the number of places where it holds, of those about which the paper says so."""
    parts = []
    said = of.folder.table("transfer_claims.csv", CLAIM_COLUMNS)
    if said is not None:
        parts.append(said[["model", "claim", "paper", "holds"]].assign(where="#transfer"))
    counted = of.folder.table("stroke_claims.csv", STROKE_CLAIM_COLUMNS)
    if counted is not None:
        parts.append(counted[["model", "claim", "paper", "holds"]].assign(where="#drawings"))
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    if table is not None:
        kinds = clusters.claims(clusters.summary(table), CLUSTERS).assign(model="dood")
        parts.append(kinds[["model", "claim", "paper", "holds"]].assign(where="#clusters"))
    if not parts:
        return None
    every = pd.concat(parts, ignore_index=True)
    every = every[every.paper.astype(bool)]
    rows = []
    for (model, claim), part in every.groupby(["model", "claim"], sort=False):
        held, count = int(part.holds.sum()), len(part)
        kind = GOOD if held == count else BAD if not held else ""
        word = "holds" if held == count else "does not hold" if not held else "holds in part"
        rows.append(
            [Cell(str(claim)), Cell(str(model)), Cell(f"{held} of {count}"), Cell(word, kind)]
        )
    if not rows:
        return None
    return Table(
        "claims", "Claims of the paper that these results can speak to. Each is counted over the "
        "cells or sets that were measured; the sections below have them one by one.",
        ["claim", "model", "holds in", "verdict"], [Group("", rows)], words=True,
    )  # fmt: skip


# ----------------------------------------------------------------------------- the sections


def _drawings(of: Sources) -> Section:
    """Figs. 1 and 3."""
    parts: list[Part] = [_sketches(of)]
    parts += _picture(
        of, "reconstruct", "reconstruct", "Figs. 1 and 3: reconstructions, stroke by stroke",
        "Each column is a test image: the target, the canvas after each stroke, and the strokes in "
        "colour in their order. The posterior drew once; nothing was fitted to the image.",
        "reconstruct.csv", "the target, the canvas after each stroke, and the strokes in colour",
    )  # fmt: skip
    parts += _picture(
        of, "compare", "models/compare", "The same images, by every model",
        "Test images above, what each model made of them below.",
        "models/reconstruct.csv", "test images and each model's reconstruction of them",
    )  # fmt: skip
    parts += _picture(
        of, "strokes", "stroke_counts", "Fig. 3: how many strokes a drawing takes",
        "The distribution of the number of strokes of each model on each set.",
        "stroke_counts.csv", "the share of drawings with each number of strokes",
    )  # fmt: skip
    counts = of.folder.table("stroke_counts.csv", COUNT_COLUMNS)
    if counts is not None:
        parts.append(_stroke_means(counts))
    claims = of.folder.table("stroke_claims.csv", STROKE_CLAIM_COLUMNS)
    if claims is not None:
        parts.append(_stroke_claims(claims))
    return Section(
        "drawings", "Drawings and numbers of strokes (Figs. 1 and 3)",
        "A model looks at a picture that it was not trained on, and draws it again.", parts,
    )  # fmt: skip


def _sketches(of: Sources) -> Part:
    found = read_sketches(of.folder)
    if found is None:
        return of.expected.gap("drawings that draw themselves", "animations", of.folder)
    return found


def _stroke_means(counts: pd.DataFrame) -> Table:
    means = strokes.means(counts)
    sets = list(dict.fromkeys(means.dataset))
    groups = []
    for (model, source), part in means.groupby(["model", "source"], sort=False):
        found = {row.dataset: row for row in part.itertuples()}
        cells = [
            Cell(around(found[name].mean_strokes, found[name].mean_strokes_se, 2))
            if name in found
            else NOTHING
            for name in sets
        ]
        groups.append([Cell(f"{model}, trained on {source}"), *cells])
    return Table(
        "stroke-means", "Mean number of strokes of a drawing, ± standard error over images. The "
        "paper has these as pictures only.",
        ["model", *sets], [Group("", groups)], files=["stroke_counts.csv"], facts=facts(counts),
    )  # fmt: skip


def _stroke_claims(claims: pd.DataFrame) -> Table:
    said = strokes.of_their_models(claims)
    rows = [
        [
            Cell(row.claim), Cell(f"{row.model}, {row.source}"), Cell(row.paper),
            Cell(row.measure), Cell(number(row.value, 2)), Cell(number(row.limit, 2)),
            _verdict(row.holds == "yes"),
        ]
        for row in said.itertuples()
    ]  # fmt: skip
    return Table(
        "stroke-claims", "What the paper says of the number of strokes. It speaks of models "
        "trained on MNIST; elsewhere the row says how the same model compares.",
        ["claim", "model, trained on", "the paper says so", "measure", "ours", "limit", "verdict"],
        [Group("", rows)], files=["stroke_claims.csv"], words=True,
    )  # fmt: skip


def _kind(model: str, difference: float) -> str:
    """Whether a difference to the paper's number speaks for the model that the paper is about."""
    if not model.startswith("dood"):
        return ""
    return GOOD if difference > 0 else BAD


def _verdict(holds: bool) -> Cell:
    return Cell("holds", GOOD) if holds else Cell("does not hold", BAD)


def _transfer(of: Sources) -> Section:
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
    return _picture(
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
        mine = {row.target: row for row in found.itertuples()}
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
        note = 0
        if not row.like_for_like:
            if row.why_not not in notes:
                notes.append(str(row.why_not))
            note = notes.index(row.why_not) + 1
        return Cell(signed(row.difference), _kind(model, row.difference), note)

    def _blank(self, source: str) -> list[list[Cell]]:
        """The page on which nothing is drawn."""
        pages = self.table[(self.table.model == "blank") & (self.table.source == source)]
        found = {row.target: row for row in pages.itertuples()}
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


def _transfer_claims(claims: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(row.claim), Cell(row.model), Cell(row.where),
            Cell("yes" if row.paper else "no"), Cell(number(row.value)),
            Cell(number(row.against)),
            Cell(around(row.value - row.against, row.se)), _verdict(bool(row.holds)),
        ]
        for row in claims.itertuples()
    ]  # fmt: skip
    return Table(
        "transfer-claims", "The claims of Section 3.1 about Fig. 4, one by one. ± is the standard "
        "error of the difference over images.",
        ["claim", "model", "where", "the paper says so", "ours", "against", "difference", "verdict"],
        [Group("", rows)], files=["transfer_claims.csv"], words=True,
    )  # fmt: skip


def _clusters(of: Sources) -> Section:
    """Fig. 5."""
    parts: list[Part] = []
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    for name in of.folder.names("strokes_*.png"):
        stem = name.removesuffix(".png")
        model = stem.removeprefix("strokes_")
        parts += _picture(
            of, "clusters", stem, f"Fig. 5: kinds of strokes, {model}",
            "A t-SNE map of strokes in their own frames, coloured by cluster, and a row of "
            "exemplars for each cluster. A dot marks where a stroke starts.",
            "strokes.csv", f"a map of the clusters of {model}, with exemplars of each",
        )  # fmt: skip
    if table is None:
        parts.append(of.expected.gap("clusters of strokes", "clusters", of.folder))
    else:
        found = clusters.summary(table)
        parts.append(_silhouettes(found, table))
        said = clusters.claims(found, CLUSTERS)
        if len(said):
            parts.append(_cluster_claims(said))
    return Section(
        "clusters", "Kinds of strokes (Fig. 5)",
        "k-means on strokes of training images: control points in the stroke's own frame, of AIR "
        "its appearance codes.", parts,
    )  # fmt: skip


def _silhouettes(found: pd.DataFrame, table: pd.DataFrame) -> Table:
    counts = sorted(set(found.clusters))
    rows = []
    for _, part in found.groupby(["model", "source", "recipe", "dataset"], sort=False):
        first = part.iloc[0]
        by_count = {row.clusters: row for row in part.itertuples()}
        known = paper.SILHOUETTE.get(first.model) if first.source == first.dataset == "mnist" else None
        scores = [
            Cell(around(by_count[k].silhouette, by_count[k].std, 3)) if k in by_count else NOTHING
            for k in counts
        ]
        chosen = by_count.get(CLUSTERS)
        apart = NOTHING
        if known is not None and chosen is not None and pd.notna(chosen.silhouette):
            value = chosen.silhouette - known
            apart = Cell(signed(value, 3), _kind(first.model, value))
        rows.append([
            Cell(f"{first.model}, {first.source}"), Cell(number(first.strokes)), *scores,
            Cell(around(chosen.one_way, chosen.one_way_std, 3)) if chosen else NOTHING,
            Cell(number(known, 2)) if known is not None else NOTHING, apart,
        ])  # fmt: skip
    return Table(
        "silhouettes", "Silhouettes of k-means clusters. one way: after one direction was chosen "
        f"for each stroke. The paper's are of k = {CLUSTERS} and trainings on MNIST; its AIR is "
        "Difference-AIR.",
        ["model, trained on", "strokes", *(f"k = {k}" for k in counts),
         f"one way, k = {CLUSTERS}", f"the paper's, k = {CLUSTERS}", "difference"],
        [Group("", rows)], files=["strokes.csv"], facts=facts(table),
    )  # fmt: skip


def _cluster_claims(said: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(row.claim), Cell(row.source), Cell("yes" if row.paper else "no"),
            Cell(number(row.value, 3)), Cell(number(row.against, 3)), _verdict(bool(row.holds)),
        ]
        for row in said.itertuples()
    ]  # fmt: skip
    return Table(
        "cluster-claims", "That strokes cluster better than codes, for each pair of runs.",
        ["claim", "trained on", "the paper says so", "ours", "against", "verdict"],
        [Group("", rows)], files=["strokes.csv"], words=True,
    )  # fmt: skip


def _oneshot(of: Sources) -> Section:
    """Table 1."""
    parts: list[Part] = []
    table = of.folder.table("table1.csv", ONESHOT_COLUMNS)
    if table is None:
        parts.append(of.expected.gap("one-shot classification", "oneshot", of.folder))
    else:
        parts.append(_table1(of, table))
    if table is not None or of.folder.has("oneshot.png"):
        parts += _picture(
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
    for row in table.itertuples():
        apart = NOTHING
        if official and row.source == "measured" and row.model == "dood":
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
    each = of.folder.table("oneshot_runs.csv")
    items = [("runs", listed(each, "run")), ("episodes", listed(each, "episodes"))]
    return Table(
        "table1", f"Table 1: accuracy, ± standard error over {runs} runs. DA: data augmentation, "
        "ES: extra supervision, 2W: two-way scoring.",
        ["model", "trained on", "DA", "ES", "2W", "accuracy", "less the paper's", "source"],
        [Group("", rows)], files=["table1.csv", "oneshot_runs.csv", "oneshot.json"],
        facts=Facts(items) if each is not None else Facts([]), words=True,
    )  # fmt: skip


def _generation(of: Sources) -> Section:
    """Figs. 6 to 8."""
    parts: list[Part] = []
    for task, stem, title, caption, alt in (
        ("samples", "samples", "Fig. 6: samples of the prior",
         "Drawings that each model made of nothing, at its own temperature.",
         "drawings from each model's prior"),
        ("samples-paper", "samples-paper", "Fig. 6: tempered samples",
         "As the paper's: with the temperature that its authors' code has.",
         "tempered drawings from the prior"),
        ("exemplars", "exemplars", "Fig. 7: new exemplars",
         "The target, the strokes of its parse, and the character written again.",
         "targets, their parses, and new exemplars"),
        ("complete", "completions", "Fig. 8: completions",
         "The whole picture, the part that was given, and the completions: new ink in colour.",
         "partial pictures and how each model finishes them"),
    ):  # fmt: skip
        parts += _picture(of, task, stem, title, caption, f"{stem}.csv", alt)
    parts += _fid(of)
    return Section(
        "generation", "New drawings (Figs. 6 to 8)",
        "The same models, asked to draw: from nothing, like another drawing, or on from one that "
        "was begun.", parts,
    )  # fmt: skip


def _fid(of: Sources) -> list[Part]:
    """Whatever columns it has."""
    table = of.folder.table("fid.csv")
    if table is None:
        expected = "fid" in of.expected.commands or not of.expected.profile
        return [of.expected.gap("FID of the samples", "fid", of.folder)] if expected else []
    shown = table.drop(columns=[name for name in table if name in PROVENANCE])
    shown = shown.dropna(axis=1, how="all")
    rows = [[Cell(any_cell(value)) for value in row] for row in shown.head(ROWS).to_numpy(object)]
    more = [f"The first {ROWS} of {len(table)} rows."] if len(table) > ROWS else []
    return [Table(
        "fid", "FID of samples: less is better. It depends on the number of pictures: compare it "
        "with the floor, real against real. The paper's values are not comparable with FID as "
        "others compute it.",
        [str(name).replace("_", " ") for name in shown], [Group("", rows)], more, ["fid.csv"],
        facts(table),
    )]  # fmt: skip


def _probes(of: Sources) -> Section:
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
        mine = {row.target: row for row in part.itertuples()}
        ours, theirs, apart = [], [], []
        for name in targets:
            row = mine.get(name)
            ours.append(
                NOTHING
                if row is None
                else Cell(around(row.accuracy, row.se if pd.isna(row.std) else row.std, 3))
            )
            known = row is not None and pd.notna(row.paper_accuracy)
            theirs.append(Cell(number(row.paper_accuracy, 2)) if known else NOTHING)
            value = row.accuracy - row.paper_accuracy if known else 0.0
            apart.append(Cell(signed(value, 3), _kind(str(model), value)) if known else NOTHING)
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


def _traces(of: Sources) -> Section:
    parts = _picture(
        of, "trace", "trace", "Strokes beside the true ones",
        "Scribbles, whose true strokes are known, and the strokes that each model found.",
        "trace.csv", "scribbles, their true strokes and the strokes that were found",
    )  # fmt: skip
    table = of.folder.table("trace.csv", ["true_strokes", "model", "source", "refine_steps"])
    if table is not None:
        rows = [
            [
                Cell(f"{row.model}, {row.source}"), Cell(number(row.images)),
                Cell(number(row.true_strokes, 1)), Cell(number(row.strokes, 1)),
                Cell(percent(row.found)), Cell(percent(row.needless)),
                Cell(number(row.chamfer_pixels, 2)), Cell(number(row.order_agreement, 2)),
            ]
            for row in trace.means(table).itertuples()
        ]  # fmt: skip
        parts.append(Table(
            "trace", "Strokes found in scribbles. A true stroke is found when one that was drawn "
            "lies close to it; a needless one lies close to none. Distances are in pixels of "
            "a 50-pixel canvas. The paper has no such table.",
            ["model, trained on", "images", "true strokes", "strokes", "found", "needless",
             "distance", "agreement of order"],
            [Group("", rows)], files=["trace.csv"], facts=facts(table),
        ))  # fmt: skip
    text = "What `dood trace` finds where the answer is known."
    if not parts:
        text += " This profile has no scribbles among its sets, so there is nothing to show."
    return Section("traces", "Strokes out of pictures", text, parts)


def _training(of: Sources) -> Section:
    parts: list[Part] = []
    found = {row["name"]: row for row in _runs(of.folder)}
    names = list(dict.fromkeys([*(what.name for what in of.expected.trainings), *found]))
    if names:
        parts.append(_runs_table(names, found))
    else:
        parts.append(of.expected.gap("records of trained runs", "train-*", of.folder))
    parts += _picture(
        of, "training", "training", "Training curves", "The terms of the bound while it was learned.",
        "training.csv", "curves of the bound and its terms by training step",
    )  # fmt: skip
    curve = of.folder.table("training.csv", ["model", "source", *CURVE])
    if curve is not None:
        rows = [
            [Cell(f"{row['model']}, {row['source']}"),
             *(Cell(any_cell(float(row[name]))) for name in CURVE)]
            for _, row in curve.iterrows()
        ]  # fmt: skip
        parts.append(Table(
            "curve", "The last rows of each log, on average: nats an image of training batches.",
            ["model, trained on", *(name.replace("_", " ") for name in CURVE)],
            [Group("", rows)], files=["training.csv"], facts=facts(curve),
        ))  # fmt: skip
    return Section(
        "training", "Training runs: budget, seeds, device, versions",
        "Every number above was measured with one of these runs.", parts,
    )  # fmt: skip


def _runs(folder: Folder) -> list[dict[str, Any]]:
    """What is recorded of every run."""
    rows = []
    for name in folder.names("run-*.json"):
        facts_of = folder.json(name)
        if isinstance(facts_of, dict) and set(RUN_COLUMNS) <= facts_of.keys():
            short = name.removeprefix("run-").removesuffix(".json")
            rows.append({**{key: facts_of[key] for key in RUN_COLUMNS}, "name": short})
    return rows


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


def _picture(
    of: Sources, task: str, stem: str, title: str, caption: str, table: str, alt: str,
    only: pd.DataFrame | None = None,
) -> list[Part]:  # fmt: skip
    """A figure with the table that it shows, or that it is missing, where it should be there."""
    png = of.folder.read(f"{stem}.png")
    if png is None:
        known = task in of.expected.commands or not of.expected.profile
        return [of.expected.gap(title, task, of.folder)] if known else []
    frame = of.folder.table(table) if only is None else only
    files = [name for name in (table, f"{stem}.png", f"{stem}.pdf") if of.folder.has(name)]
    how = facts(frame) if frame is not None else Facts([])
    whose = _whose(frame)
    return [Picture(stem, title, caption, f"{title}: {alt}{whose}", files, how)]


def _whose(frame: pd.DataFrame | None) -> str:
    """Of which models and sets a picture is, for those who cannot see it."""
    if frame is None or "model" not in frame or "source" not in frame:
        return ""
    runs = frame[frame.model != "blank"].dropna(subset=["source"])
    pairs = dict.fromkeys(zip(runs.model.astype(str), runs.source.astype(str), strict=True))
    names = ", ".join(f"{model} trained on {source}" for model, source in pairs)
    sets = listed(frame, "dataset") or listed(frame, "target")
    return f" by {names}" + (f"; sets: {sets}" if sets else "") + "."


CURVE = ("elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error")
TRANSFER_COLUMNS = [
    "model", "source", "target", "seed", "iwae_nats", "iwae_se", "mean_abs_error", "mean_strokes",
    "images", "samples", "resolution", "likelihood_family", "source_transposed", "remarks",
]  # fmt: skip
BESIDE_COLUMNS = [
    "figure", "model", "source", "target", "difference", "above_paper", "like_for_like", "why_not",
]  # fmt: skip
CLAIM_COLUMNS = ["model", "claim", "where", "paper", "value", "against", "se", "holds"]
STROKE_CLAIM_COLUMNS = [
    "run", "model", "source", "claim", "paper", "measure", "value", "limit", "holds",
]  # fmt: skip
COUNT_COLUMNS = ["run", "model", "source", "dataset", "fingerprint", "images", "strokes", "share"]
CLUSTER_COLUMNS = [
    "model", "source", "seed", "recipe", "dataset", "fingerprint", "remark", "clusters",
    "silhouette", "silhouette_one_way", "strokes",
]  # fmt: skip
ONESHOT_COLUMNS = [
    "model", "da", "es", "two_way", "accuracy", "se", "source", "trained_on", "runs", "reference",
]  # fmt: skip
PROBE_COLUMNS = [
    "model", "source", "seed", "recipe", "target", "target_fingerprint", "remark", "accuracy",
    "accuracy_se", "train_images", "test_images", "chance",
]  # fmt: skip
RUN_COLUMNS = [
    "run", "model", "source", "seed", "preset", "pen", "steps", "training_images",
    "training_minutes", "training_device", "source_fingerprint", "settings_hash", "weights",
    "training_git", "version",
]  # fmt: skip
RUNS_SHOWN = [
    "run", "minutes", "images", "steps", "device", "seed", "preset", "pen", "dood", "commit",
    "fingerprint", "weights", "settings",
]  # fmt: skip

SECTIONS: tuple[Callable[[Sources], Section], ...] = (
    _drawings, _transfer, _clusters, _oneshot, _generation, _probes, _traces, _training,
)  # fmt: skip
"""In the paper's order."""

"""Sections that one looks at: drawings, kinds of strokes, new drawings, traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from doodcli.experiments import clusters, fid, strokes, trace
from doodcli.pipeline.sections.common import (
    CLUSTER_COLUMNS,
    CLUSTERS,
    COUNT_COLUMNS,
    STROKE_CLAIM_COLUMNS,
    Sources,
    kind,
    picture,
    rows_of,
    verdict,
)
from doodcli.report import paper
from doodcli.report.document import NOTHING, Cell, Group, Section, Table
from doodcli.report.numbers import around, facts, listed, number, percent, signed
from doodcli.report.sketches import read_sketches

if TYPE_CHECKING:
    from doodcli.report.document import Part


SAMPLED = ("samples", "samples-paper")
"""Pictures of what FID measures."""

FID_COLUMNS = [
    "dataset", "drawn_by", "kind", "run", "temperature", "features", "feature_size",
    "part", "images", "sample_seed",
    *fid.SEVERAL, "remark", "paper_fid", "paper_fid_std",
]  # fmt: skip


def reconstructions(of: Sources) -> Section:
    """Figs. 1 and 3."""
    parts: list[Part] = [_sketches(of)]
    parts += picture(
        of, "reconstruct", "reconstruct", "Figs. 1 and 3: reconstructions, stroke by stroke",
        "Each column is a test image: the target, the canvas after each stroke, and the strokes in "
        "colour in their order. The posterior drew once; nothing was fitted to the image.",
        "reconstruct.csv", "the target, the canvas after each stroke, and the strokes in colour",
    )  # fmt: skip
    parts += picture(
        of, "compare", "models/compare", "The same images, by every model",
        "Test images above, what each model made of them below.",
        "models/reconstruct.csv", "test images and each model's reconstruction of them",
    )  # fmt: skip
    parts += picture(
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
        found = {row.dataset: row for row in rows_of(part)}
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
            verdict(row.holds == "yes"),
        ]
        for row in rows_of(said)
    ]  # fmt: skip
    return Table(
        "stroke-claims", "What the paper says of the number of strokes. It speaks of models "
        "trained on MNIST; elsewhere the row says how the same model compares.",
        ["claim", "model, trained on", "the paper says so", "measure", "ours", "limit", "verdict"],
        [Group("", rows)], files=["stroke_claims.csv"], words=True,
    )  # fmt: skip


def kinds(of: Sources) -> Section:
    """Fig. 5."""
    parts: list[Part] = []
    table = of.folder.table("strokes.csv", CLUSTER_COLUMNS)
    for name in of.folder.names("strokes_*.png"):
        stem = name.removesuffix(".png")
        model = stem.removeprefix("strokes_")
        parts += picture(
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
        by_count = {row.clusters: row for row in rows_of(part)}
        known = (
            paper.SILHOUETTE.get(first.model) if first.source == first.dataset == "mnist" else None
        )
        scores = [
            Cell(around(by_count[k].silhouette, by_count[k].std, 3)) if k in by_count else NOTHING
            for k in counts
        ]
        chosen = by_count.get(CLUSTERS)
        apart = NOTHING
        if known is not None and chosen is not None and pd.notna(chosen.silhouette):
            value = chosen.silhouette - known
            apart = Cell(signed(value, 3), kind(first.model, value))
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
            Cell(number(row.value, 3)), Cell(number(row.against, 3)), verdict(bool(row.holds)),
        ]
        for row in rows_of(said)
    ]  # fmt: skip
    return Table(
        "cluster-claims", "That strokes cluster better than codes, for each pair of runs.",
        ["claim", "trained on", "the paper says so", "ours", "against", "verdict"],
        [Group("", rows)], files=["strokes.csv"], words=True,
    )  # fmt: skip


def generation(of: Sources) -> Section:
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
        said = _likeness(of, stem) if stem in SAMPLED else ""
        parts += picture(of, task, stem, title, caption + said, f"{stem}.csv", alt)
    parts += _fid(of)
    return Section(
        "generation", "New drawings (Figs. 6 to 8)",
        "The same models, asked to draw: from nothing, like another drawing, or on from one that "
        "was begun.", parts,
    )  # fmt: skip


def _likeness(of: Sources, stem: str) -> str:
    """How like the data the samples of a picture are, as far as their FID was measured."""
    drawn = of.folder.table(f"{stem}.csv", ["run", "model"])
    table = of.folder.table("fid.csv", [*FID_COLUMNS, "tempered"])
    if drawn is None or table is None:
        return ""
    models = dict(zip(drawn.run, drawn.model, strict=True))
    # A column of True, False and nothing, for the floor has no temperature, is read as text.
    alike = (table.tempered.astype(str) == "True") == (stem == SAMPLED[1])
    found = fid.summary(table[(table.kind == "floor") | (alike & table.run.isin(models))])
    floors = found[found.kind == "floor"].set_index("dataset").fid
    said = [
        f"{models[row.run]} on {row.dataset} {number(row.fid, 1)} "
        f"({number(floors.get(row.dataset), 1)})"
        for row in rows_of(found[found.kind != "floor"])
    ]
    if not said:
        return ""
    return (
        f" FID against {listed(found, 'part')} images, in brackets that of as many training "
        f"images: {', '.join(said)}."
    )


def _fid(of: Sources) -> list[Part]:
    """Distances of samples from real images, means over sample seeds."""
    table = of.folder.table("fid.csv", FID_COLUMNS)
    if table is None:
        expected = "fid" in of.expected.commands or not of.expected.profile
        return [of.expected.gap("FID of the samples", "fid", of.folder)] if expected else []
    found = fid.summary(table)
    groups = [
        Group(f"against {dataset}", [
            [
                Cell(str(row.drawn_by)), Cell(around(row.fid, row.fid_std, 3)),
                Cell(around(row.kid, row.kid_std, 4)),
                Cell(around(row.precision, row.precision_std, 3)),
                Cell(around(row.recall, row.recall_std, 3)),
                Cell(around(row.paper_fid, row.paper_fid_std, 3)),
            ]
            for row in rows_of(part)
        ])
        for dataset, part in found.groupby("dataset", sort=False)
    ]  # fmt: skip
    return [Table(
        "fid", f"FID and KID of samples, less is better: {listed(table, 'images')} pictures a row, "
        f"{listed(table, 'features')} features, ± standard deviation over sample seeds. FID "
        "depends on the number of pictures: compare it with real against real. The paper's is on "
        "another scale, so that there is no difference to speak of.",
        ["drawn by", "FID", "KID", "precision", "recall", "the paper's FID"], groups,
        files=["fid.csv"], facts=facts(table),
    )]  # fmt: skip


def traces(of: Sources) -> Section:
    parts = picture(
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
            for row in rows_of(trace.means(table))
        ]  # fmt: skip
        parts.append(Table(
            "trace", "Strokes found in scribbles. A true stroke is found when one that was drawn "
            "lies close to it; a needless one lies close to none. Distances are in pixels of "
            "a 50-pixel canvas. The paper has no such table.",
            ["model, trained on", "images", "true strokes", "strokes", "found", "needless",
             "distance", "agreement of order"],
            [Group("", rows)], files=["trace.csv"], facts=facts(table),
        ))  # fmt: skip
    text = "What dood trace finds where the answer is known."
    if not parts:
        text += " This profile has no scribbles among its sets, so there is nothing to show."
    return Section("traces", "Strokes out of pictures", text, parts)

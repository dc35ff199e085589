"""Experiments with the files that they write: what a command and a task of `reproduce` share.

Every function takes runs, a loader that gives a run its images of a data set by name, and the
folder of the results; it returns what was measured and the paths that were written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.experiments import likelihood, strokes, trace
from doodcli.experiments.reconstruct import reconstruct
from doodcli.model.model import as_input
from doodcli.report.figures import (
    TraceRow,
    comparison_figure,
    counts_figure,
    reconstruction_figure,
    save_figure,
    traces_figure,
)
from doodcli.report.paths import as_paths
from doodcli.report.svg import drawing_svg, grid_svg
from doodcli.report.tables import write_csv, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.data.pages import Pages
    from doodcli.data.pictures import Sheet
    from doodcli.learning.runs import Run
    from doodcli.model.drawing import Drawing
    from doodcli.report.paths import Paths

SHOWN, IN_A_ROW = 40, 10
"""Drawings of a run in that overview, and in a row of it."""

# Two runs of one source have the same blank row.
SAME = ["run", "weights", "source_fingerprint", "target_fingerprint", "remark", "iwae_nats"]


class Study(NamedTuple):
    """What to try runs on, and where and how."""

    names: Sequence[str]
    """of the data sets"""
    load: Callable[[Run, str], ImageSet]
    """the images of a data set, as a run reads them"""
    seed: int = 0
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None
    """hears what is being done"""

    def sets(self, run: Run) -> list[ImageSet]:
        """The images on which a run is tried."""
        return [self.load(run, name) for name in self.names]


def reconstructions(runs: list[Run], study: Study, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Step-by-step drawings (Figs. 1 and 3): `reconstruct.*`; of several runs also `compare.*`."""
    rows = []
    for run in runs:
        study.tell(f"drawing {', '.join(study.names)} with {run.name}")
        rows.append([reconstruct(run, s, study.seed, study.device) for s in study.sets(run)])
    table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
    write_csv(table, out / "reconstruct.csv")
    paths = [
        *save_figure(reconstruction_figure(rows), out / "reconstruct"),
        out / "reconstruct.csv",
    ]
    if len({run.settings.model.resolution for run in runs}) > 1:
        study.tell("no comparison of the runs: they read pictures of different resolutions")
    elif len(rows) > 1:
        paths += save_figure(comparison_figure(rows), out / "compare")
    return table, paths


def stroke_counts(
    runs: list[Run], study: Study, out: Path
) -> tuple[pd.DataFrame, pd.DataFrame, list[Path]]:
    """Distributions of the number of strokes, `stroke_counts.*`, and the paper's claims.

    The claims, `stroke_claims.csv`, are of the runs whose own set and another are among the
    names; without any there is no such file.
    """
    parts = []
    for run in runs:
        study.tell(f"counting the strokes of {run.name} on {', '.join(study.names)}")
        parts += [strokes.count(run, s, study.seed, study.device) for s in study.sets(run)]
    counts = pd.concat(parts, ignore_index=True)
    claims = strokes.claims(counts)
    write_csv(counts, out / "stroke_counts.csv")
    paths = [out / "stroke_counts.csv", *save_figure(counts_figure(counts), out / "stroke_counts")]
    (out / "stroke_claims.csv").unlink(missing_ok=True)
    if len(claims):
        write_csv(claims, out / "stroke_claims.csv")
        paths.append(out / "stroke_claims.csv")
    return counts, claims, paths


def likelihoods(
    runs: list[Run], study: Study, source: Callable[[Run], ImageSet], samples: int
) -> pd.DataFrame:
    """IWAE bounds of every run on every set, and the blank page of each `source`, once."""
    parts = []
    for run in runs:
        study.tell(f"{run.name} on {', '.join(study.names)}: {samples} samples an image")
        sets = study.sets(run)
        parts.append(
            likelihood.likelihoods(run, source(run), sets, samples, study.seed, study.device)
        )
    return pd.concat(parts, ignore_index=True).drop_duplicates(SAME)


class Tracing(NamedTuple):
    """What to find the strokes of, and how."""

    pages: Callable[[Run], Pages]
    """the pictures, as a run reads them"""
    effort: trace.Effort = trace.Effort()
    device: str = "cpu"
    tell: Callable[[str], None] = lambda _: None
    """hears what is being done"""
    files: bool = True
    """whether every picture gets files of its own, or the table and the overview are all"""


def traces(runs: list[Run], what: Tracing, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Pictures as strokes: `trace.csv`, an overview `trace.*`, and three files for each picture.

    These are NAME.svg, NAME.animated.svg and NAME.json.  The overview has the first pictures of
    each run, under their true strokes where these are known.
    """
    for run in runs:
        trace.refuse_without_curves(run)
    tables, made = [], []
    rows: list[TraceRow] = []
    for run in runs:
        pages = what.pages(run)
        what.tell(f"tracing {len(pages.names)} pictures with {run.name}")
        model = run.model(what.device)
        found = trace.trace(model, pages.images, pages.index, what.effort, what.tell)
        drawn = _drawn(run, found.drawing, len(pages.names))
        tables.append(trace.table(run, pages, found, [one.overlap for one in drawn], what.effort))
        if what.files:
            made += _files(pages, found.drawing, drawn, tables[-1], out)
        if pages.truth is not None and not rows:
            rows += _overview("truth", pages, _drawn(run, pages.truth, SHOWN))
        rows += _overview(f"{run.settings.model.name}, {run.record['data']['name']}", pages, drawn)
    table = pd.concat(tables, ignore_index=True)
    write_csv(table, out / "trace.csv")
    cells = [drawing for row in rows for drawing in row.drawings]
    write_lines(grid_svg(cells, IN_A_ROW, coloured=True), out / "trace.svg")
    overview = [out / "trace.svg", *save_figure(traces_figure(rows), out / "trace")]
    return table, [out / "trace.csv", *overview, *made]


def _drawn(run: Run, drawing: Drawing, most: int) -> list[Paths]:
    """The first drawings of `[n, ...]` as paths."""
    count = min(most, len(drawing.present))
    each = (drawing.map(lambda part, k=k: part[k]) for k in range(count))
    return [as_paths(one, run.settings.model) for one in each]


def _overview(label: str, pages: Pages, drawn: list[Paths]) -> list[TraceRow]:
    """The first drawings of a run."""
    return [
        TraceRow(
            label,
            as_input(pages.images[first : first + IN_A_ROW]),
            drawn[first : first + IN_A_ROW],
        )
        for first in range(0, min(SHOWN, len(drawn)), IN_A_ROW)
    ]


def _files(
    pages: Pages, drawings: Drawing, drawn: list[Paths], table: pd.DataFrame, out: Path
) -> list[Path]:
    """What is written of each picture."""
    made = []
    known = table.astype(object).where(table.notna(), None)  # NaN is no JSON
    for k, (name, sheet, row) in enumerate(
        zip(pages.names, pages.sheets, known.to_dict("records"), strict=True)
    ):
        values = {
            **row,
            "drawing": {
                field: part[k].double().numpy().round(7).tolist()
                for field, part in drawings._asdict().items()
            },
            "paths": _in_pixels(drawn[k], sheet),
        }
        texts = {
            "svg": drawing_svg(drawn[k], sheet, name),
            "animated.svg": drawing_svg(drawn[k], sheet, name, animated=True),
            "json": json.dumps(values, indent=1) + "\n",
        }
        for suffix, text in texts.items():
            made.append(out / f"{name}.{suffix}")
            write_lines(text, made[-1])
    return made


def _in_pixels(drawn: Paths, sheet: Sheet) -> list[dict[str, Any]]:
    """Control points and widths of strokes in the pixels of their picture."""
    return [
        {"points": sheet.place(stroke.points).round(4).tolist(),
         "width": round(stroke.width * sheet.pixels, 4)}
        for stroke in drawn.strokes
    ]  # fmt: skip

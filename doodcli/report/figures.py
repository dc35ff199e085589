"""Pictures: grids of drawings, step-by-step reconstructions, training curves."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torchvision.utils import make_grid, save_image

from doodcli.errors import InputError
from doodcli.model.model import as_input
from doodcli.model.renderer import bezier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from torch import Tensor

    from doodcli.experiments.generate import Completions, Exemplars, Samples
    from doodcli.experiments.oneshot import Decision
    from doodcli.experiments.reconstruct import Reconstruction
    from doodcli.model.model import DrawingModel
    from doodcli.report.paths import Paths

# One colour a stroke, in drawing order; told apart by most eyes, dark enough on white.
COLOURS = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
NEW_INK = COLOURS[3]
SCREEN_DPI = 200
ROOMY = 8  # pictures beside each other that are as wide as a title
PANELS_IN_A_ROW = 5


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """The figure as PNG and PDF, whole or not at all; returns both paths."""
    paths = []
    for suffix in (".png", ".pdf"):
        path = stem.with_name(stem.name + suffix)
        draft = stem.with_name(f".{stem.name}.part{suffix}")
        # Without dates the same drawing is the same file.
        dateless: dict[str, Any] = (
            {"CreationDate": None} if suffix == ".pdf" else {"Software": None}
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(draft, dpi=SCREEN_DPI, bbox_inches="tight", metadata=dateless)
            draft.replace(path)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); choose another --out"
            ) from None
        paths.append(path)
    return paths


@torch.no_grad()
def save_progress(path: Path, model: DrawingModel, images: Tensor) -> None:
    """What a model that is learning draws: targets, reconstructions, samples of the prior."""
    targets = as_input(images)
    model.eval()
    drawing, _ = model.infer(targets)
    rows = torch.cat([targets, model.render(drawing)[0], model.render(model.imagine(len(images)))])
    model.train()
    draft = path.with_name(f".{path.name}.part.png")
    save_image(make_grid(1 - rows[:, None].cpu(), nrow=len(images), pad_value=0.8), draft)
    draft.replace(path)


def coloured(strokes: Tensor, present: Tensor) -> np.ndarray:
    """Strokes in colour on white: `[steps, R, R]` and `[steps]` → `[R, R, 3]` in [0, 1]."""
    paper = np.ones((*strokes.shape[1:], 3))
    for step, picture in enumerate(strokes[: int(present.sum())].cpu().numpy()):
        ink = picture[..., None] / max(float(picture.max()), 1e-6)
        paper = paper * (1 - ink) + np.array(COLOURS[step % len(COLOURS)]) * ink
    return paper


class Block(NamedTuple):
    """The pictures of one run on one data set: a row of tiles for each name."""

    label: str
    dataset: str
    names: list[str]
    rows: list[np.ndarray]
    """of each name `[n, R, R, 3]` in [0, 1], black ink on white"""

    @property
    def title(self) -> str:
        """Of two lines where one would be wider than the pictures."""
        gap = "\n" if len(self.rows[0]) < ROOMY else " "
        return f"{self.label}:{gap}{self.dataset}"

    def sheet(self) -> np.ndarray:
        """All tiles, framed, as one image `[height, width, 3]`."""
        tiles = np.pad(
            np.stack(self.rows), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=0.85
        )
        rows, columns, height, width, _ = tiles.shape
        sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
        return np.clip(sheet, 0, 1)


def blocks_figure(blocks: list[list[Block]]) -> Figure:
    """A block for each run (row) and set (column); a column of a block is an image."""
    sheets = [[block.sheet() for block in row] for row in blocks]
    height, width = sheets[0][0].shape[:2]
    inch = 1 / 110
    figure = Figure(
        figsize=(len(sheets[0]) * width * inch + 0.8, len(sheets) * (height * inch + 0.45))
    )
    axes = figure.subplots(len(sheets), len(sheets[0]), squeeze=False)
    for row, line in enumerate(blocks):
        for column, block in enumerate(line):
            axis, sheet = axes[row][column], sheets[row][column]
            axis.imshow(sheet, interpolation="nearest")
            axis.set_xticks([])
            axis.set_title(block.title, fontsize=8)
            tile = sheet.shape[0] / len(block.names)
            axis.set_yticks([(k + 0.5) * tile for k in range(len(block.names))])
            axis.set_yticklabels(block.names if column == 0 else [], fontsize=6)
            axis.tick_params(length=0)
            for side in axis.spines.values():
                side.set_visible(False)
    figure.tight_layout(pad=0.3, h_pad=1.5)
    return figure


def reconstruction_figure(items: list[list[Reconstruction]]) -> Figure:
    """Step-by-step drawings as in Figs. 1 and 3: a block for each run (row) and set (column).

    In a block, each column is an image: the target, the canvas after each stroke, and the
    strokes in colour in their order.
    """

    def block(item: Reconstruction) -> Block:
        names = ["target", *(str(step + 1) for step in range(len(item.canvases))), "strokes"]
        rows = [_grey(item.targets), *map(_grey, item.canvases)]
        rows.append(_coloured_rows(item.strokes, item.drawing.present))
        return Block(item.label, item.dataset, names, rows)

    return blocks_figure([[block(item) for item in row] for row in items])


def exemplars_figure(items: list[list[Exemplars]]) -> Figure:
    """New exemplars as in Fig. 7: a block for each run (row) and set (column).

    In a block, each column is an image: the target, the strokes of its parse in colour, and the
    exemplars.
    """

    def block(item: Exemplars) -> Block:
        names = ["target", "parse", *(str(k + 1) for k in range(len(item.pictures)))]
        rows = [_grey(item.targets), _coloured_rows(item.strokes, item.parse.present)]
        return Block(item.label, item.dataset, names, [*rows, *map(_grey, item.pictures)])

    return blocks_figure([[block(item) for item in row] for row in items])


def completions_figure(items: list[list[Completions]]) -> Figure:
    """Completions as in Fig. 8: a block for each run (row) and set (column).

    In a block, each column is an image: the whole picture, the partial one that is given, and
    the completions with their new ink in colour.
    """

    def block(item: Completions) -> Block:
        names = ["whole", "given", *(str(k + 1) for k in range(len(item.pictures)))]
        rows = [_grey(item.wholes), _grey(item.given)]
        rows += [_added(item.given, finished) for finished in item.pictures]
        return Block(item.label, item.dataset, names, rows)

    return blocks_figure([[block(item) for item in row] for row in items])


def _grey(pictures: Tensor) -> np.ndarray:
    """Pictures `[n, R, R]` in black on white, `[n, R, R, 3]`."""
    return np.repeat(1 - pictures.cpu().numpy()[..., None], 3, -1)


def _coloured_rows(strokes: Tensor, present: Tensor) -> np.ndarray:
    """The strokes `[steps, n, R, R]` of each image in colour, `[n, R, R, 3]`."""
    return np.stack([coloured(strokes[:, k], present[k]) for k in range(len(present))])


def _added(given: Tensor, finished: Tensor) -> np.ndarray:
    """Pictures `[n, R, R]` in black with what was drawn on them in colour, `[n, R, R, 3]`."""
    paper = 1 - given.clamp(0, 1)
    new = 1 - ((1 - finished.clamp(0, 1)) / paper.clamp_min(1e-6)).clamp(0, 1)
    ink = new.cpu().numpy()[..., None]
    return _grey(given) * (1 - ink * (1 - np.array(NEW_INK)))


def samples_figure(items: list[Samples]) -> Figure:
    """Samples of the prior (Fig. 6): a titled grid, as high as wide, for each run."""
    grids = []
    for item in items:
        columns = math.ceil(math.sqrt(len(item.pictures)))
        grid = make_grid(1 - item.pictures[:, None].cpu(), nrow=columns, pad_value=0.85)
        grids.append(grid.permute(1, 2, 0).clamp(0, 1).numpy())
    inch = max(3.2, grids[0].shape[1] / 110)
    wide = min(len(grids), PANELS_IN_A_ROW)
    high = math.ceil(len(grids) / wide)
    figure = Figure(figsize=(inch * wide, (inch + 0.2) * high))
    axes = list(figure.subplots(high, wide, squeeze=False).flat)
    for axis in axes:
        axis.axis("off")
    for axis, item, sheet in zip(axes, items, grids, strict=False):
        axis.imshow(sheet, interpolation="nearest")
        axis.set_title(item.title, fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def curve_figure(logs: list[tuple[str, pd.DataFrame]]) -> Figure:
    """Training curves: the ELBO and the strokes of a drawing over the images that were seen."""
    figure = Figure(figsize=(7, 2.6))
    bound, strokes = figure.subplots(1, 2)
    for title, log in logs:
        bound.plot(log["images"], log["elbo"], label=title, linewidth=1)
        strokes.plot(log["images"], log["strokes"], label=title, linewidth=1)
    bound.set_ylabel("ELBO of training batches (nats)")
    strokes.set_ylabel("strokes of a drawing")
    for axis in (bound, strokes):
        axis.set_xlabel("training images")
        axis.spines[["top", "right"]].set_visible(False)
    bound.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    return figure


def scaling_figure(table: pd.DataFrame) -> Figure:
    """The cost of a training step over each setting that it should be linear in, and the lines."""
    parts = list(table.groupby("setting", sort=False))
    figure = Figure(figsize=(3 * len(parts), 2.6))
    for axis, (name, part) in zip(figure.subplots(1, len(parts)), parts, strict=True):
        axis.plot(part["value"], part["line_milliseconds"], color="0.7", linewidth=1)
        axis.plot(part["value"], part["milliseconds"], "o", markersize=4)
        axis.set_xlabel(str(name))
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("milliseconds a step")
    figure.tight_layout()
    return figure


def comparison_figure(items: list[list[Reconstruction]]) -> Figure:
    """Several runs on the same targets (Fig. 3 a): a row of targets, then a row for each run.

    `items` is a row for each run, a column for each data set.
    """
    names = ["target", *(row[0].label for row in items)]
    sheets = []
    for column in zip(*items, strict=True):
        pictures = [column[0].targets, *(item.canvases[-1] for item in column)]
        tiles = torch.cat(pictures)[:, None].clamp(0, 1).cpu()
        grid = make_grid(1 - tiles, nrow=len(column[0].targets), padding=1, pad_value=0.85)
        sheets.append(grid.permute(1, 2, 0).numpy())
    height, width = sheets[0].shape[:2]
    inch = 1 / 110
    figure = Figure(figsize=(len(sheets) * width * inch + 1.2, height * inch + 0.4))
    axes = figure.subplots(1, len(sheets), squeeze=False)[0]
    for k, (axis, sheet) in enumerate(zip(axes, sheets, strict=True)):
        axis.imshow(sheet, interpolation="nearest")
        axis.set_title(items[0][k].dataset, fontsize=8)
        axis.set_xticks([])
        tile = height / len(names)
        axis.set_yticks([(row + 0.5) * tile for row in range(len(names))])
        axis.set_yticklabels(names if k == 0 else [], fontsize=7)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.3)
    return figure


def counts_figure(counts: pd.DataFrame) -> Figure:
    """How many strokes are used (Fig. 3 b to d): a panel for each run, a line for each set."""
    runs = list(counts.groupby("run", sort=False))
    wide = min(len(runs), PANELS_IN_A_ROW)
    high = math.ceil(len(runs) / wide)
    figure = Figure(figsize=(2.6 * wide + 0.6, 2.6 * high))
    axes = figure.subplots(high, wide, squeeze=False, sharey=True)
    for axis in axes.flat[len(runs) :]:
        axis.axis("off")
    for axis, (_, part) in zip(axes.flat, runs, strict=False):
        for colour, (dataset, line) in zip(
            itertools.cycle(COLOURS), part.groupby("dataset", sort=False), strict=False
        ):
            mean = (line.strokes * line.share).sum()
            label = f"{dataset} ({mean:.1f})"
            axis.plot(line.strokes, line.share, "o-", color=colour, markersize=3, label=label)
        axis.set_title(f"{part.model.iloc[0]}, trained on {part.source.iloc[0]}", fontsize=8)
        axis.set_xlabel("strokes", fontsize=7)
        axis.tick_params(labelsize=7)
        axis.legend(title="set (mean)", fontsize=6, title_fontsize=6)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of drawings", fontsize=7)
    figure.tight_layout(pad=0.4)
    return figure


class TraceRow(NamedTuple):
    """A row of an overview of traces."""

    label: str
    images: Tensor
    """`[n, R, R]` in [0, 1]"""
    drawings: list[Paths]
    """n of them: what was found in each image, or what it was drawn with"""


def traces_figure(rows: list[TraceRow]) -> Figure:
    """Strokes as curves on the pictures that they are of.

    A stroke's colour tells its turn, its dot where it begins.
    """
    columns = max(len(row.drawings) for row in rows)
    figure = Figure(figsize=(0.9 * columns + 0.9, 0.95 * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for cells, row in zip(axes, rows, strict=True):
        for k, axis in enumerate(cells):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(k < len(row.drawings))
            axis.spines[:].set_color("0.85")
            if k >= len(row.drawings):
                continue
            paper = 1 - 0.35 * row.images[k].cpu().numpy()
            axis.imshow(paper, "gray", vmin=0, vmax=1, extent=(-1, 1, 1, -1))
            for turn, stroke in enumerate(row.drawings[k].strokes):
                colour = COLOURS[turn % len(COLOURS)]
                curve = bezier(torch.from_numpy(stroke.points), 50)
                axis.plot(*curve.numpy().T, color=colour, linewidth=1.3)
                axis.plot(*curve[0], "o", color=colour, markersize=2.5)
            axis.set_xlim(-1, 1)
            axis.set_ylim(1, -1)
        cells[0].set_ylabel(row.label, fontsize=6)
    figure.tight_layout(pad=0.3)
    return figure


def transfer_figure(cells: pd.DataFrame, drawn: Mapping[tuple[str, str], Reconstruction]) -> Figure:
    """A heat map of sources (rows) and targets (Fig. 4), with targets and drawings in each cell.

    `cells` has `source`, `target` and `iwae_nats`; `drawn` the reconstructions, by source and
    target, of the cells that have some.
    """
    sources, targets = list(dict.fromkeys(cells.source)), list(dict.fromkeys(cells.target))
    value = cells.set_index(["source", "target"]).iwae_nats
    shades = mpl.colormaps["YlGn"]
    scale = mpl.colors.Normalize(value.min(), max(value.max(), value.min() + 1))
    figure = Figure(figsize=(1.55 * len(targets) + 0.8, 1.45 * len(sources) + 0.4))
    axes = figure.subplots(len(sources), len(targets), squeeze=False)
    for row, source in enumerate(sources):
        for column, target in enumerate(targets):
            axis = axes[row][column]
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(target, fontsize=8)
            if column == 0:
                axis.set_ylabel(source, fontsize=8)
            if (source, target) not in value:
                continue
            nats = value[source, target]
            axis.set_facecolor(shades(0.75 * scale(nats)))
            axis.text(0.5, 0.03, f"{nats:,.0f}", ha="center", va="bottom", fontsize=8,
                      transform=axis.transAxes)  # fmt: skip
            if (source, target) in drawn:
                item = drawn[source, target]
                tiles = torch.cat([item.targets, item.canvases[-1].clamp(0, 1)])[:, None].cpu()
                grid = make_grid(1 - tiles, nrow=len(item.targets), padding=1, pad_value=0.8)
                inset = axis.inset_axes((0.04, 0.22, 0.92, 0.75))
                inset.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
                inset.axis("off")
    figure.tight_layout(pad=0.3)
    return figure


DECISIONS = 6
"""Right ones that are shown of a model, and wrong ones."""


def decisions_figure(items: list[tuple[str, list[Decision]]]) -> Figure:
    """One-shot decisions, right and wrong: a titled block for each model.

    In a block, each column is a query: the query, the support that it was taken for, the token of
    that support in colours over the query, and where another was true the same of that one.
    """
    figure = Figure(figsize=(2 * DECISIONS * 0.62 + 1.2, 3.5 * len(items)))
    axes = figure.subplots(len(items), 1, squeeze=False)[:, 0]
    names = ["query", "taken for", "its token", "true", "its token"]
    for axis, (title, decisions) in zip(axes, items, strict=True):
        shown = [*_some(decisions, right=True), *_some(decisions, right=False)]
        sheet = np.concatenate([_decision_sheet(decision) for decision in shown], 1)
        axis.imshow(sheet, interpolation="nearest")
        right = sum(decision.right for decision in shown)
        axis.set_title(f"{title}: {right} right and {len(shown) - right} wrong", fontsize=8)
        tile = sheet.shape[0] / len(names)
        axis.set_yticks([(row + 0.5) * tile for row in range(len(names))])
        axis.set_yticklabels(names, fontsize=7)
        axis.set_xticks([(column + 0.5) * tile for column in range(len(shown))])
        axis.set_xticklabels([d.title.replace(", ", "\n") for d in shown], fontsize=5)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.3)
    return figure


def _some(decisions: list[Decision], *, right: bool) -> list[Decision]:
    """A few of the right or of the wrong ones, from first to last."""
    found = [decision for decision in decisions if decision.right == right]
    return found[:: max(1, len(found) // DECISIONS)][:DECISIONS]


def _decision_sheet(decision: Decision) -> np.ndarray:
    """A column of the picture, `[rows, columns, 3]`."""
    query = decision.query.cpu().numpy()[..., None]

    def over(strokes: Tensor) -> np.ndarray:
        return coloured(strokes, torch.ones(len(strokes))) * (1 - 0.35 * query)

    def grey(picture: Tensor) -> np.ndarray:
        return np.repeat(1 - picture.cpu().numpy()[..., None], 3, -1)

    tiles = [grey(decision.query), grey(decision.chosen.support), over(decision.chosen.strokes)]
    if decision.right:
        tiles += [np.ones_like(tiles[0])] * 2
    else:
        tiles += [grey(decision.true.support), over(decision.true.strokes)]
    framed = [np.pad(tile, ((1, 1), (1, 1), (0, 0)), constant_values=0.85) for tile in tiles]
    return np.clip(np.concatenate(framed, 0), 0, 1)

"""The picture of clusters of strokes (Fig. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from doodcli.experiments.cluster_map import Map

INCHES = 6.0
"""Side of the map."""

GAP = ((2, 2), (2, 2), (0, 0))
"""Pixels around a tile of a row."""


def clusters_figure(found: Map) -> Figure:
    """Strokes on a plane by t-SNE, with exemplars drawn where they lie, and a row a cluster.

    Colour and number are those of the cluster; number 1 is the largest.  A dot marks where a
    stroke starts.
    """
    count, columns = found.row_pictures.shape[:2]
    width = INCHES * columns / max(count, 8)
    figure = Figure(figsize=(INCHES + width + 1.0, INCHES + 0.6))
    plane, rows = figure.subplots(1, 2, width_ratios=[INCHES, width + 0.8])
    colours = [np.array(_colour(k, count)) for k in range(count)]
    _draw_plane(plane, found, colours)
    _draw_rows(rows, found, colours)
    figure.suptitle(found.title, fontsize=10)
    figure.tight_layout(pad=0.4)
    return figure


def _colour(cluster: int, count: int) -> tuple[float, ...]:
    """As many colours as clusters: ten that most eyes tell apart, or else twenty, in turn."""
    map_ = mpl.colormaps["tab10" if count <= 10 else "tab20"]
    return map_.colors[cluster % map_.N]  # type: ignore[attr-defined]


def _draw_plane(axis: Axes, found: Map, colours: list[np.ndarray]) -> None:
    (x, y), darkest = found.places.T, _darkest(found)
    shades = np.array(colours)[found.labels]
    axis.scatter(x, y, s=5, c=shades, alpha=0.5, linewidths=0, rasterized=True)
    middles, half = found.places[found.tiles], 0.48 * found.tile
    for middle, label, picture in zip(
        middles, found.labels[found.tiles], found.tile_pictures, strict=True
    ):
        (left, bottom), (right, top) = middle - half, middle + half
        tile, where = _tile(picture, colours[label], darkest), (left, right, bottom, top)
        axis.imshow(tile, extent=where, zorder=2, interpolation="none")
    if found.tile_starts is not None:
        _draw_starts(axis, middles, half, found.tile_starts.numpy())
    for cluster, one in enumerate(found.numbers):
        if one >= 0:
            axis.text(
                x[one], y[one], str(cluster + 1), color=0.75 * colours[cluster], fontsize=20,
                fontweight="bold", ha="center", va="center", zorder=5,
                path_effects=[withStroke(linewidth=3.5, foreground="white")],
            )  # fmt: skip
    axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", xticks=[], yticks=[])
    axis.set_title(f"t-SNE of {len(x):,} of them", fontsize=8)
    axis.spines[:].set_color("0.8")


def _draw_rows(axis: Axes, found: Map, colours: list[np.ndarray]) -> None:
    """A tile a unit: column k of cluster c has its middle at (k, −c)."""
    (count, columns), darkest = found.row_pictures.shape[:2], _darkest(found)
    sheet = np.concatenate(
        [
            np.concatenate(
                [np.pad(_tile(one, colour, darkest), GAP, constant_values=1) for one in row], 1
            )
            for row, colour in zip(found.row_pictures, colours, strict=True)
        ]
    )
    axis.imshow(sheet, extent=(-0.5, columns - 0.5, 0.5 - count, 0.5), interpolation="none")
    if found.row_starts is not None:
        middles = np.array([(k, -c) for c in range(count) for k in range(columns)])
        _draw_starts(axis, middles, 0.47, found.row_starts.flatten(0, 1).numpy())
    for cluster, colour in enumerate(colours):
        axis.text(
            -0.75, -cluster, str(cluster + 1), color=0.75 * colour, fontsize=15,
            fontweight="bold", ha="right", va="center",
        )  # fmt: skip
        share = found.sizes[cluster] / found.sizes.sum()
        axis.text(columns - 0.3, -cluster, f"{share:.0%}", fontsize=8, ha="left", va="center")
    axis.set(xlim=(-1.4, columns + 0.4), ylim=(0.5 - count, 0.5), aspect="equal")
    axis.set_title(
        "exemplars, from the closest to the cluster's centre to the farthest; share of all",
        fontsize=8,
    )
    axis.axis("off")


def _tile(picture: Tensor, colour: np.ndarray, darkest: float) -> np.ndarray:
    """A picture `[R, R]` in a colour on white, framed: `[R, R, 3]`; white where there is none."""
    tile = 1 - (picture / darkest).clamp(0, 1).numpy()[..., None] * (1 - 0.8 * colour)
    if picture.max() > 0:
        for edge in (tile[0], tile[-1], tile[:, 0], tile[:, -1]):
            edge[:] = colour
    return tile


def _darkest(found: Map) -> float:
    """The ink that is shown in full: the most that any exemplar has, unless all are faint."""
    return max(found.row_pictures.max().item(), 0.5)


def _draw_starts(axis: Axes, middles: np.ndarray, half: float, starts: np.ndarray) -> None:
    """Dots where strokes start: `starts` in [−1, 1], y down, of tiles around `middles`."""
    x, y = (middles + half * starts * (1, -1)).T
    axis.scatter(x, y, s=3.5, color="0.1", linewidths=0, zorder=4)

"""The tables and the picture of clusters and probes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from doodcli.experiments.cluster_map import Map
from doodcli.experiments.clusters import claims
from doodcli.report import paper
from doodcli.report.cluster_figures import clusters_figure
from doodcli.report.figures import COLOURS, save_figure
from doodcli.report.representation import write_clusters_tex, write_probe_tex

if TYPE_CHECKING:
    from pathlib import Path


def table(path: Path) -> list[list[str]]:
    """The header and the rows of a LaTeX table."""
    body = path.read_text().split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]


def summary(*rows: tuple[str, str, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": model, "source": source, "recipe": model + source, "dataset": source,
             "fingerprint": source, "remark": "", "clusters": k, "silhouette": value, "std": std,
             "one_way": value + 0.01, "one_way_std": std, "seeds": 2, "strokes": 1234}
            for model, source, k, value, std in rows
        ]
    )  # fmt: skip


def test_silhouettes_stand_beside_the_papers(tmp_path):
    found = summary(
        ("dood", "mnist", 5, 0.3, 0.05), ("dood", "mnist", 8, 0.2, math.nan),
        ("air-difference", "mnist", 5, 0.25, 0.01), ("air-difference", "mnist", 8, 0.25, 0.01),
        ("dood", "digits", 5, math.nan, math.nan), ("dood", "digits", 8, 0.1, 0.01),
        ("air", "mnist", 5, 0.1, 0.01), ("air", "mnist", 8, 0.1, 0.01),
    )  # fmt: skip
    write_clusters_tex(found, claims(found, 8), 8, tmp_path / "strokes.tex", "tab:x")
    header, *rows = table(tmp_path / "strokes.tex")
    assert header == ["model", "source", "dataset", "strokes", "k = 5", "k = 8",
                      "one way, k = 8", "paper, k = 8"]  # fmt: skip
    assert rows == [
        ["dood", "mnist", "mnist", "1,234", "0.300 ± 0.050", "0.200", "0.210", "0.21"],
        ["air-difference", "mnist", "mnist", "1,234", "0.250 ± 0.010", "0.250 ± 0.010",
         "0.260 ± 0.010", "0.11"],
        ["dood", "digits", "digits", "1,234", "--", "0.100 ± 0.010", "0.110 ± 0.010", "--"],
        ["air", "mnist", "mnist", "1,234", "0.100 ± 0.010", "0.100 ± 0.010", "0.110 ± 0.010",
         "--"],
    ]  # fmt: skip
    text = (tmp_path / "strokes.tex").read_text()
    # It is said where the paper's claim does not hold.
    said = "better than air-difference's codes does not hold for mnist (0.200 against 0.250)"
    assert said in text
    assert "better than air's codes holds for mnist (0.200 against 0.100)" in text


def test_probes_stand_beside_the_papers(tmp_path):
    rows = [
        ("dood", "mnist", "mnist", 0.9, 0.02, 0.95), ("dood", "mnist", "mine", 0.5, math.nan, None),
        ("air", "mnist", "mnist", 0.8, math.nan, None),
    ]  # fmt: skip
    found = pd.DataFrame(
        [
            {"model": model, "source": source, "recipe": model + source, "target": target,
             "accuracy": value, "std": std, "se": 0.003, "seeds": 1 if std is None else 2,
             "train_images": 100, "test_images": 50, "chance": 0.1 if target == "mnist" else 0.2,
             "paper_accuracy": math.nan if other is None else other}
            for model, source, target, value, std, other in rows
        ]
    )  # fmt: skip
    write_probe_tex(found, tmp_path / "probe.tex", "tab:x")
    assert table(tmp_path / "probe.tex") == [
        ["model", "source", "mnist", "mine"],
        ["dood", "mnist", "0.900 ± 0.020 (0.95)", "0.500 ± 0.003"],
        ["air", "mnist", "0.800 ± 0.003", "--"],
        ["commonest class", "", "0.100", "0.200"],
    ]
    assert "100 training images, 50 test images" in (tmp_path / "probe.tex").read_text()


def test_the_papers_numbers_of_the_representation():
    assert paper.SILHOUETTE == {"dood": 0.21, "air-difference": 0.11}
    for model, corner, last in (("dood", 0.95, 0.64), ("air-difference", 0.95, 0.68)):
        square = paper.PROBE[model]
        assert list(square) == list(paper.SETS)
        assert {tuple(row) for row in square.values()} == {paper.SETS[:4]}
        assert square["mnist"]["mnist"] == corner
        assert square["omniglot"]["quickdraw"] == last
    assert paper.PROBE["dood"]["emnist"]["kmnist"] == 0.46
    assert paper.PROBE["air-difference"]["quickdraw"]["quickdraw"] == 0.85


def drawn(codes: bool) -> Map:
    """A map of two clusters: bars across, and bars down."""
    across, down = torch.zeros(20, 20), torch.zeros(20, 20)
    across[10, 2:18] = 0.6
    down[2:18, 10] = 0.3
    rows = torch.stack([across.expand(3, 20, 20), down.expand(3, 20, 20)]).clone()
    rows[1, 2] = 0
    starts = torch.zeros(2, 3, 2)
    starts[1, 2] = torch.nan
    return Map(
        title="two kinds of strokes", places=np.array([[0, 0], [0.5, 0], [1, 1.0]]),
        labels=np.array([0, 0, 1]), sizes=np.array([3, 1]), numbers=np.array([0, -1]),
        tiles=np.array([1, 2]), tile=0.1, tile_pictures=torch.stack([across, down]),
        row_pictures=rows, tile_starts=None if codes else torch.zeros(2, 2),
        row_starts=None if codes else starts,
    )  # fmt: skip


def test_the_picture_of_clusters_has_their_tiles_numbers_and_shares():
    plane, rows = clusters_figure(drawn(codes=False)).axes
    # A cluster of which no stroke is on the plane has no number there.
    assert [text.get_text() for text in plane.texts] == ["1"]
    assert [text.get_text() for text in rows.texts] == ["1", "75%", "2", "25%"]
    assert len(plane.images) == 2
    (left, right, bottom, top) = plane.images[1].get_extent()
    assert ((left + right) / 2, (bottom + top) / 2) == (1, 1)
    (sheet,) = rows.images
    ink = 1 - np.asarray(sheet.get_array()).mean(2)
    side = ink.shape[0] // 2
    tiles = ink.reshape(2, side, 3, side).swapaxes(1, 2)
    inside = tiles[:, :, 4:-4, 4:-4]
    # The darkest is shown in full, others in proportion; what is not there is white, unframed.
    blue, orange = (np.mean(1 - 0.8 * np.array(COLOURS[k])) for k in (0, 1))
    assert inside[0].max() == pytest.approx(blue)
    assert inside[1].max() == pytest.approx(orange / 2)
    assert inside[0, 0].sum(1).argmax() == 8
    assert inside[1, 0].sum(0).argmax() == 8
    assert tiles[1, 2].max() == 0
    dots = rows.collections[0].get_offsets()
    assert np.isfinite(np.asarray(dots.filled(np.nan))).all(1).sum() == 5


def test_faint_pictures_stay_faint():
    found = drawn(codes=True)
    faint = found._replace(row_pictures=found.row_pictures / 10)
    sheet = np.asarray(clusters_figure(faint).axes[1].images[0].get_array())
    assert (1 - sheet.mean(2))[7:13, 7:13].max() < 0.1


def test_a_picture_of_codes_has_no_starts_and_is_written(tmp_path):
    figure = clusters_figure(drawn(codes=True))
    plane, rows = figure.axes
    assert len(plane.collections) == 1
    assert len(rows.collections) == 0
    for path in save_figure(figure, tmp_path / "strokes_air"):
        assert path.stat().st_size > 1000
    with Image.open(tmp_path / "strokes_air.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5

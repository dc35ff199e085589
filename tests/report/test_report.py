"""Tables that a paper can take as they are, and pictures that show what they should."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from doodcli.errors import InputError
from doodcli.experiments.generate import Completions, Exemplars, Samples
from doodcli.experiments.reconstruct import Reconstruction
from doodcli.model.drawing import Drawing
from doodcli.report.figures import (
    Block,
    coloured,
    comparison_figure,
    completions_figure,
    counts_figure,
    exemplars_figure,
    reconstruction_figure,
    samples_figure,
    save_figure,
    transfer_figure,
)
from doodcli.report.tables import write_csv, write_tex

FRAME = pd.DataFrame({"model": ["dood", "50% of_it & more"], "nats": ["6,800.1", "--"]})


def test_csv_holds_the_rows_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "a.csv"
    write_csv(FRAME, path)
    assert pd.read_csv(path).equals(FRAME)
    assert [p.name for p in path.parent.iterdir()] == ["a.csv"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_a_table_compiles_with_booktabs(tmp_path):
    write_tex(FRAME, tmp_path / "a.tex", "What 100% of it_is & was", "tab:a")
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{a.tex}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-800:]


def test_a_table_has_rules_and_escapes(tmp_path):
    write_tex(FRAME, tmp_path / "a.tex", "Caption", "tab:a")
    text = (tmp_path / "a.tex").read_text()
    for part in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"50\% of\_it \& more",
        r"\label{tab:a}",
    ):
        assert part in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_csv(FRAME, tmp_path / "file" / "a.csv")


def test_the_same_figure_is_the_same_file(tmp_path):
    from matplotlib.figure import Figure

    def draw(stem):
        figure = Figure()
        figure.subplots().plot([1, 2])
        return [path.read_bytes() for path in save_figure(figure, stem)]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert draw(tmp_path / "a" / "f") == draw(tmp_path / "b" / "f")


def test_each_stroke_has_its_colour_and_absent_ones_have_none():
    strokes = torch.zeros(3, 4, 4)
    strokes[0, 0, 0] = strokes[1, 1, 1] = strokes[2, 2, 2] = 0.5
    paper = coloured(strokes, torch.tensor([1.0, 1.0, 0.0]))
    assert (paper[0, 0] != paper[1, 1]).any()
    assert (paper[2, 2] == 1).all()
    assert (paper[3, 3] == 1).all()


# ------------------------------------------------------------------------- bold cells


def cells(path) -> list[list[str]]:
    """The body of a table, as LaTeX has it."""
    body = path.read_text().split("\\midrule\n")[1].split("\\bottomrule")[0]
    rows = [line.removesuffix(r" \\") for line in body.strip().splitlines()]
    return [row.split(" & ") for row in rows]


def test_bold_lands_on_its_cells_and_nowhere_else(tmp_path):
    frame = pd.DataFrame({"model": ["a", "b"], "x": ["1", "2"], "y": ["50% & _", "4"]})
    # Columns in another order, and one that the table does not have.
    bold = pd.DataFrame({"y": [True, False], "z": [True, True], "x": [False, True]})
    write_tex(frame, tmp_path / "a.tex", "Caption", "tab:a", bold)
    assert cells(tmp_path / "a.tex") == [
        ["a", "1", r"\textbf{50\% \& \_}"],
        ["b", r"\textbf{2}", "4"],
    ]


def test_without_bold_nothing_is_bold(tmp_path):
    write_tex(FRAME, tmp_path / "a.tex", "Caption", "tab:a")
    none = pd.DataFrame({"nats": [False, False]})
    write_tex(FRAME, tmp_path / "b.tex", "Caption", "tab:a", none)
    assert (tmp_path / "a.tex").read_text() == (tmp_path / "b.tex").read_text()
    assert "textbf" not in (tmp_path / "a.tex").read_text()


# -------------------------------------------------------------- pictures with gaps


def drawn(label: str, dataset: str = "digits", number: int = 2, steps: int = 3) -> Reconstruction:
    """What a figure needs of a reconstruction."""
    targets, canvases = torch.rand(number, 9, 9), torch.rand(steps, number, 9, 9)
    nothing = Drawing(*[torch.zeros(number)] * len(Drawing._fields))
    return Reconstruction(label, dataset, targets, nothing, canvases, canvases, pd.DataFrame())


def saved(figure, tmp_path) -> None:
    """The figure can be drawn, and is no blank page."""
    png, pdf = save_figure(figure, tmp_path / "figure")
    with Image.open(png) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    assert pdf.read_bytes().startswith(b"%PDF")


def grid_of(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "target", "iwae_nats"])


def test_a_transfer_picture_leaves_gaps_where_cells_are_missing(tmp_path):
    table = grid_of(("a", "a", 6000.4), ("a", "c", -70.0), ("b", "a", 1234.6), ("b", "b", 5.0))
    figure = transfer_figure(table, {("a", "a"): drawn("a"), ("b", "b"): drawn("b", number=1)})
    # Targets in the order in which they came: a, c, b.
    assert [axis.get_title() for axis in figure.axes] == ["a", "c", "b", "", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes] == ["a", "", "", "b", "", ""]
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert texts == [["6,000"], ["-70"], [], ["1,235"], [], ["5"]]
    pictures = [len(axis.child_axes) for axis in figure.axes]
    assert pictures == [1, 0, 0, 0, 0, 1]
    shades = [axis.get_facecolor() for axis in figure.axes]
    assert len({shades[0], shades[1], shades[3]}) == 3
    saved(figure, tmp_path)


@pytest.mark.parametrize("nats", [[-5.0], [-5.0, -5.0]])
def test_a_transfer_picture_of_one_value_can_be_drawn(tmp_path, nats):
    table = grid_of(*(("a", f"set{k}", value) for k, value in enumerate(nats)))
    saved(transfer_figure(table, {}), tmp_path)


def test_a_transfer_picture_takes_the_numbers_that_pandas_lets_be_missing(tmp_path):
    table = grid_of(("a", "a", 1.5), ("b", "a", 2.5), ("b", "b", 3.5)).convert_dtypes()
    saved(transfer_figure(table, {("a", "a"): drawn("a")}), tmp_path)


def test_a_comparison_has_a_row_a_run_whatever_their_numbers_of_strokes(tmp_path):
    items = [
        [drawn("dood", name, number, steps) for name, number in (("digits", 2), ("scribbles", 3))]
        for steps in (1, 6)
    ]
    figure = comparison_figure(items)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["digits", "scribbles"]
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["target", "dood", "dood"]
    saved(figure, tmp_path)


def test_counts_are_drawn_where_a_run_lacks_a_set(tmp_path):
    rows = [("r", "digits"), ("r", "scribbles"), ("s", "scribbles")]
    counts = pd.DataFrame(
        {"run": run, "model": "dood", "source": "digits", "dataset": dataset, "strokes": k,
         "share": share}
        for run, dataset in rows for k, share in enumerate([0.5, 0.0, 0.5])
    )  # fmt: skip
    figure = counts_figure(counts)
    lines = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes]
    assert lines == [["digits (1.0)", "scribbles (1.0)"], ["scribbles (1.0)"]]
    saved(figure, tmp_path)


# ------------------------------------------------------------------------ new drawings


def test_a_block_has_a_framed_tile_for_each_picture():
    rows = [np.zeros((2, 3, 3, 3)), np.full((2, 3, 3, 3), 0.5)]
    rows[1][1] = 7.0  # beyond white is white
    sheet = Block("a", "b", ["x", "y"], rows).sheet()
    assert sheet.shape == (2 * 5, 2 * 5, 3)
    assert (sheet[[0, 4, 5, 9]] == 0.85).all()
    assert (sheet[:, [0, 4, 5, 9]] == 0.85).all()
    assert (sheet[1:4, 1:4] == 0).all()
    assert (sheet[6:9, 1:4] == 0.5).all()
    assert (sheet[6:9, 6:9] == 1).all()


def test_a_title_is_no_wider_than_its_pictures():
    of = {n: Block("dood, trained on mnist", "omniglot", ["x"], [np.zeros((n, 3, 3, 3))])
          for n in (4, 8)}  # fmt: skip
    assert of[8].title == "dood, trained on mnist: omniglot"
    assert of[4].title.splitlines() == ["dood, trained on mnist:", "omniglot"]


def sheets(figure) -> list[np.ndarray]:
    return [np.asarray(axis.get_images()[0].get_array()) for axis in figure.axes]


def names(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_reconstruction_shows_targets_canvases_and_strokes():
    item = drawn("dood", steps=3)
    item = item._replace(drawing=item.drawing._replace(present=torch.ones(2, 3)))
    figure = reconstruction_figure([[item, item], [item, item]])
    assert [axis.get_title() for axis in figure.axes] == ["dood:\ndigits"] * 4
    assert names(figure) == ["target", "1", "2", "3", "strokes"]
    sheet = sheets(figure)[3].reshape(5, 11, 2, 11, 3)[:, 1:-1, :, 1:-1]
    for k in range(2):
        np.testing.assert_allclose(sheet[0, :, k, :, 0], 1 - item.targets[k].numpy())
        np.testing.assert_allclose(sheet[2, :, k, :, 1], 1 - item.canvases[1, k].numpy())
        expected = coloured(item.strokes[:, k], torch.ones(3))
        np.testing.assert_allclose(sheet[4, :, k], expected)


def test_exemplars_stand_below_their_target_and_its_parse():
    parse = Drawing(*[torch.ones(2, 3)] * len(Drawing._fields))
    pictures = torch.rand(4, 2, 9, 9) * 1.5  # AIR's canvas is a sum, that may pass white
    item = Exemplars(
        "air", "digits", torch.rand(2, 9, 9), parse, torch.rand(3, 2, 9, 9), pictures,
        pd.DataFrame(),
    )  # fmt: skip
    figure = exemplars_figure([[item]])
    assert names(figure) == ["target", "parse", "1", "2", "3", "4"]
    sheet = sheets(figure)[0].reshape(6, 11, 2, 11, 3)[:, 1:-1, :, 1:-1]
    np.testing.assert_allclose(sheet[0, :, 1, :, 2], 1 - item.targets[1].numpy())
    np.testing.assert_allclose(sheet[1, :, 1], coloured(item.strokes[:, 1], torch.ones(3)))
    expected = (1 - pictures[2, 1]).clamp(0, 1).numpy()
    np.testing.assert_allclose(sheet[4, :, 1, :, 0], expected)


def test_what_completes_a_drawing_is_in_colour_and_what_was_given_is_not():
    given = torch.zeros(1, 9, 9)
    given[0, 0], given[0, 1] = 1.0, 0.4
    finished = given.clone()
    finished[0, 0, 0] = finished[0, 4, 4] = 1.0  # on ink, and on paper
    finished[0, 1, 1] = 0.7
    item = Completions("dood", "digits", given + 0, given, finished[None], pd.DataFrame())
    figure = completions_figure([[item]])
    assert names(figure) == ["whole", "given", "1"]
    tile = sheets(figure)[0].reshape(3, 11, 11, 3)[2, 1:-1, 1:-1]
    assert (tile[0] == 0).all()  # black stays black
    np.testing.assert_allclose(tile[1, 0], 0.6, atol=1e-6)  # and grey grey
    red, green, blue = tile[4, 4]
    assert red > 0.7
    assert max(green, blue) < 0.3
    # Half of the paper that was left: half of the way from grey to colour.
    np.testing.assert_allclose(tile[1, 1], 0.6 * (1 + tile[4, 4]) / 2, atol=1e-6)
    assert (tile[5] == 1).all()


def test_samples_fill_a_square_under_their_title():
    items = [
        Samples(f"run {k}", Drawing(*[torch.zeros(0)] * 4), torch.rand(11, 9, 9), pd.DataFrame())
        for k in range(2)
    ]
    figure = samples_figure(items)
    assert [axis.get_title() for axis in figure.axes] == ["run 0", "run 1"]
    for item, sheet in zip(items, sheets(figure), strict=True):
        assert sheet.shape == (3 * 11 + 2, 4 * 11 + 2, 3)  # make_grid's frames are shared
        np.testing.assert_allclose(sheet[2:11, 2:11, 0], 1 - item.pictures[0].numpy())
        np.testing.assert_allclose(sheet[24:33, 24:33, 0], 1 - item.pictures[10].numpy())

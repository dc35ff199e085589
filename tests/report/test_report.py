"""Tables that a paper can take as they are, and pictures that show what they should."""

from __future__ import annotations

import shutil
import subprocess

import pandas as pd
import pytest
import torch

from doodcli.errors import InputError
from doodcli.report.figures import coloured, save_figure
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

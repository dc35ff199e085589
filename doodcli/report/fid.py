"""The table of FIDs, with the paper's numbers in a column of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from doodcli.experiments.fid import ENOUGH
from doodcli.report.tables import write_tex

if TYPE_CHECKING:
    from pathlib import Path

HOW = " as in the paper"
"""What the caption says once instead of every row."""


def write_fid_tex(summary: pd.DataFrame, path: Path, label: str) -> None:
    """`fid.tex`: of each data set the models, folders and the floor, and the paper's FID.

    `summary` is that of :mod:`doodcli.experiments.fid`.
    """
    theirs = zip(summary.paper_fid, summary.paper_fid_std, strict=True)
    reported = [_number(*pair, 3) for pair in theirs]
    rows = pd.DataFrame(
        {
            "data set": summary.dataset,
            "drawn by": summary.drawn_by.str.removesuffix(HOW),
            "FID": [_number(*pair, 2) for pair in zip(summary.fid, summary.fid_std, strict=True)],
            "KID": summary.kid.map("{:.4f}".format),
            "precision": summary.precision.map("{:.3f}".format),
            "recall": summary.recall.map("{:.3f}".format),
            "paper's FID": reported,
        }
    )
    remarks = summary[summary.remark.fillna("") != ""].drop_duplicates("dataset")
    said = [f"{name}: {why}." for name, why in zip(remarks.dataset, remarks.remark, strict=True)]
    first = summary.iloc[0]
    if first.images < ENOUGH * first.feature_size:
        said.append(
            f"Fewer pictures than {ENOUGH} for each of {first.feature_size} features: FID is "
            "higher than more would give, also the floor's."
        )
    text = (
        f"Samples of models that were trained on a data set against its {first.part} images: "
        f"{first.images:,} of each, features `{first.features}', means over {first.sample_seeds} "
        "seeds of samples and images, ± their standard deviation. tempered: as in the paper. "
        f"floor: training images against the same {first.part} images. The paper's FID is on "
        "another scale (logits of an ImageNet classifier, tempered samples): compare it with no "
        "other."
    )
    write_tex(rows, path, " ".join([text, *said]), label)


def _number(mean: float, std: float | None, decimals: int) -> str:
    """A mean with its deviation, if it has one."""
    if pd.isna(mean):
        return "--"
    text = f"{mean:.{decimals}f}"
    return text if pd.isna(std) else f"{text} ± {std:.{decimals}f}"

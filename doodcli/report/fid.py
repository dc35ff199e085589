"""The table of FIDs, with the paper's numbers in a column of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from doodcli.report.tables import write_tex

if TYPE_CHECKING:
    from pathlib import Path

DECIMALS = {"fid": 2, "kid": 4, "precision": 3, "recall": 3}
TITLES = {"fid": "FID", "kid": "KID", "precision": "precision", "recall": "recall"}


def write_fid_tex(summary: pd.DataFrame, path: Path, label: str) -> None:
    """`fid.tex`: of each data set the models, folders and the floor, and the paper's FID.

    `summary` is that of :mod:`doodcli.experiments.fid`.
    """
    columns = {
        title: [
            _number(mean, std, DECIMALS[name])
            for mean, std in zip(summary[name], summary[f"{name}_std"], strict=True)
        ]
        for name, title in TITLES.items()
    }
    reported = [
        _number(mean, std, 3)
        for mean, std in zip(summary.paper_fid, summary.paper_fid_std, strict=True)
    ]
    rows = pd.DataFrame(
        {
            "data set": summary.dataset,
            "drawn by": summary.drawn_by,
            **columns,
            "paper's FID": reported,
        }
    )
    remarks = summary[summary.remark.fillna("") != ""].drop_duplicates("dataset")
    said = [f"{name}: {why}." for name, why in zip(remarks.dataset, remarks.remark, strict=True)]
    first = summary.iloc[0]
    text = (
        f"Samples of models that were trained on a data set against its test images: "
        f"{first.images:,} of each, features `{first.features}', mean ± standard deviation over "
        f"{first.sample_seeds} seeds of samples and images. floor: training images against the "
        "same test images. The paper's FID is on another scale (logits of an ImageNet "
        "classifier, tempered samples), so compare it with none of the others."
    )
    write_tex(rows, path, " ".join([text, *said]), label)


def _number(mean: float, std: float | None, decimals: int) -> str:
    """A mean with its deviation, if it has one."""
    if pd.isna(mean):
        return "--"
    text = f"{mean:.{decimals}f}"
    return text if pd.isna(std) else f"{text} ± {std:.{decimals}f}"

"""How much samples look like real images: FID, KID, precision and recall (Fig. 6)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch

from doodcli.data.load import resized
from doodcli.devices import device_name
from doodcli.errors import InputError
from doodcli.experiments.generate import ROWS
from doodcli.learning.batches import batch_of_step
from doodcli.learning.features import SIDE
from doodcli.report import paper
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from doodcli.data.load import ImageSet
    from doodcli.experiments.extractors import Judge
    from doodcli.experiments.generate import Temperature
    from doodcli.learning.runs import Run

VERSION = 1
"""Raised when the same settings would give other numbers."""

LEAST = 10
"""Pictures below which nothing is measured: recall looks at the third neighbour."""

ENOUGH = 10
"""Pictures for each feature below which FID's bias is large."""

KID_SUBSET, KID_SUBSETS = 5000, 10
"""Pictures that KID compares at once, and how often, where there are more of them."""

FLOOR = "floor"
"""What real training images are called, which are scored as if they had been drawn."""

SEVERAL = ("fid", "kid", "precision", "recall")
"""The measures of a row."""


class Drawn(NamedTuple):
    """Pictures to be scored: samples of a run, real images, or a folder of pictures."""

    label: str
    kind: str
    """`model`, `floor` or `folder`"""
    pictures: Callable[[int, int], Tensor]
    """so many pictures for a seed: uint8 `[n, 50, 50]`, white ink on black"""
    facts: dict[str, Any]
    """what its rows say of it"""


class Asked(NamedTuple):
    """How many pictures are compared, how often, and who hears of it."""

    num: int
    sample_seeds: int
    seed: int = 0
    """the first of them"""
    tell: Callable[[str], None] = lambda _: None

    @property
    def seeds(self) -> range:
        """Of samples and of the images that they are compared with."""
        return range(self.seed, self.seed + self.sample_seeds)


def of_run(run: Run, temperature: Temperature, device: str) -> Drawn:
    """Samples of a run's prior."""
    model = run.model(device)

    def pictures(count: int, seed: int) -> Tensor:
        parts = []
        for first in range(0, count, ROWS):
            some = model.imagine(min(ROWS, count - first), seed, temperature.temper, first)
            with torch.no_grad():
                ink = model.render(some).clamp(0, 1)
            parts.append((255 * ink).round().byte().cpu())
        return at_side(torch.cat(parts))

    facts = {
        **run.provenance(),
        "temperature": temperature.name,
        "tempered": temperature.tempered,
    }
    return Drawn(run.settings.model.name + temperature.remark, "model", pictures, facts)


def temperatures_of(run: Run, temperatures: Sequence[Temperature]) -> list[Temperature]:
    """Those at which a run is sampled: the paper's factors are of control points, not of codes."""
    codes = run.settings.model.latent == "code"
    return [one for one in temperatures if not (codes and one.name == "paper")]


def of_images(images: ImageSet, kind: str) -> Drawn:
    """A random part of some images, another for each seed: the floor, or a folder's pictures."""
    facts = {"version": __version__, "git": git_version()}
    if kind != FLOOR:
        facts["source_fingerprint"] = images.fingerprint
    return Drawn(
        FLOOR if kind == FLOOR else images.name,
        kind,
        lambda count, seed: some_images(images, count, seed),
        facts,
    )


def some_images(images: ImageSet, count: int, seed: int) -> Tensor:
    """`count` random images, uint8 `[count, 50, 50]`."""
    return at_side(images.images[batch_of_step(len(images), count, seed, 0)])


def at_side(pictures: Tensor) -> Tensor:
    """Pictures uint8 `[n, R, R]` at the resolution at which they are compared."""
    return pictures if pictures.shape[-1] == SIDE else resized(pictures, SIDE)


def common_number(num: int, sizes: dict[str, int], tell: Callable[[str], None]) -> int:
    """So many pictures of each: `num`, or as many as the smallest of the `sizes` has.

    FID depends on their number, so it is the same for all rows.  InputError when it is too small.
    """
    name = min(sizes, key=lambda key: sizes[key])
    count = min(num, sizes[name])
    if count < num:
        tell(f"{name}: only {count:,}, so every row is of {count:,} and not of {num:,}")
    if count < LEAST:
        raise InputError(f"{name}: only {count}; at least {LEAST} are needed")
    return count


def measures(drawn: Tensor, real: Tensor, seed: int) -> dict[str, float]:
    """Of features `[n, size]` of what was drawn and `[n, size]` of what is real.

    KID is the unbiased estimate from all pictures, or from subsets where they are very many.
    """
    from torch_fidelity import metric_fid, metric_kid, metric_prc  # noqa: PLC0415  (an extra)

    statistics = map(metric_fid.fid_features_to_statistics, (drawn, real))
    distance = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    kernel = metric_kid.kid_features_to_metric(
        drawn.float(), real.float(), kid_subset_size=min(len(drawn), KID_SUBSET),
        kid_subsets=1 if len(drawn) <= KID_SUBSET else KID_SUBSETS, rng_seed=seed, verbose=False,
    )  # fmt: skip
    nearest = metric_prc.prc_features_to_metric(drawn, real, save_cpu_ram=True, verbose=False)
    return {
        "fid": distance[metric_fid.KEY_METRIC_FID],
        "kid": kernel[metric_kid.KEY_METRIC_KID_MEAN],
        "precision": nearest[metric_prc.KEY_METRIC_PRECISION],
        "recall": nearest[metric_prc.KEY_METRIC_RECALL],
    }


def measure(images: ImageSet, rows: Sequence[Drawn], judge: Judge, asked: Asked) -> pd.DataFrame:
    """Each of `rows` against random images of a set: a row for each and each sample seed.

    A seed decides the samples, and which images they are compared with: the same for all rows.
    """
    found = []
    for seed in asked.seeds:
        asked.tell(f"{images.name}: {len(rows)} rows of {asked.num:,}, seed {seed}")
        real = judge.features(some_images(images, asked.num, seed))
        for drawn in rows:
            began = time.monotonic()
            features = judge.features(drawn.pictures(asked.num, seed))
            found.append(
                {
                    "drawn_by": drawn.label,
                    "kind": drawn.kind,
                    **drawn.facts,
                    **_of_set(images),
                    "images": asked.num,
                    "sample_seed": seed,
                    **measures(features, real, seed),
                    **_paper(drawn, images),
                    **_of_judge(judge),
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
    return pd.DataFrame(found)


def _of_set(images: ImageSet) -> dict[str, Any]:
    return {
        "dataset": images.name,
        "part": images.part,
        "fingerprint": images.fingerprint,
        "remark": images.remark,
    }


def _of_judge(judge: Judge) -> dict[str, Any]:
    extractor = judge.extractor
    return {
        "features": extractor.features,
        "feature_size": extractor.size,
        "extractor": extractor.digest,
        "torch_fidelity": judge.version,
        "torch": torch.__version__,
        "device": device_name(judge.device),
        "threads": torch.get_num_threads(),
    }


def _paper(drawn: Drawn, images: ImageSet) -> dict[str, Any]:
    """The paper's number, on another scale: of its tempered samples, and of real images."""
    number: paper.Number = (math.nan, None)
    if drawn.kind == FLOOR:
        number = paper.FID_FLOOR.get(images.name, number)
    elif drawn.facts.get("temperature") == "paper":
        number = paper.FID.get(drawn.facts["model"], {}).get(images.name, number)
    return {"paper_fid": number[0], "paper_fid_std": number[1]}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over sample seeds, and their standard deviations, of each row of each set."""
    keys = ["dataset", "drawn_by", "kind", "run", "source_fingerprint", "temperature", "features",
            "images"]  # fmt: skip
    rows = table.reindex(columns=list(dict.fromkeys([*keys, *table.columns])))
    groups = rows.groupby(keys, sort=False, dropna=False)
    values: dict[str, Any] = {"sample_seeds": ("sample_seed", "nunique")}
    for name in SEVERAL:
        values |= {name: (name, "mean"), f"{name}_std": (name, "std")}
    found = groups.agg(
        **values,
        feature_size=("feature_size", "first"),
        part=("part", "first"),
        remark=("remark", "first"),
        paper_fid=("paper_fid", "first"),
        paper_fid_std=("paper_fid_std", "first"),
    ).reset_index()
    twice = found.duplicated(["dataset", "drawn_by"], keep=False) & found.run.notna()
    found["drawn_by"] = [
        f"{label} ({run})" if unclear else label
        for label, run, unclear in zip(found.drawn_by, found.run, twice, strict=True)
    ]
    return found

"""Clusters of strokes (Section 3.1, "Understanding learned representations", Fig. 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from doodcli.experiments.cluster_map import chart
from doodcli.experiments.fits import noted, recipe
from doodcli.experiments.strokes import parses

if TYPE_CHECKING:
    from torch import Tensor

    from doodcli.data.load import ImageSet
    from doodcli.experiments.cluster_map import Map
    from doodcli.learning.runs import Run
    from doodcli.model.model import DrawingModel

VERSION = 1
"""Raised when the same settings would give other numbers or pictures."""

COUNTS = (5, 8, 10, 15)
"""Numbers of clusters whose silhouettes are reported."""

STARTS, ITERATIONS = 10, 300
"""Of k-means: the best of so many starts, each of at most so many iterations."""

SCORED = 10_000
"""Strokes at most whose silhouettes are averaged: the time grows with their square."""

MEGABYTES = 128
"""Distances that are held at once."""

DOWNWARDS = (1.0, 2.0)
"""The direction (x, y) along which a stroke runs once one is chosen for it."""


class Parts(NamedTuple):
    """The strokes that a model sees in some images: in their own frames, without their layouts."""

    vectors: Tensor
    """`[n, points, 2]`, half frames, or `[n, code]`"""
    pen: Tensor
    """`[3]`, the median of their drawings'"""
    images: int
    """from which they come"""


class Clustering(NamedTuple):
    """A k-means of strokes."""

    labels: np.ndarray
    """`[n]`, the largest cluster is 0"""
    centres: np.ndarray
    """`[clusters, d]`"""
    silhouette: float
    """in −1 to 1; NaN where there is none"""
    scored: int
    """strokes whose silhouettes were averaged"""
    iterations: int
    note: str
    """what k-means warned of, or why there is no silhouette"""


class Found(NamedTuple):
    """What the clusters of a run are."""

    table: pd.DataFrame
    """a row for each number of clusters"""
    map: Map | None
    """None where there are too few strokes for one"""


def gather(model: DrawingModel, images: ImageSet, most: int, seed: int) -> Parts:
    """The strokes of images in a random order, up to `most`; one posterior sample of each."""
    # RandomState, because its stream is frozen for ever
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(images)))
    vectors, pens, whose = [], [], []
    seen = found = 0
    for drawing in parses(model, images, seed, order):
        here = drawing.present > 0
        vectors.append(drawing.strokes[here].cpu())
        whose.append(here.nonzero()[:, 0].cpu() + seen)
        pens.append(drawing.pen.cpu())
        seen, found = seen + len(here), found + len(vectors[-1])
        if found >= most:
            break
    # The image of the last stroke that is kept is the last that counts.
    used = int(torch.cat(whose)[most - 1]) + 1 if found >= most else seen
    return Parts(torch.cat(vectors)[:most], torch.cat(pens)[:used].median(0).values, used)


def one_way(points: Tensor) -> Tensor:
    """Strokes `[n, points, 2]`, each in one direction: a stroke drawn backwards is the same stroke.

    The rule: x + 2y grows from the first point to the last.  So strokes run downwards, and those
    that are level, or rise by less than 27°, to the right.  Where the ends do not decide, the next
    pair of points inwards does, and last, pair by pair, x alone.  Hence reversing a stroke changes
    nothing, and its curve is always the same.
    """
    chords = (points.flip(-2) - points)[:, : points.shape[-2] // 2]
    along = chords @ chords.new_tensor(DOWNWARDS)
    signs = torch.cat([along, chords[..., 0]], -1).sign()
    # The first sign that is not 0 decides; if there is none the stroke is its own reverse.
    first = (signs != 0).int().argmax(-1, keepdim=True)
    backwards = signs.gather(-1, first)[..., None] < 0
    return torch.where(backwards, points.flip(-2), points)


def cluster(vectors: np.ndarray, clusters: int, seed: int) -> Clustering:
    """k-means of `[n, d]`, and the mean silhouette (Rousseeuw 1987) of its clusters."""
    if len(vectors) <= clusters:
        note = f"{len(vectors)} strokes are too few for {clusters} clusters"
        return Clustering(np.zeros(len(vectors), int), vectors[:0], math.nan, 0, 0, note)
    with noted() as notes:
        fit = KMeans(clusters, n_init=STARTS, max_iter=ITERATIONS, random_state=seed).fit(vectors)
    order = np.argsort(-np.bincount(fit.labels_, minlength=clusters), kind="stable")
    labels = np.argsort(order)[fit.labels_]
    silhouette, scored = math.nan, 0
    if labels.any():
        scored = min(len(vectors), SCORED)
        subset = None if scored == len(vectors) else scored
        with config_context(working_memory=MEGABYTES):
            silhouette = silhouette_score(vectors, labels, sample_size=subset, random_state=seed)
    return Clustering(
        labels, fit.cluster_centers_[order], float(silhouette), scored, fit.n_iter_,
        "; ".join(notes),
    )  # fmt: skip


def measure(
    run: Run, images: ImageSet, clusters: int, most: int, seed: int, device: str, *, draw: bool
) -> Found:
    """Silhouettes of `clusters` clusters and of each of COUNTS; the map of the former if `draw`.

    Of the strokes as they are drawn, as in the paper, and beside it, where the strokes are curves,
    of strokes of which one direction was chosen.
    """
    model = run.model(device)
    parts = gather(model, images, most, seed)
    vectors = parts.vectors.flatten(1).double().numpy()
    curves = run.settings.model.decoder == "spline"
    turned = one_way(parts.vectors).flatten(1).double().numpy() if curves else None
    facts = {**_facts(run, images, parts), "evaluation_seed": seed}
    rows, found = [], {}
    for number in sorted({*COUNTS, clusters}):
        here = found[number] = cluster(vectors, number, seed)
        other = math.nan if turned is None else cluster(turned, number, seed).silhouette
        rows.append(
            {
                **facts,
                "clusters": number,
                "silhouette": here.silhouette,
                "silhouette_one_way": other,
                "silhouette_strokes": here.scored,
                "iterations": here.iterations,
                "note": here.note,
            }
        )
    shown, table = found[clusters], pd.DataFrame(rows)
    if not draw or math.isnan(shown.silhouette):
        return Found(table, None)
    noun = "codes" if run.settings.model.latent == "code" else "strokes"
    title = (
        f"{run.settings.model.name}, trained on {run.record['data']['name']}: {len(vectors):,} "
        f"{noun} of {parts.images:,} training images of {images.name}, "
        f"silhouette {shown.silhouette:.2f}"
    )
    return Found(table, chart(model, parts, shown, seed, title))


def _facts(run: Run, images: ImageSet, parts: Parts) -> dict[str, object]:
    return {
        **run.provenance(),
        "recipe": recipe(run),
        "dataset": images.name,
        "part": images.part,
        "fingerprint": images.fingerprint,
        "remark": images.remark,
        "images": parts.images,
        "latent": run.settings.model.latent,
        "dimensions": parts.vectors[0].numel() if len(parts.vectors) else 0,
        "strokes": len(parts.vectors),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and deviation over seeds, of runs that nothing else tells apart.

    A row for each model, data set and number of clusters; deviations are missing where there is
    one seed.
    """
    keys = ["model", "source", "recipe", "dataset", "fingerprint", "remark", "clusters"]
    return (
        table.groupby(keys, sort=False)
        .agg(
            silhouette=("silhouette", "mean"),
            std=("silhouette", "std"),
            one_way=("silhouette_one_way", "mean"),
            one_way_std=("silhouette_one_way", "std"),
            seeds=("seed", "nunique"),
            strokes=("strokes", "min"),
        )
        .reset_index()
    )


def claims(summary: pd.DataFrame, clusters: int) -> pd.DataFrame:
    """Whether strokes cluster better than AIR's codes, for each pair of such models.

    The paper says so of `air-difference`, trained on MNIST, and 8 clusters: elsewhere `paper` is
    False.  Each pair has the same source, data and number of clusters.
    """
    rows = []
    here = summary[(summary.clusters == clusters) & summary.silhouette.notna()]
    for _, mine in here[here.model == "dood"].iterrows():
        same = here[(here.source == mine.source) & (here.fingerprint == mine.fingerprint)]
        for _, other in same[same.model.isin(("air", "air-difference"))].iterrows():
            where = (other.model, mine.source, mine.dataset, clusters)
            rows.append(
                {
                    "claim": f"dood's strokes cluster better than {other.model}'s codes",
                    "source": mine.source, "dataset": mine.dataset, "clusters": clusters,
                    "paper": where == ("air-difference", "mnist", "mnist", 8),
                    "value": mine.silhouette, "against": other.silhouette,
                    "holds": mine.silhouette > other.silhouette,
                }
            )  # fmt: skip
    columns = ["claim", "source", "dataset", "clusters", "paper", "value", "against", "holds"]
    return pd.DataFrame(rows, columns=columns)

"""The tasks about what the latents say: clusters of strokes (Fig. 5) and linear probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from doodcli.data.load import load_images
from doodcli.experiments import clusters, probe
from doodcli.learning.train import training_images
from doodcli.pipeline.engine import Task
from doodcli.pipeline.studies import Study, probes, stroke_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.learning.runs import Run
    from doodcli.pipeline.graph import Suite

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""

CLUSTERS = 8
"""Of the pictures, as in the paper."""


class Sizes(NamedTuple):
    """How much a profile looks at; None is all."""

    strokes: int
    """that are clustered, of each run"""
    learn: int | None
    """training images of a probe"""
    test: int | None
    """test images of a probe"""


SIZES = {
    "tiny": Sizes(120, 60, 40),
    "smoke": Sizes(2000, None, None),
    "laptop": Sizes(10_000, 10_000, 2000),
    "paper": Sizes(10_000, None, None),
}


def tasks(suite: Suite) -> list[Task]:
    """Clusters and probes of every run of the suite."""
    needs = tuple(what.task for what in suite.trainings)
    return [
        Task("clusters", lambda: _key(suite, "clusters"), lambda: _clusters(suite),
             _clusters_command(suite), needs),
        Task("probe", lambda: _key(suite, "probe"), lambda: _probes(suite),
             _probe_command(suite), needs),
    ]  # fmt: skip


def _key(suite: Suite, name: str) -> dict[str, Any]:
    first = suite.settings(*suite.trainings[0])
    return {
        "task": name,
        "versions": [VERSION, clusters.VERSION if name == "clusters" else probe.VERSION],
        "weights": [run.weights for run in _runs(suite)],
        "targets": [
            _images(suite, target, "test", first.model.resolution, None).fingerprint
            for target in (suite.profile.targets if name == "probe" else ())
        ],
        "sizes": SIZES[suite.name],
        "clusters": CLUSTERS,
        "seed": suite.seed,
    }


def _clusters(suite: Suite) -> Sequence[Path]:
    def learned(run: Run) -> ImageSet:
        return training_images(run.settings, suite.plan.data_root)

    most = SIZES[suite.name].strokes
    return stroke_clusters(_runs(suite), _study(suite), learned, suite.out, CLUSTERS, most)[2]


def _probes(suite: Suite) -> Sequence[Path]:
    def learned(run: Run, name: str) -> ImageSet:
        side = run.settings.model.resolution
        return _images(suite, name, "train", side, SIZES[suite.name].learn)

    return probes(_runs(suite), _study(suite), learned, suite.out)[1]


def _clusters_command(suite: Suite) -> str:
    return (
        f"dood strokes cluster {_run_list(suite)} --clusters {CLUSTERS} "
        f"--limit-strokes {SIZES[suite.name].strokes} --seed {suite.seed}{suite.root()} "
        f"--out {suite.out}"
    )


def _probe_command(suite: Suite) -> str:
    sizes = SIZES[suite.name]
    learn = f" --limit-train {sizes.learn}" if sizes.learn else ""
    test = f" --limit {sizes.test}" if sizes.test else ""
    return (
        f"dood probe {_run_list(suite)} --target {','.join(suite.profile.targets)}{learn}{test} "
        f"--seed {suite.seed}{suite.root()} --out {suite.out}"
    )


def _run_list(suite: Suite) -> str:
    # `dood train` prints the folder of its run, also of one that is finished.
    return ",".join(f"$({suite.command(what)})" for what in suite.trainings)


def _runs(suite: Suite) -> list[Run]:
    return [suite.run(what) for what in suite.trainings]


def _study(suite: Suite) -> Study:
    """The test images of the profile's targets."""
    test = SIZES[suite.name].test

    def load(run: Run, name: str) -> ImageSet:
        return _images(suite, name, "test", run.settings.model.resolution, test)

    return Study(suite.profile.targets, load, suite.seed, suite.plan.device)


def _images(suite: Suite, name: str, part: str, side: int, limit: int | None) -> ImageSet:
    return load_images(
        name, part, data_root=suite.plan.data_root, resolution=side, limit=limit, seed=suite.seed
    )

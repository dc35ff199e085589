"""The tasks of `dood reproduce`, for each profile."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.data.load import load_images
from doodcli.errors import InputError
from doodcli.experiments import likelihood as likelihoods
from doodcli.experiments.reconstruct import reconstruct
from doodcli.learning.checkpoints import write_text
from doodcli.learning.runs import Run, open_run, run_name
from doodcli.learning.train import Plan, train
from doodcli.pipeline.engine import Task
from doodcli.report.figures import (
    curve_figure,
    reconstruction_figure,
    samples_figure,
    save_figure,
)
from doodcli.report.tables import write_csv, write_tex
from doodcli.settings import Settings, as_dict, change, preset, settings_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from doodcli.learning.train import Listener

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""


@dataclass(frozen=True)
class Profile:
    """A preset with its data sets and the sizes of its evaluation."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    samples: int
    limit: int | None
    pictures: int = 8


PAPER_SETS = ("mnist", "emnist", "kmnist", "quickdraw", "omniglot")
PROFILES = {
    "tiny": Profile(("digits", "scribbles"), ("digits", "scribbles"), 4, 16, 4),
    "smoke": Profile(("digits", "scribbles"), ("digits", "scribbles"), 50, 200),
    "laptop": Profile(("mnist",), PAPER_SETS, 200, 1000),
    "paper": Profile(PAPER_SETS, PAPER_SETS, 200, None),
}


@dataclass(frozen=True)
class Suite:
    """A profile, and where its runs and results live."""

    name: str
    out: Path
    plan: Plan
    seed: int = 0
    listener: Listener | None = None
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def profile(self) -> Profile:
        """The profile of that name; InputError when there is none."""
        if self.name not in PROFILES:
            raise InputError(f"--profile {self.name}: choose from {', '.join(PROFILES)}")
        return PROFILES[self.name]

    def settings(self, source: str) -> Settings:
        """The settings with which a source's model is trained."""
        base = change(preset(self.name), dict(self.changes))
        return replace(base, data=replace(base.data, dataset=source), seed=self.seed)

    def tasks(self) -> list[Task]:
        """Everything that the profile makes, in order."""
        trainings = [self._training(source) for source in self.profile.sources]
        names = tuple(task.name for task in trainings)
        extra = f" --dataset {','.join(self.profile.targets)}"
        runs = ",".join(f"RUN-{source}" for source in self.profile.sources)
        measure = f"dood likelihood {runs}{extra} --samples {self.profile.samples}"
        draw = f"dood reconstruct {runs}{extra} --num {self.profile.pictures}"
        return [
            *trainings,
            Task("training", self._key("training"), self._curves, "dood info RUN --out …", names),
            Task("reconstruct", self._key("reconstruct"), self._reconstruct, draw, names),
            Task("samples", self._key("samples"), self._samples, "model.imagine(40)", names),
            Task("likelihood", self._key("likelihood"), self._likelihood, measure, names),
        ]

    # ------------------------------------------------------------------ tasks

    def _training(self, source: str) -> Task:
        settings = self.settings(source)

        def key() -> dict[str, Any]:
            return {"settings": settings_hash(settings, self._images(source).fingerprint)}

        def work() -> list[Path]:
            run = train(settings, self.plan, self.listener)
            path = self.out / f"run-{source}.json"
            facts = {**run.provenance(), "settings": as_dict(run.settings)}
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts, indent=1) + "\n")
            return [path]

        command = f"dood train --dataset {source} --preset {self.name} --seed {self.seed}"
        return Task(f"train-{source}", key, work, command)

    def _key(self, experiment: str) -> Any:
        """The key of an experiment on all runs: weights, targets, sizes, versions."""

        def key() -> dict[str, Any]:
            return {
                "experiment": experiment,
                "versions": [VERSION, likelihoods.VERSION],
                "weights": [run.provenance()["weights"] for run in self._runs()],
                "targets": [
                    self._images(name, "test").fingerprint for name in self.profile.targets
                ],
                "profile": str(self.profile),
            }

        return key

    def _curves(self) -> Sequence[Path]:
        rows, logs = [], []
        for run in self._runs():
            last = run.log().tail(5).mean().to_dict()
            names = ("elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error")
            rows.append({**run.provenance(), **{name: last[name] for name in names}})
            logs.append((run.record["data"]["name"], run.log()))
        table = pd.DataFrame(rows)
        columns = ["model", "source", "training_images", "elbo", "strokes", "error"]
        return [
            *self._tables("training", table, columns, "Training: means over the last log rows."),
            *save_figure(curve_figure(logs), self.out / "training"),
        ]

    def _reconstruct(self) -> Sequence[Path]:
        rows = []
        for run in self._runs():
            sets = [self._images(n, "test", self.profile.pictures) for n in self.profile.targets]
            rows.append([reconstruct(run, images, self.seed, self.plan.device) for images in sets])
        table = pd.concat([item.table for row in rows for item in row], ignore_index=True)
        write_csv(table, self.out / "reconstruct.csv")
        figure = save_figure(reconstruction_figure(rows), self.out / "reconstruct")
        return [self.out / "reconstruct.csv", *figure]

    def _samples(self) -> Sequence[Path]:
        pictures = []
        for run in self._runs():
            model = run.model(self.plan.device)
            drawings = model.imagine(40, self.seed)
            pictures.append((f"trained on {run.record['data']['name']}", model.render(drawings)))
        return save_figure(samples_figure(pictures, 8), self.out / "samples")

    def _likelihood(self) -> Sequence[Path]:
        rows = []
        for run in self._runs():
            source = self._images(run.settings.data.dataset, "train")
            for name in self.profile.targets:
                target = self._images(name, "test", self.profile.limit)
                rows.append(
                    likelihoods.likelihood(
                        run, target, self.profile.samples, self.seed, self.plan.device
                    )
                )
                rows.append(likelihoods.blank(source, target))
        table = pd.concat(rows, ignore_index=True)
        columns = ["model", "source", "target", "images", "samples", "iwae_nats", "iwae_se",
                   "mean_abs_error", "mean_strokes"]  # fmt: skip
        text = "Log marginal likelihood, IWAE bound, nats an image; blank draws nothing."
        return self._tables("likelihood", table, columns, text)

    # ---------------------------------------------------------------- helpers

    def _tables(
        self, name: str, table: pd.DataFrame, columns: list[str], caption: str
    ) -> list[Path]:
        write_csv(table, self.out / f"{name}.csv")
        shown = table[columns].map(_for_print)
        write_tex(shown, self.out / f"{name}.tex", caption, f"tab:{self.name}-{name}")
        return [self.out / f"{name}.csv", self.out / f"{name}.tex"]

    def _runs(self) -> list[Run]:
        paths = []
        for source in self.profile.sources:
            settings = self.settings(source)
            paths.append(self.plan.runs / run_name(settings, self._images(source)))
        return [open_run(path) for path in paths]

    def _images(self, name: str, part: str = "train", limit: int | None = None) -> Any:
        side = self.settings(name).model.resolution
        return load_images(
            name, part, data_root=self.plan.data_root, resolution=side, limit=limit, seed=self.seed
        )


def _for_print(value: Any) -> Any:
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124  (not a number: a cell that has no value)
            return "--"
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.1f}"
    return value

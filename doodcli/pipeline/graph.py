"""The tasks of `dood reproduce`, for each profile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.data.load import load_images
from doodcli.errors import InputError
from doodcli.experiments import likelihood
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
from doodcli.settings import (
    PAPER_PROTOCOL,
    Settings,
    as_dict,
    change,
    change_by_text,
    check,
    preset,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.learning.train import Listener

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""


SAMPLES = 40
"""Drawings from the prior in the picture of samples."""

CURVE = ("elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error")
"""Terms of the bound in the table of trainings."""


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
    "laptop": Profile(("mnist",), PAPER_SETS, PAPER_PROTOCOL["samples"], 1000),
    "paper": Profile(PAPER_SETS, PAPER_SETS, PAPER_PROTOCOL["samples"], None),
}


@dataclass(frozen=True)
class Suite:
    """A profile, and where its runs and results live."""

    name: str
    out: Path
    plan: Plan
    seed: int = 0
    listener: Listener | None = None
    assignments: tuple[str, ...] = ()
    """changes of the preset's settings, as in --set"""

    @property
    def profile(self) -> Profile:
        """The profile of that name; InputError when there is none."""
        if self.name not in PROFILES:
            raise InputError(f"--profile {self.name}: choose from {', '.join(PROFILES)}")
        return PROFILES[self.name]

    def settings(self, source: str) -> Settings:
        """The settings with which a source's model is trained."""
        base = change_by_text(preset(self.name), self.assignments)
        return check(change(base, {"data.dataset": source, "seed": self.seed}))

    def tasks(self) -> list[Task]:
        """Everything that the profile makes, in order."""
        profile = self.profile
        trainings = [self._training(source) for source in profile.sources]
        names = tuple(task.name for task in trainings)
        # `dood train` prints the folder of its run, also of one that is finished.
        runs = ",".join(f"$({task.command})" for task in trainings)
        where = f"--dataset {','.join(profile.targets)} --seed {self.seed}{self._root()}"
        limit = f" --limit {profile.limit}" if profile.limit else ""
        out = f"--out {self.out}"
        # `dood info` takes one run at a time.
        infos = "; ".join(f"dood info $({task.command})" for task in trainings)
        commands: dict[str, tuple[Callable[[], Sequence[Path]], str]] = {
            "training": (self._curves, infos),
            "reconstruct": (
                self._reconstruct,
                f"dood reconstruct {runs} {where} --num {profile.pictures} {out}",
            ),
            "samples": (self._samples, f"doodcli.load(RUN).imagine({SAMPLES}, seed={self.seed})"),
            "likelihood": (
                self._likelihood,
                f"dood likelihood {runs} {where} --samples {profile.samples}{limit} {out}",
            ),
        }
        experiments = [
            Task(name, self._key(name), work, command, names)
            for name, (work, command) in commands.items()
        ]
        return [*trainings, *experiments]

    # ------------------------------------------------------------------ tasks

    def _training(self, source: str) -> Task:
        settings = self.settings(source)

        def key() -> dict[str, Any]:
            # The run itself counts: results that came without their runs need them again.
            path = self._path(source)
            weights = open_run(path).provenance()["weights"] if path.exists() else None
            return {"run": path.name, "weights": weights}

        def work() -> list[Path]:
            run = train(settings, self.plan, self.listener)
            path = self.out / f"run-{source}.json"
            facts = {**run.provenance(), "settings": as_dict(run.settings)}
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts, indent=1) + "\n")
            return [path]

        changes = "".join(f" --set {text}" for text in self.assignments)
        command = (
            f"dood train --dataset {source} --preset {self.name} --seed {self.seed} "
            f"--runs {self.plan.runs}{self._root()}{changes}"
        )
        return Task(f"train-{source}", key, work, command)

    def _key(self, experiment: str) -> Callable[[], dict[str, Any]]:
        """The key of an experiment on all runs: weights, targets, sizes, versions."""

        def key() -> dict[str, Any]:
            return {
                "experiment": experiment,
                "versions": [VERSION, likelihood.VERSION],
                "weights": [run.provenance()["weights"] for run in self._runs()],
                "targets": [
                    self._images(name, "test").fingerprint for name in self.profile.targets
                ],
                "profile": str(self.profile),
                "seed": self.seed,
            }

        return key

    def _curves(self) -> Sequence[Path]:
        rows, logs = [], []
        for run in self._runs():
            log = run.log()
            last = log.tail(5).mean().to_dict()
            rows.append({**run.provenance(), **{name: last[name] for name in CURVE}})
            logs.append((run.record["data"]["name"], log))
        columns = ["model", "source", "training_images", "training_minutes", *CURVE]
        return [
            *self._tables("training", pd.DataFrame(rows), columns, "Means over the last log rows."),
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
            drawings = model.imagine(SAMPLES, self.seed)
            pictures.append((f"trained on {run.record['data']['name']}", model.render(drawings)))
        return save_figure(samples_figure(pictures, 8), self.out / "samples")

    def _likelihood(self) -> Sequence[Path]:
        profile = self.profile
        targets = [self._images(name, "test", profile.limit) for name in profile.targets]
        parts = [
            likelihood.likelihoods(
                run,
                self._images(run.settings.data.dataset, "train"),
                targets,
                profile.samples,
                self.seed,
                self.plan.device,
            )
            for run in self._runs()
        ]
        columns = ["model", "source", "target", "images", "samples", "iwae_nats", "iwae_se",
                   "mean_abs_error", "mean_strokes"]  # fmt: skip
        text = "Log marginal likelihood, IWAE bound, nats an image; blank draws nothing."
        return self._tables("likelihood", pd.concat(parts, ignore_index=True), columns, text)

    # ---------------------------------------------------------------- helpers

    def _tables(
        self, name: str, table: pd.DataFrame, columns: list[str], caption: str
    ) -> list[Path]:
        write_csv(table, self.out / f"{name}.csv")
        shown = table[columns].map(_for_print)
        write_tex(shown, self.out / f"{name}.tex", caption, f"tab:{self.name}-{name}")
        return [self.out / f"{name}.csv", self.out / f"{name}.tex"]

    def _path(self, source: str) -> Path:
        return self.plan.runs / run_name(self.settings(source), self._images(source))

    def _runs(self) -> list[Run]:
        return [open_run(self._path(source)) for source in self.profile.sources]

    def _images(self, name: str, part: str = "train", limit: int | None = None) -> ImageSet:
        side = self.settings(name).model.resolution
        return load_images(
            name, part, data_root=self.plan.data_root, resolution=side, limit=limit, seed=self.seed
        )

    def _root(self) -> str:
        return f" --data-root {self.plan.data_root}" if self.plan.data_root else ""


def _for_print(value: Any) -> str:
    if pd.isna(value):
        return "--"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

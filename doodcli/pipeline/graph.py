"""The tasks of `dood reproduce`, for each profile."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.data import oneshot as oneshot_data
from doodcli.data.load import load_images
from doodcli.data.registry import short
from doodcli.errors import InputError, RunFailed
from doodcli.experiments import oneshot, strokes
from doodcli.experiments.oneshot import OneShotSettings
from doodcli.learning.checkpoints import write_text
from doodcli.learning.runs import Run, open_run, run_name
from doodcli.learning.train import Plan, train
from doodcli.pipeline import grid
from doodcli.pipeline.engine import Task
from doodcli.pipeline.studies import Study, one_shot, reconstructions, stroke_counts
from doodcli.report import paper
from doodcli.report.figures import curve_figure, samples_figure, save_figure
from doodcli.report.tables import write_csv, write_tex
from doodcli.settings import (
    PAPER_PROTOCOL,
    Settings,
    as_dict,
    change,
    change_by_text,
    check,
    flat,
    override,
    preset,
)
from doodcli.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from doodcli.data.load import ImageSet
    from doodcli.learning.train import Listener

VERSION = 1
"""Raised when the same settings would give other tables or pictures."""


MAIN = "dood"
"""The model whose drawings are shown stroke by stroke."""

NAMED_BY = {"model.name": "--model", "data.dataset": "--sources", "seed": "--seeds or --seed"}
"""Settings of which a suite has several values, and the options that give them."""

COMPARED = 4
"""Images of each set that all models draw side by side."""

SAMPLES = 40
"""Drawings from the prior in the picture of samples."""

CURVE = ("elbo", "likelihood", "kl_marks", "kl_on", "kl_pen", "strokes", "error")
"""Terms of the bound in the table of trainings."""


@dataclass(frozen=True)
class Profile:
    """A preset with what is trained on what, and the sizes of its evaluation."""

    trainings: tuple[tuple[str, str], ...]
    """model and data set of each"""
    targets: tuple[str, ...]
    samples: int
    limit: int | None
    pictures: int = 8
    steps: Mapping[str, int] = field(default_factory=dict)
    """of training, by model, instead of the preset's length"""
    episodes: str = "official"
    """of one-shot classification"""
    episode_limit: int | None = None
    one_shot: tuple[str, ...] = ()
    """changes of its settings, as in --set"""


OFFLINE_SETS = ("digits", "scribbles")
PROFILES = {
    "tiny": Profile(
        tuple(itertools.product(VARIANTS, ("digits",))), OFFLINE_SETS, 4, 16, 4,
        episodes="scribbles", episode_limit=1,
        one_shot=("parse.count=1", "parse.candidates=2", "parse.refine_steps=2", "token.steps=2",
                  "token.coarse_steps=1"),
    ),
    "smoke": Profile(
        (("dood", "digits"), ("dood", "scribbles")), OFFLINE_SETS, 50, 200,
        episodes="scribbles", episode_limit=4,
    ),
    # Every model learns from at least as many images as DooD; AIR's steps are so much cheaper that
    # it gets more of them, to train a quarter of an hour at least.
    "laptop": Profile(
        tuple(itertools.product(VARIANTS, ("mnist",))), paper.SETS, PAPER_PROTOCOL["samples"], 300,
        steps={**dict.fromkeys(VARIANTS, 2400), "air": 7000, "air-difference": 3600},
    ),
    "paper": Profile(
        (
            *itertools.product(VARIANTS, ("mnist",)),
            *itertools.product(("dood", "air-difference"), paper.SETS[1:]),
        ),
        paper.SETS, PAPER_PROTOCOL["samples"], None,
    ),
}  # fmt: skip


def profile(name: str, option: str = "--profile") -> Profile:
    """The profile of that name; InputError when there is none."""
    if name not in PROFILES:
        raise InputError(f"{option} {name}: choose from {', '.join(PROFILES)}")
    return PROFILES[name]


class Training(NamedTuple):
    """One run of a suite."""

    model: str
    source: str
    seed: int

    @property
    def name(self) -> str:
        """In the names of files and tasks."""
        return f"{self.model}-{short(self.source)}-s{self.seed}"

    @property
    def task(self) -> str:
        """The task that trains it."""
        return f"train-{self.name}"


@dataclass(frozen=True)
class Suite:
    """A profile, and where its runs and results live."""

    name: str
    profile: Profile
    out: Path
    plan: Plan
    seeds: tuple[int, ...] = (0,)
    """of trainings; the runs of the first are the ones that are drawn"""
    seed: int = 0
    """of evaluations"""
    listener: Listener | None = None
    assignments: tuple[str, ...] = ()
    """changes of the preset's settings, as in --set"""
    may_train: bool = True

    @property
    def trainings(self) -> list[Training]:
        """Every run of the suite."""
        return [Training(*what, seed) for what in self.profile.trainings for seed in self.seeds]

    def settings(self, model: str, source: str, seed: int) -> Settings:
        """The settings with which a model is trained on a data set."""
        base = override(preset(self.name), self._length(model))
        base = change(base, {"model.name": model, "data.dataset": source, "seed": seed})
        changed = change_by_text(base, self.assignments)
        for name, option in NAMED_BY.items():
            if flat(changed)[name] != flat(base)[name]:
                raise InputError(f"--set {name}: here {option} says it")
        return check(changed)

    def _length(self, model: str) -> dict[str, int]:
        steps = self.profile.steps.get(model)
        return {} if steps is None else {"learning.steps": steps}

    def tasks(self) -> list[Task]:
        """Everything that the profile makes, in order."""
        profile = self.profile
        shown = [what for what in self.trainings if what.seed == self.seeds[0]]
        names = tuple(what.task for what in shown)
        of_main = tuple(what.task for what in shown if what.model == MAIN)
        # `dood train` prints the folder of its run, also of one that is finished.
        runs = ",".join(f"$({self.command(what)})" for what in shown)
        drawing = ",".join(f"$({self.command(what)})" for what in shown if what.model == MAIN)
        where = f"--dataset {','.join(profile.targets)} --seed {self.seed}{self.root()}"
        limit = f" --limit {profile.limit}" if profile.limit else ""
        out = f"--out {self.out}"
        # `dood info` takes one run at a time.
        infos = "; ".join(f"dood info $({self.command(what)})" for what in shown)
        commands: dict[str, tuple[Callable[[], Sequence[Path]], str]] = {
            "training": (self._curves, infos),
            "reconstruct": (
                self._reconstruct,
                f"dood reconstruct {drawing} {where} --num {profile.pictures} {out}",
            ),
            "compare": (
                self._compare,
                f"dood reconstruct {runs} {where} --num {COMPARED} {out}/models",
            ),
            "strokes": (self._strokes, f"dood strokes count {runs} {where}{limit} {out}"),
            "samples": (self._samples, f"doodcli.load(RUN).imagine({SAMPLES}, seed={self.seed})"),
        }
        experiments = [
            Task(name, self._key(name), work, command, of_main if name == "reconstruct" else names)
            for name, (work, command) in commands.items()
        ]
        return [*self.training_tasks(), *experiments, *self._one_shot(), *grid.tasks(self)]

    def training_tasks(self) -> list[Task]:
        """Every run of the suite."""
        return [self._training(what) for what in self.trainings]

    def run(self, what: Training) -> Run:
        """A run that was trained.  InputError when it was not."""
        return open_run(self._path(what))

    def trained(self, what: Training) -> bool:
        """Whether a run is there and finished."""
        try:
            return bool(self.run(what).checkpoint.facts["finished"])
        except InputError:
            return False

    def command(self, what: Training) -> str:
        """The command that trains a run, and prints its folder."""
        length = "".join(f" --steps {steps}" for steps in self._length(what.model).values())
        changes = length + "".join(f" --set {text}" for text in self.assignments)
        return (
            f"dood train --model {what.model} --dataset {what.source} --preset {self.name} "
            f"--seed {what.seed} --runs {self.plan.runs}{self.root()}{changes}"
        )

    # ------------------------------------------------------------------ tasks

    def _training(self, what: Training) -> Task:
        settings = self.settings(*what)

        def key() -> dict[str, Any]:
            # The run itself counts: results that came without their runs need them again.
            path = self._path(what)
            weights = open_run(path).provenance()["weights"] if path.exists() else None
            return {"run": path.name, "weights": weights}

        def work() -> list[Path]:
            if not (self.may_train or self.trained(what)):
                raise RunFailed(f"is not trained; {self.command(what)}")
            run = train(settings, self.plan, self.listener)
            path = self.out / f"run-{what.name}.json"
            facts = {**run.provenance(), "settings": as_dict(run.settings)}
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts, indent=1) + "\n")
            return [path]

        return Task(what.task, key, work, self.command(what))

    def _key(self, experiment: str) -> Callable[[], dict[str, Any]]:
        """The key of an experiment on all runs: weights, targets, sizes, versions."""

        def key() -> dict[str, Any]:
            runs = self._main_runs() if experiment == "reconstruct" else self._runs()
            return {
                "experiment": experiment,
                "versions": [VERSION, strokes.VERSION, COMPARED, SAMPLES],
                "weights": [run.provenance()["weights"] for run in runs],
                "targets": [
                    self._images(self._first, name, "test").fingerprint
                    for name in self.profile.targets
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
            logs.append((_label(run), log))
        columns = ["model", "source", "training_images", "training_minutes", *CURVE]
        return [
            *self._tables("training", pd.DataFrame(rows), columns, "Means over the last log rows."),
            *save_figure(curve_figure(logs), self.out / "training"),
        ]

    def _reconstruct(self) -> Sequence[Path]:
        return reconstructions(self._main_runs(), self._study(self.profile.pictures), self.out)[1]

    def _compare(self) -> Sequence[Path]:
        return reconstructions(self._runs(), self._study(COMPARED), self.out / "models")[1]

    def _strokes(self) -> Sequence[Path]:
        _, claims, paths = stroke_counts(self._runs(), self._study(self.profile.limit), self.out)
        text = "What the paper says of the number of strokes, and what was measured."
        return [*paths, self._tex("stroke_claims", strokes.of_their_models(claims), text)]

    def _one_shot(self) -> list[Task]:
        """One-shot classification by the runs of the first seed, if the profile trains such.

        The official runs are for models that were trained on Omniglot.
        """
        profile = self.profile
        chosen = [
            what
            for what in self.trainings
            if what.seed == self.seeds[0]
            and (profile.episodes != oneshot_data.OFFICIAL or what.source == "omniglot")
        ]
        settings = OneShotSettings().changed(profile.one_shot)

        def asked() -> oneshot.Asked:
            episodes = oneshot_data.load_episodes(
                profile.episodes, data_root=self.plan.data_root, limit=profile.episode_limit,
                seed=self.seed,
            )  # fmt: skip
            return oneshot.Asked(episodes, settings, seed=self.seed, device=self.plan.device)

        def key() -> dict[str, Any]:
            return {
                "versions": [VERSION, oneshot.VERSION],
                "weights": [self.run(what).provenance()["weights"] for what in chosen],
                "episodes": [profile.episodes, profile.episode_limit, asked().episodes.fingerprint],
                "settings": settings.hash,
                "seed": self.seed,
            }

        def work() -> list[Path]:
            return one_shot([self.run(what) for what in chosen], asked(), self.out)[1]

        changes = "".join(f" --set {text}" for text in profile.one_shot)
        limit = f" --limit {profile.episode_limit}" if profile.episode_limit else ""
        command = (
            f"dood oneshot {','.join(f'$({self.command(what)})' for what in chosen)} --episodes "
            f"{profile.episodes}{limit}{changes} --seed {self.seed}{self.root()} --out {self.out}"
        )
        needs = tuple(what.task for what in chosen)
        return [Task("oneshot", key, work, command, needs)] if chosen else []

    def _samples(self) -> Sequence[Path]:
        pictures = []
        for run in self._runs():
            model = run.model(self.plan.device)
            drawings = model.imagine(SAMPLES, self.seed)
            pictures.append((_label(run), model.render(drawings)))
        return save_figure(samples_figure(pictures, 8), self.out / "samples")

    # ---------------------------------------------------------------- helpers

    def _tables(
        self, name: str, table: pd.DataFrame, columns: list[str], caption: str
    ) -> list[Path]:
        write_csv(table, self.out / f"{name}.csv")
        return [self.out / f"{name}.csv", self._tex(name, table[columns], caption)]

    def _tex(self, name: str, table: pd.DataFrame, caption: str) -> Path:
        path = self.out / f"{name}.tex"
        write_tex(table.map(_for_print), path, caption, f"tab:{self.name}-{name}")
        return path

    def _path(self, what: Training) -> Path:
        settings = self.settings(*what)
        return self.plan.runs / run_name(settings, self._images(settings, what.source, "train"))

    def _runs(self) -> list[Run]:
        """The runs that are drawn and counted: those of the first seed."""
        return [self.run(what) for what in self.trainings if what.seed == self.seeds[0]]

    def _main_runs(self) -> list[Run]:
        chosen = [what for what in self.trainings if what.seed == self.seeds[0]]
        return [self.run(what) for what in chosen if what.model == MAIN]

    def _study(self, limit: int | None) -> Study:
        return Study(
            self.profile.targets,
            lambda run, name: self._images(run.settings, name, "test", limit),
            self.seed,
            self.plan.device,
        )

    @property
    def _first(self) -> Settings:
        return self.settings(*self.trainings[0])

    def _images(
        self, settings: Settings, name: str, part: str, limit: int | None = None
    ) -> ImageSet:
        return load_images(
            name, part, data_root=self.plan.data_root, resolution=settings.model.resolution,
            limit=limit, seed=self.seed,
        )  # fmt: skip

    def root(self) -> str:
        """The option that names the folder of the data, in a command."""
        return f" --data-root {self.plan.data_root}" if self.plan.data_root else ""


def _label(run: Run) -> str:
    return f"{run.settings.model.name}, {run.record['data']['name']}"


def _for_print(value: Any) -> str:
    if pd.isna(value):
        return "--"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

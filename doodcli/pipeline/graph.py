"""The tasks of `dood reproduce`, for each profile."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from doodcli.data.load import load_images
from doodcli.data.registry import short
from doodcli.errors import InputError, RunFailed
from doodcli.experiments import generate, likelihood, strokes
from doodcli.learning.checkpoints import write_text
from doodcli.learning.runs import Run, open_run, run_name
from doodcli.learning.train import Plan, train
from doodcli.pipeline import (
    classification,
    fidelity,
    grid,
    refined,
    reporting,
    representation,
    tracing,
)
from doodcli.pipeline.engine import Size, Task
from doodcli.pipeline.studies import (
    Amounts,
    Draws,
    Study,
    completions,
    exemplars,
    export_run,
    reconstructions,
    samples,
    stroke_counts,
)
from doodcli.report import paper
from doodcli.report.figures import curve_figure, save_figure
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

SHOWN = {
    "reconstruct": (MAIN,),
    "samples-paper": (MAIN,),
    "exemplars": (MAIN, "air-difference"),
    "complete": (MAIN, "air-difference"),
}
"""Models of an experiment that is not of all: what the paper shows; its AIR is Difference-AIR."""

NAMED_BY = {"model.name": "--model", "data.dataset": "--sources", "seed": "--seeds or --seed"}
"""Settings of which a suite has several values, and the options that give them."""

COMPARED = 4
"""Images of each set that all models draw side by side."""

SAMPLES = 40
"""Drawings from the prior in the picture of samples."""

CHECKED, CHECKED_SAMPLES = 300, 50
"""Validation images on which an export is compared with its run, and samples of each."""

VARIATIONS = Amounts(num=8, samples=20)
"""Exemplars and completions of each image, and parses of which the best counts."""

STROKES_GIVEN = 1
"""Strokes of an image that is to be completed."""

NEW_DRAWINGS = ("samples", "samples-paper", "exemplars", "complete")
"""Experiments whose results the three above decide."""

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
    """of training, by model or by model-dataset, instead of the preset's length"""
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """of the preset's settings, as in --set, by patterns of model-dataset.  The weights of models
    say it to the keys of tasks, which are made of the rest"""
    refine: int = field(default=0, repr=False)
    """steps by which the images of a cell get posteriors of their own; 0: no such cells.  The keys
    of those cells say it"""
    scale_images: int = field(default=0, repr=False)
    """training images on which the likelihood's scales are learned anew for such posteriors"""
    exports: bool = False
    """keep the models with the results, in half precision"""
    episodes: str = "official"
    """of one-shot classification"""
    episode_limit: int | None = None
    one_shot: tuple[str, ...] = ()
    """changes of its settings, as in --set"""
    two_way: bool = False
    """score it two ways too"""


OFFLINE_SETS = ("digits", "scribbles")
PROFILES = {
    "tiny": Profile(
        tuple(itertools.product(VARIANTS, ("digits",))), OFFLINE_SETS, 4, 16, 4,
        episodes="scribbles", episode_limit=1,
        one_shot=("parse.count=1", "parse.candidates=2", "parse.refine_steps=2", "token.steps=2",
                  "token.coarse_steps=1"),
        refine=2, scale_images=4,
    ),
    "smoke": Profile(
        (("dood", "digits"), ("dood", "scribbles")), OFFLINE_SETS, 50, 200,
        episodes="scribbles", episode_limit=4, refine=10, scale_images=50,
    ),
    # Its models were trained before smaller encoders, batches of 64 and, on QuickDraw, shorter
    # strokes, which learn more in the same time.  Each learns from at least as many images as DooD;
    # on MNIST, and AIR on Omniglot, those whose steps are so much cheaper from more of them, to
    # train about as long.
    "laptop": Profile(
        (
            *itertools.product(("dood", "air-difference"), paper.SETS),
            *itertools.product(("dood-eg", "dood-dr", "dood-sp", "air"), ("mnist",)),
        ),
        paper.SETS, PAPER_PROTOCOL["samples"], 300,
        steps={
            **dict.fromkeys(VARIANTS, 3700), "dood-eg": 7400, "air": 8000,
            "air-difference-omniglot": 5400, "air-difference-mnist": 11_000,
        },
        changes={
            "*": (
                "model.stride=2", "model.channels=8,16,32", "model.glimpse_encoder=convolutions",
                "model.glimpse_channels=16,32,48", "learning.batch_size=128",
            ),
            "dood*-quickdraw": ("model.scale_most=1",),
        },
        exports=True, two_way=True,
    ),
    # On MNIST β = 2, which draws six strokes and has the higher bound on validation images.  Models
    # with codes were not tried at the preset's rate.
    "paper": Profile(
        (
            *itertools.product(VARIANTS, ("mnist",)),
            *itertools.product(("dood", "air-difference"), paper.SETS[1:]),
        ),
        paper.SETS, PAPER_PROTOCOL["samples"], 300,
        changes={"dood*-mnist": ("learning.beta=2",), "air*": ("learning.lr=0.001",)},
        refine=200, scale_images=256, exports=True, two_way=True,
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
    chosen: tuple[Training, ...] | None = None
    """do with these runs of the profile's, and without what is of others alone"""

    @property
    def trainings(self) -> list[Training]:
        """Every run of the suite."""
        every = [Training(*what, seed) for what in self.profile.trainings for seed in self.seeds]
        return every if self.chosen is None else [what for what in every if what in self.chosen]

    def of_trained(self) -> Suite:
        """The suite of the runs that are trained, or came with the results.

        InputError when there is none, or when the data of one cannot be read.
        """
        trained = tuple(what for what in self.trainings if _finished(self._path(what)))
        if not trained:
            raise InputError(
                f"--no-train: no model of profile {self.name} is trained, neither in "
                f"{self.plan.runs} nor in {self.out / 'weights'}"
            )
        return dataclasses.replace(self, chosen=trained)

    def settings(self, model: str, source: str, seed: int) -> Settings:
        """The settings with which a model is trained on a data set."""
        base = override(preset(self.name, source, model), self._length(model, source))
        base = change(base, {"data.dataset": source, "seed": seed})
        base = change_by_text(base, self._changes(model, source))
        changed = change_by_text(base, self.assignments)
        for name, option in NAMED_BY.items():
            if flat(changed)[name] != flat(base)[name]:
                raise InputError(f"--set {name}: here {option} says it")
        return check(changed)

    def _length(self, model: str, source: str) -> dict[str, int]:
        of = self.profile.steps
        steps = of.get(f"{model}-{source}", of.get(model))
        return {} if steps is None else {"learning.steps": steps}

    def _changes(self, model: str, source: str) -> list[str]:
        """What the profile changes of the preset, for a model on a data set."""
        name = f"{model}-{source}"
        of = self.profile.changes
        return [text for who, texts in of.items() if fnmatch.fnmatch(name, who) for text in texts]

    def tasks(self) -> list[Task]:
        """Everything that the profile makes, in order."""
        profile = self.profile
        where = f"--dataset {','.join(profile.targets)} --seed {self.seed}{self.root()}"
        limit = f" --limit {profile.limit}" if profile.limit else ""
        out = f"--out {self.out}"
        # `dood info` takes one run at a time.
        infos = "; ".join(f"dood info $({self.command(what)})" for what in self.shown("training"))
        drawing = f"dood reconstruct {self._made('reconstruct')} {where}"
        compared = f"dood reconstruct {self._made('compare')} {where}"
        counted = f"dood strokes count {self._made('strokes')} {where}"
        commands: dict[str, tuple[Callable[[], Sequence[Path]], str]] = {
            "training": (self._curves, infos),
            "reconstruct": (self._reconstruct, f"{drawing} --num {profile.pictures} {out}"),
            "compare": (self._compare, f"{compared} --num {COMPARED} {out}/models"),
            "strokes": (self._strokes, f"{counted}{limit} {out}"),
            **self._new_drawings(where, out),
        }
        experiments = [
            Task(name, self._key(name), work, command, tuple(w.task for w in self.shown(name)))
            for name, (work, command) in commands.items()
            if self.shown(name)
        ]
        exports = [self._export(what) for what in self.trainings if profile.exports]
        more = [
            *representation.tasks(self),
            *tracing.tasks(self),
            *classification.tasks(self),
            *fidelity.tasks(self),
            *grid.tasks(self),
            *refined.tasks(self),
        ]
        every = [*self.training_tasks(), *exports, *experiments, *more]
        return [*every, *reporting.tasks(self, every)]

    def _new_drawings(
        self, where: str, out: str
    ) -> dict[str, tuple[Callable[[], Sequence[Path]], str]]:
        """Samples, exemplars and completions: the work and the command of each task."""
        amounts = self._amounts
        each = f"--num {amounts.num} --samples {amounts.samples} --limit {COMPARED} {out}"
        many = f"--num {SAMPLES} --seed {self.seed} {out}"
        tempered = f"dood sample {self._made('samples-paper')} {many}"
        exemplars = f"dood exemplars {self._made('exemplars')} {where}"
        completed = f"dood complete {self._made('complete')} {where}"
        return {
            "samples": (self._samples, f"dood sample {self._made('samples')} {many}"),
            "samples-paper": (self._tempered, f"{tempered} --temperature paper"),
            "exemplars": (self._exemplars, f"{exemplars} {each}"),
            "complete": (self._complete, f"{completed} {each} --strokes-given {STROKES_GIVEN}"),
        }

    def _made(self, experiment: str) -> str:
        """The runs of an experiment, for a command in a shell."""
        # `dood train` prints the folder of its run, also of one that is finished.
        return ",".join(f"$({self.command(what)})" for what in self.shown(experiment))

    def training_tasks(self) -> list[Task]:
        """Every run of the suite."""
        return [self._training(what) for what in self.trainings]

    def run(self, what: Training) -> Run:
        """A run that was trained.  InputError when it was not."""
        return open_run(self._path(what))

    def trained(self, what: Training) -> bool:
        """Whether a run is there and finished, and the data that it is named by."""
        try:
            return _finished(self._path(what))
        except InputError:
            return False

    def command(self, what: Training) -> str:
        """The command that trains a run, and prints its folder."""
        length = "".join(f" --steps {steps}" for steps in self._length(*what[:2]).values())
        texts = [*self._changes(*what[:2]), *self.assignments]
        changes = length + "".join(f" --set {text}" for text in texts)
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
            return {"run": path.name, "weights": open_run(path).weights if path.exists() else None}

        def work() -> list[Path]:
            if not (self.may_train or self.trained(what)):
                raise RunFailed(f"is not trained; {self.command(what)}")
            # A model that came with the results needs no training; one that was cut would.
            run = (
                self.run(what)
                if self._is_exported(what) and self.trained(what)
                else train(settings, self.plan, self.listener)
            )
            path = self.out / f"run-{what.name}.json"
            facts = {**run.provenance(), "settings": as_dict(run.settings)}
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(facts, indent=1) + "\n")
            return [path]

        learning = settings.learning
        # A length is given in steps or in minutes.
        images = (learning.steps or 0) * learning.batch_size
        seconds = None if learning.minutes is None else 60 * learning.minutes
        size = Size(f"train-{what.model}", images, seconds)
        return Task(what.task, key, work, self.command(what), size=size)

    def _export(self, what: Training) -> Task:
        def held_out(run: Run, name: str) -> ImageSet:
            return self._images(run.settings, name, "validation", CHECKED)

        def key() -> dict[str, Any]:
            return {"version": likelihood.VERSION, "weights": self.run(what).weights}

        def work() -> Sequence[Path]:
            study = Study([what.source], held_out, self.seed, self.plan.device)
            return export_run(self.run(what), study, CHECKED_SAMPLES, self._exported(what))[1]

        command = (
            f"run=$({self.command(what)}); dood export $run --samples {CHECKED_SAMPLES} "
            f"--limit {CHECKED} --seed {self.seed}{self.root()} "
            f"--out {self.out}/weights/$(basename $run)"
        )
        size = Size(f"export-{what.model}", 1)
        return Task(f"export-{what.name}", key, work, command, (what.task,), size=size)

    def _key(self, experiment: str) -> Callable[[], dict[str, Any]]:
        """The key of an experiment on all runs: weights, targets, sizes, versions."""

        def key() -> dict[str, Any]:
            drawings = experiment in NEW_DRAWINGS
            of_drawings = [generate.VERSION, *self._amounts, STROKES_GIVEN] if drawings else []
            return {
                "experiment": experiment,
                "versions": [VERSION, strokes.VERSION, COMPARED, SAMPLES, *of_drawings],
                "weights": [run.weights for run in self._runs(experiment)],
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
        for run in self._runs("training"):
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
        return reconstructions(
            self._runs("reconstruct"), self._study(self.profile.pictures), self.out
        )[1]

    def _compare(self) -> Sequence[Path]:
        return reconstructions(self._runs("compare"), self._study(COMPARED), self.out / "models")[1]

    def _strokes(self) -> Sequence[Path]:
        _, claims, paths = stroke_counts(
            self._runs("strokes"), self._study(self.profile.limit), self.out
        )
        text = "What the paper says of the number of strokes, and what was measured."
        return [*paths, self.tex("stroke_claims", strokes.of_their_models(claims), text)]

    def _samples(self) -> Sequence[Path]:
        draws = Draws(SAMPLES, generate.Temperature.parse("1"), self.seed, self.plan.device)
        return samples(self._runs("samples"), draws, self.out)[1]

    def _tempered(self) -> Sequence[Path]:
        draws = Draws(SAMPLES, generate.Temperature.parse("paper"), self.seed, self.plan.device)
        return samples(self._runs("samples-paper"), draws, self.out)[1]

    def _exemplars(self) -> Sequence[Path]:
        study = self._study(COMPARED)
        return exemplars(self._runs("exemplars"), study, self._amounts, self.out)[1]

    def _complete(self) -> Sequence[Path]:
        study, runs = self._study(COMPARED), self._runs("complete")
        return completions(runs, study, self._amounts, STROKES_GIVEN, self.out)[1]

    # ---------------------------------------------------------------- helpers

    def _tables(
        self, name: str, table: pd.DataFrame, columns: list[str], caption: str
    ) -> list[Path]:
        write_csv(table, self.out / f"{name}.csv")
        return [self.out / f"{name}.csv", self.tex(name, table[columns], caption)]

    def tex(self, name: str, table: pd.DataFrame, caption: str) -> Path:
        path = self.out / f"{name}.tex"
        write_tex(table.map(_for_print), path, caption, f"tab:{self.name}-{name}")
        return path

    def _path(self, what: Training) -> Path:
        """The folder of a run; of its export where that is all there is."""
        return (
            self._exported(what) if self._is_exported(what) else self.plan.runs / self._name(what)
        )

    def _name(self, what: Training) -> str:
        settings = self.settings(*what)
        return run_name(settings, self._images(settings, what.source, "train"))

    def _exported(self, what: Training) -> Path:
        return self.out / "weights" / self._name(what)

    def _is_exported(self, what: Training) -> bool:
        """Whether the model came with the results, and no run of it is here."""
        return not (self.plan.runs / self._name(what)).exists() and self._exported(what).exists()

    def shown(self, experiment: str) -> list[Training]:
        """The trainings that an experiment draws or counts: those of the first seed."""
        models = SHOWN.get(experiment, tuple(VARIANTS))
        first = [what for what in self.trainings if what.seed == self.seeds[0]]
        return [what for what in first if what.model in models]

    def _runs(self, experiment: str) -> list[Run]:
        return [self.run(what) for what in self.shown(experiment)]

    @property
    def _amounts(self) -> Amounts:
        """Drawings of each image, and parses of which the best counts: no more than samples."""
        return Amounts(VARIATIONS.num, min(VARIATIONS.samples, self.profile.samples))

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

    def no_train(self) -> str:
        """The option that does without the models that are not trained, in a command."""
        return "" if self.chosen is None else " --no-train"

    def root(self) -> str:
        """The option that names the folder of the data, in a command."""
        return f" --data-root {self.plan.data_root}" if self.plan.data_root else ""


def _finished(path: Path) -> bool:
    """Whether a folder holds a run that is finished."""
    try:
        return bool(open_run(path).checkpoint.facts["finished"])
    except InputError:
        return False


def _label(run: Run) -> str:
    return f"{run.settings.model.name}, {run.record['data']['name']}"


def _for_print(value: Any) -> str:
    if pd.isna(value):
        return "--"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

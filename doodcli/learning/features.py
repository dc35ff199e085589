"""Features of ink: a small classifier of data sets, whose last hidden layer FID looks at.

Inception's features are of photographs.  These are of ink: one network learns the classes of all
data sets at once, with a head for each, so that what tells characters and drawings apart is in
its 128 features.  Its weights ship with the package (`doodcli/pretrained/features`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from doodcli.data.load import load_images
from doodcli.devices import device_name
from doodcli.errors import InputError, RunFailed
from doodcli.learning.batches import batch_of_step
from doodcli.learning.checkpoints import WEIGHTS, read_json, write_text
from doodcli.learning.export import HALVED_FROM
from doodcli.learning.runs import SHIPPED as MODELS
from doodcli.report.paper import SETS
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from doodcli.data.load import ImageSet

RECORD = "features.json"
"""What an extractor's folder says of it."""

SHIPPED = MODELS / "features"
"""The extractor that ships with the package."""

FORMAT = 1
"""Raised when an extractor's folder changes its meaning."""

SIDE = 50
"""Pixels a side of what the network reads."""

HELD_OUT = 10
"""One in so many training drawings is for testing, where the test images are of other classes."""

ROWS = 1000
"""Images that go through the network at a time."""

TOLD_EVERY = 200
"""Steps between two words about the loss."""


@dataclass(frozen=True)
class FeatureSettings:
    """The network and its training."""

    datasets: tuple[str, ...] = SETS
    """whose classes are learned"""
    channels: tuple[int, ...] = (16, 32, 64, 64)
    """of the convolutions, each of stride 2"""
    size: int = 128
    """features"""
    steps: int = 2500
    share: int = 32
    """images of each data set in a batch: of a small set as many as of a large one"""
    lr: float = 3e-3
    """of Adam, after a linear warm-up; then linear to 0"""
    warmup: int = 100
    """steps"""
    decay: float = 1e-4
    """of the weights (AdamW)"""
    seed: int = 0

    def rate(self, step: int) -> float:
        """Factor of the learning rate."""
        return min((step + 1) / self.warmup, 1 - step / self.steps)


class InkClassifier(nn.Module):
    """Strided convolutions, `size` features, and a linear head for each data set.

    The features are normalised and go through no nonlinearity: over the training images each has
    mean 0 and variance 1, and none is cut off at 0, as FID takes features for Gaussian.
    """

    def __init__(self, settings: FeatureSettings, classes: dict[str, int]) -> None:
        """`classes` is the number of classes by data set."""
        super().__init__()
        layers: list[nn.Module] = []
        side = SIDE
        for before, after in pairwise((1, *settings.channels)):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            side = (side + 1) // 2
        self.trunk = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(settings.channels[-1] * side**2, settings.size, bias=False),
            nn.BatchNorm1d(settings.size, affine=False),
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(settings.size, count) for name, count in classes.items()}
        )

    def features(self, images: Tensor) -> Tensor:
        """Features `[n, size]` of images uint8 `[n, 50, 50]`, white ink on black."""
        ink: Tensor = self.trunk(images[:, None].float() / 255)
        return ink


class Lesson(NamedTuple):
    """What the network learns of a data set, and what it is tested on."""

    name: str
    classes: Tensor
    """int64 `[c]`, the labels that the head tells apart, ascending"""
    learn: ImageSet
    test: ImageSet
    tested_on: str

    @staticmethod
    def load(name: str, data_root: Path | None, seed: int) -> Lesson:
        """The training split of a data set, and its test split.

        Where that is of other classes, as in Omniglot, a tenth of the training drawings is left
        out for the test.  InputError when there are not two classes to tell apart.
        """
        learn = load_images(name, "train", data_root=data_root, resolution=SIDE)
        test = load_images(name, "test", data_root=data_root, resolution=SIDE)
        tested_on = "test images"
        if not bool(torch.isin(test.labels, learn.labels).all()):
            order = batch_of_step(len(learn), len(learn), seed, 0)
            most = len(learn) // HELD_OUT
            learn, test = _some(learn, order[most:]), _some(learn, order[:most])
            tested_on = "training drawings that were held out"
        classes = learn.labels.unique()
        if len(classes) < 2:
            raise InputError(f"--dataset {name}: its images have one label; take a labelled set")
        return Lesson(learn.name, classes, learn, test, tested_on)

    def batch(self, settings: FeatureSettings, step: int) -> tuple[Tensor, Tensor]:
        """Images uint8 `[share, 50, 50]` and classes int64 `[share]` of a step."""
        chosen = batch_of_step(len(self.learn), settings.share, settings.seed, step)
        return self.learn.images[chosen], self._targets(self.learn.labels[chosen])

    def _targets(self, labels: Tensor) -> Tensor:
        return torch.searchsorted(self.classes, labels)

    @torch.no_grad()
    def accuracy(self, network: InkClassifier, device: str) -> float:
        """Of the head on the test images."""
        head = network.heads[self.name]
        right = 0
        for images, labels in zip(
            self.test.images.split(ROWS), self.test.labels.split(ROWS), strict=True
        ):
            answers = head(network.features(images.to(device))).argmax(1).cpu()
            right += int((self.classes[answers] == labels).sum())
        return right / len(self.test)

    def facts(self, accuracy: float) -> dict[str, Any]:
        """What the record says of the data set."""
        return {
            "name": self.name,
            "fingerprint": self.learn.fingerprint,
            "remark": self.learn.remark,
            "classes": len(self.classes),
            "train_images": len(self.learn),
            "test_images": len(self.test),
            "tested_on": self.tested_on,
            "test_accuracy": round(accuracy, 4),
        }


def _some(images: ImageSet, chosen: Tensor) -> ImageSet:
    """The images at these positions."""
    return dataclasses.replace(
        images,
        images=images.images[chosen],
        labels=images.labels[chosen],
        index=images.index[chosen],
        alphabets=None if images.alphabets is None else images.alphabets[chosen],
    )


@dataclass(frozen=True)
class Features:
    """A trained extractor in its folder."""

    path: Path
    settings: FeatureSettings
    record: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the weights."""
        return str(self.record["sha256"])[:16]

    def network(self) -> InkClassifier:
        """The network, ready to use."""
        network = InkClassifier(
            self.settings, {item["name"]: item["classes"] for item in self.record["data"]}
        )
        try:
            network.load_state_dict(load_file(self.path / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{self.path / WEIGHTS}: no readable weights ({error})") from None
        return network.eval()


def open_features(path: Path) -> Features:
    """The extractor of a folder.  InputError when it is none, or its weights were altered."""
    if not (path / RECORD).is_file():
        raise InputError(
            f"{path}: has no {RECORD}, so is no extractor; `dood fid train-features` makes one"
        )
    record = read_json(path / RECORD)
    if record.get("format") != FORMAT:
        raise InputError(
            f"{path / RECORD}: format {record.get('format')}, this version reads {FORMAT}"
        )
    try:
        digest = hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path / WEIGHTS}: cannot be read ({error.strerror})") from None
    if digest != record.get("sha256"):
        raise InputError(f"{path / WEIGHTS}: is truncated or altered (its sha256 differs)")
    try:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in record["settings"].items()
        }
        return Features(path, FeatureSettings(**values), record)
    except (LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{path / RECORD}: has no usable settings ({error})") from None


def train_features(
    settings: FeatureSettings,
    out: Path,
    data_root: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda _: None,
) -> Features:
    """Train an extractor and write it into the folder `out`, in half precision.

    The accuracies of its record are those of the weights that were written.
    """
    if out.exists() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise InputError(f"{out}: holds something that is no extractor; choose another --out")
    lessons = [Lesson.load(name, data_root, settings.seed) for name in settings.datasets]
    began = time.monotonic()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        classes = {lesson.name: len(lesson.classes) for lesson in lessons}
        network = InkClassifier(settings, classes).to(device).train()
    for step, loss in enumerate(_losses(network, lessons, settings, device), 1):
        if step % TOLD_EVERY == 0 or step == settings.steps:
            tell(f"step {step:,} of {settings.steps:,}: loss {loss:.3f}")
    facts = {
        "format": FORMAT,
        "version": __version__,
        "git": git_version(),
        "settings": dataclasses.asdict(settings),
        "seconds": round(time.monotonic() - began),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": "float16",
    }
    return _written(network, lessons, facts, out)


def _losses(
    network: InkClassifier, lessons: list[Lesson], settings: FeatureSettings, device: str
) -> Iterator[float]:
    """Train; yields the loss of each step, the mean over data sets of their cross-entropies."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, settings.rate)
    for step in range(settings.steps):
        batches = [lesson.batch(settings, step) for lesson in lessons]
        images = torch.cat([images for images, _ in batches]).to(device)
        features = network.features(images).split(settings.share)
        losses = [
            F.cross_entropy(network.heads[lesson.name](part), targets.to(device))
            for lesson, part, (_, targets) in zip(lessons, features, batches, strict=True)
        ]
        loss = torch.stack(losses).mean()
        value = loss.item()
        if not math.isfinite(value):
            raise RunFailed(f"step {step:,}: the loss is {value}; try a smaller --lr")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        yield value


def _written(
    network: InkClassifier, lessons: list[Lesson], facts: dict[str, Any], out: Path
) -> Features:
    """The folder of an extractor, which gets its name only when everything is in it."""
    draft = out.with_name(f".{out.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    tensors = {
        name: (value.half() if value.numel() >= HALVED_FROM else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(tensors, draft / WEIGHTS)
    sizes = [{"name": lesson.name, "classes": len(lesson.classes)} for lesson in lessons]
    facts = {
        **facts,
        "parameters": sum(part.numel() for part in network.parameters()),
        "sha256": hashlib.sha256((draft / WEIGHTS).read_bytes()).hexdigest(),
    }
    write_text(draft / RECORD, json.dumps({**facts, "data": sizes}, indent=1) + "\n")
    small = open_features(draft).network()
    data = [lesson.facts(lesson.accuracy(small, "cpu")) for lesson in lessons]
    write_text(draft / RECORD, json.dumps({**facts, "data": data}, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    draft.replace(out)
    return open_features(out)

"""Run folders: where a model, its settings and its log live, and how they are found again."""

from __future__ import annotations

import csv
import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from doodcli.errors import InputError
from doodcli.learning.checkpoints import WEIGHTS, newest_checkpoint, read_json, write_text
from doodcli.model.model import DrawingModel
from doodcli.settings import UNDECIDING, Settings, as_dict, flat, from_dict, settings_hash
from doodcli.version import __version__, git_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doodcli.data.load import ImageSet
    from doodcli.learning.checkpoints import Checkpoint

RECORD, LOG, LOCK = "run.json", "log.csv", "lock"
CARD = "README.md"
"""The model card of an export."""

PRETRAINED = "pretrained:"
"""Before the name of a model that ships with the package, where a run folder is asked for."""

SHIPPED = Path(__file__).parents[1] / "pretrained"

FORMAT = 1
"""Raised when a run folder's files change their meaning."""


def run_name(settings: Settings, images: ImageSet) -> str:
    """The folder of a run: what it is, and a hash of all that decides what it computes."""
    digits = settings_hash(settings, images.fingerprint)
    return f"{settings.model.name}-{images.name}-s{settings.seed}-{digits}"


@dataclass(frozen=True)
class Run:
    """A run folder that holds at least one whole checkpoint."""

    path: Path
    settings: Settings
    record: dict[str, Any]
    checkpoint: Checkpoint
    refused: list[str]
    """why newer checkpoints were not used, a line each"""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def weights(self) -> str:
        """Digest of the weights as they were trained, also of an export of them."""
        facts = self.checkpoint.exported or {"weights": self.checkpoint.facts["sha256"][WEIGHTS]}
        return str(facts["weights"])[:16]

    def model(self, device: str = "cpu") -> DrawingModel:
        """The trained model, ready to use."""
        model = DrawingModel(self.settings.model)
        try:
            model.load_state_dict(self.checkpoint.weights())
        except RuntimeError:
            raise InputError(
                f"{self.path}: its weights do not fit its settings; they were made by dood "
                f"{self.record['version']}, this is {__version__}"
            ) from None
        return model.to(device).eval()

    def log(self) -> pd.DataFrame:
        """The rows of the step log.  InputError when it is not there or cannot be read."""
        try:
            log = pd.read_csv(self.path / LOG)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / LOG}: cannot be read ({error})") from None
        if log.empty:
            raise InputError(f"{self.path / LOG}: holds no row")
        return log

    def provenance(self) -> dict[str, Any]:
        """What a result says of the model that it was measured with."""
        facts, model = self.checkpoint.facts, self.settings.model
        return {
            "run": self.name,
            "model": model.name,
            "source": self.record["data"]["name"],
            "seed": self.settings.seed,
            "preset": self.settings.preset,
            "pen": model.pen,
            "place": model.place,
            "likelihood_family": model.likelihood,
            "bound": model.pen != "amortised",
            "steps": facts["step"],
            "training_images": facts["images"],
            "training_minutes": round(facts["seconds"] / 60, 1),
            "training_device": ", then ".join(
                dict.fromkeys(map(_device_of, [*facts.get("before", []), facts]))
            ),
            "source_fingerprint": self.record["data"]["fingerprint"],
            "settings_hash": settings_hash(self.settings, self.record["data"]["fingerprint"]),
            "weights": self.weights,
            "precision": (self.checkpoint.exported or {"precision": "float32"})["precision"],
            "training_git": facts["git"],
            "version": __version__,
            "git": git_version(),
        }


def _device_of(part: dict[str, Any]) -> str:
    """The device of a part of a training, and whether other models shared it and its time."""
    together = part.get("models_together", 1)
    return part["device"] + (f" ({together} models in turns)" if together > 1 else "")


def open_run(path: Path) -> Run:
    """A run by its folder, or one that ships with the package as `pretrained:NAME`.

    InputError when it is none, or when no checkpoint of it is whole.
    """
    if str(path).startswith(PRETRAINED):
        path = _shipped(str(path).removeprefix(PRETRAINED))
    if not (path / RECORD).is_file():
        what = "no such folder" if not path.exists() else f"no run: it has no {RECORD}"
        raise InputError(f"{path}: {what}; `dood train` makes one")
    settings, record = read_record(path)
    checkpoint, refused = newest_checkpoint(path)
    if checkpoint is None:
        why = f" ({'; '.join(refused)})" if refused else ""
        raise InputError(f"{path}: holds no whole checkpoint{why}; train it again")
    return Run(path, settings, record, checkpoint, refused)


def pretrained() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(item.parent.name for item in SHIPPED.glob(f"*/{RECORD}"))


def _shipped(name: str) -> Path:
    if name not in pretrained():
        known = ", ".join(pretrained()) or "there is none"
        raise InputError(f"{PRETRAINED}{name}: no such model ships with dood; choose from {known}")
    return SHIPPED / name


def read_record(path: Path) -> tuple[Settings, dict[str, Any]]:
    """The settings and the record of a run folder."""
    record = read_json(path / RECORD)
    if record.get("format") != FORMAT:
        raise InputError(
            f"{path / RECORD}: format {record.get('format')}, this version reads {FORMAT}"
        )
    missing = {"version", "settings", "data", "extended"} - record.keys()
    if missing:
        raise InputError(f"{path / RECORD}: lacks {', '.join(sorted(missing))}; not a run's record")
    return from_dict(record["settings"], str(path / RECORD)), record


def write_record(path: Path, settings: Settings, images: ImageSet, extended: list[Any]) -> None:
    """Make or renew the record of a run."""
    record = {
        "format": FORMAT,
        "version": __version__,
        "settings": as_dict(settings),
        "data": {
            "name": images.name,
            "fingerprint": images.fingerprint,
            "images": len(images.images),
            "remark": images.remark,
        },
        "extended": extended,
    }
    write_text(path / RECORD, json.dumps(record, indent=1) + "\n")


def refuse_other_settings(path: Path, settings: Settings, images: ImageSet) -> None:
    """InputError listing each setting in which a run folder differs from what was asked."""
    stored, record = read_record(path)
    old, new = flat(stored), flat(settings)
    names = [name for name in new if old[name] != new[name] and name not in UNDECIDING]
    lines = [f"{name}: {old[name]} there, {new[name]} asked" for name in names]
    if record["data"]["fingerprint"] != images.fingerprint:
        lines.append(f"data: {record['data']['fingerprint']} there, {images.fingerprint} asked")
    if lines:
        raise InputError(
            f"{path}: made with other settings ({'; '.join(lines)}); "
            "use another --run-dir, or --extend for another length"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run folder, so that two processes cannot train it at once."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{path}: another process is training it; wait or stop it") from None
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


class Log:
    """The step log: a CSV file that holds no row of a step that was not kept."""

    def __init__(self, path: Path, step: int) -> None:
        """Open for a run that stands at `step`; rows after it, of a lost session, go."""
        self.path = path
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            # A row that was cut in the middle is of a step that will be done again.
            steps = [row.partition(",")[0] for row in lines]
            kept = lines[:1] + [
                row
                for row, number in zip(lines[1:], steps[1:], strict=True)
                if number.isdigit() and int(number) <= step
            ]
            write_text(path, "\n".join(kept) + "\n" if step else "")

    def write(self, row: dict[str, float]) -> None:
        """Add a row; the first brings the header."""
        new = not self.path.exists() or self.path.stat().st_size == 0
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})

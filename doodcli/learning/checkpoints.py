"""Checkpoints that are whole or do not count, and load without running pickled code.

A run folder holds ``run.json`` (settings and data), ``log.csv``, pictures, and the two newest
checkpoints: ``checkpoint-STEP/`` with ``weights.safetensors``, ``training.safetensors`` (not in an
export) and ``manifest.json``.  The manifest carries the sha256 of the files, because a flipped
byte loads silently; the folder gets its name only when everything is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from doodcli.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

WEIGHTS, TRAINING, MANIFEST = "weights.safetensors", "training.safetensors", "manifest.json"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    folder: Path
    facts: dict[str, Any]
    """step, seconds, images, finished…"""

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors."""
        return _load(self.folder / WEIGHTS)

    @property
    def exported(self) -> dict[str, Any] | None:
        """Of an export: the `precision` of its weights and the `weights` that they were made of."""
        return self.facts.get("exported")

    def training(self) -> dict[str, Tensor]:
        """The state of optimiser and baseline, which an export lacks."""
        return _load(self.folder / TRAINING)


def write_text(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def save_checkpoint(
    run: Path, weights: dict[str, Tensor], training: dict[str, Tensor] | None, facts: dict[str, Any]
) -> Path:
    """Write a checkpoint, then forget all but the newest two; `training` is None in an export."""
    folder = run / f"checkpoint-{facts['step']:08d}"
    draft = run / f".{folder.name}.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    sums = {}
    for name, tensors in ((WEIGHTS, weights), (TRAINING, training)):
        if tensors is None:
            continue
        save_file({key: value.contiguous() for key, value in tensors.items()}, draft / name)
        (draft / name).chmod(0o644)  # safetensors' 0600 would hide a shared run from others
        sums[name] = _sha256(draft / name)
    facts = {**facts, "sha256": sums}
    manifest = {**facts, "digest": _digest(facts)}
    write_text(draft / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    for old in _folders(run)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def newest_checkpoint(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and why each newer one was refused."""
    refused: list[str] = []
    for folder in _folders(run):
        try:
            return Checkpoint(folder, _verified(folder)), refused
        except (OSError, ValueError, LookupError, TypeError) as error:
            refused.append(f"{folder}: {error}; the checkpoint before it is used")
    return None, refused


def drop_drafts(run: Path) -> None:
    """Remove what a killed process left half-written."""
    for draft in run.glob(".*.part"):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                draft.unlink()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or InputError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: not JSON, so this run cannot be trusted") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object, so this run cannot be trusted")
    return value


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: no readable weights ({error}); train the run again") from None


def _folders(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoint-*"), reverse=True)


def _verified(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if facts.pop("digest") != _digest(facts):
        raise ValueError(f"{MANIFEST} is altered (its own digest differs)")
    for name in (WEIGHTS,) if facts.get("exported") else (WEIGHTS, TRAINING):
        if _sha256(folder / name) != facts["sha256"][name]:
            raise ValueError(f"{name} is truncated or altered (its sha256 differs)")
    return facts


def set_damaged_aside(run: Path, found: Checkpoint | None) -> None:
    """Rename the checkpoints newer than `found`: they are not whole, and must not count as kept."""
    for folder in _folders(run):
        if found is None or folder > found.folder:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.replace(aside)


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

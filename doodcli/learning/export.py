"""Trained models made small enough to pass on: run folders without the state of their training."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch

from doodcli.errors import InputError
from doodcli.learning.checkpoints import WEIGHTS, save_checkpoint
from doodcli.learning.runs import LOG, RECORD, Run, open_run

if TYPE_CHECKING:
    from pathlib import Path

HALVED_FROM = 4096
"""Numbers in a tensor from which on it is halved: the scales of the pixels and the pen stay."""


def export(run: Run, folder: Path) -> Run:
    """A run folder with the model of `run` in half precision, and no state of its training.

    It takes the place of an export that was there.  InputError when `folder` holds anything else,
    or when a weight is too large for half precision.
    """
    if folder.exists() and any(folder.iterdir()) and not _is_export(folder):
        raise InputError(f"{folder}: holds something that is no export; choose another --out")
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in (RECORD, LOG):
        shutil.copyfile(run.path / name, draft / name)
    weights = {}
    for name, value in run.checkpoint.weights().items():
        weights[name] = value.half() if value.numel() >= HALVED_FROM else value
        if not bool(torch.isfinite(weights[name]).all()):
            raise InputError(f"{run.path}: {name} is too large for half precision; not exported")
    facts = {name: value for name, value in run.checkpoint.facts.items() if name != "sha256"}
    made_of = run.checkpoint.exported or {"weights": run.checkpoint.facts["sha256"][WEIGHTS]}
    exported = {"precision": "float16", "weights": made_of["weights"]}
    save_checkpoint(draft, weights, None, {**facts, "exported": exported})
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    return open_run(folder)


def _is_export(folder: Path) -> bool:
    try:
        return open_run(folder).checkpoint.exported is not None
    except InputError:
        return False

"""Data sets: the registry, how they are fetched, prepared and split."""

from __future__ import annotations

from typing import Any

__all__ = ["ImageSet", "load_images"]


def __getattr__(name: str) -> Any:
    # Loading imports torch, which takes seconds; the command line only wants the registry.
    if name in __all__:
        from doodcli.data import load  # noqa: PLC0415

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The models of the paper: what fills each slot of the one core.

A model is the same loop whatever its name.  A variant fills five slots, and may start its
learning elsewhere.  Another variant is one more entry here, as long as codes come with a network
that draws them and with the fixed prior.
"""

from __future__ import annotations

from typing import Any

SLOTS: dict[str, Any] = {
    "model.latent": "points",
    "model.decoder": "spline",
    "model.guidance": True,
    "model.prior": "learned",
    "model.memories": "two",
}
"""The slots, and what fills them in `dood`."""

VARIANTS: dict[str, dict[str, Any]] = {
    "dood": {},
    # The ablations: execution guidance, spline renderer (Section 3.1), sequential prior.
    "dood-eg": {"model.guidance": False},
    "dood-dr": {"model.decoder": "neural", "model.place": "image"},
    "dood-sp": {"model.prior": "fixed"},
    # Attend-Infer-Repeat (Eslami et al. 2016), and the same told what is left to explain.
    "air": {
        "model.latent": "code",
        "model.decoder": "neural",
        "model.guidance": False,
        "model.prior": "fixed",
        "model.memories": "one",
        "model.pen": "none",
        "model.place": "image",
    },
    "air-difference": {
        "model.latent": "code",
        "model.decoder": "neural",
        "model.prior": "fixed",
        "model.memories": "one",
        "model.pen": "none",
        "model.place": "image",
    },
}


def slots(name: str) -> dict[str, Any]:
    """Every setting that a variant starts from; those of SLOTS are what it is."""
    return {**SLOTS, **VARIANTS[name]}

"""A pass on a pretended CUDA device: it may neither ask the device nor copy from the host.

What is recorded as a CUDA graph must do neither, and this tells so where there is no such device.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from doodcli.model.model import DrawingModel
from doodcli.model.noise import noise_for
from doodcli.settings import change, preset
from doodcli.variants import VARIANTS


class Watch(TorchDispatchMode):
    """Collects the operations that leave a device or come to it.

    What asks it for a number, or for a shape, fails by itself where there is no number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given, out = (
            {leaf.device.type for leaf in tree_leaves(what) if isinstance(leaf, Tensor)}
            for what in ((args, kwargs), made)
        )
        self.count += 1
        if len(given | out) > 1:
            self.found.append(str(func))
        return made


def test_what_copies_is_seen_and_what_asks_fails() -> None:
    with FakeTensorMode(), Watch() as watch:
        here = torch.zeros(3, device="cuda")
        _ = here + torch.ones(3).to("cuda")
        for ask in (here.nonzero, here.sum().item):
            with pytest.raises((DynamicOutputShapeException, DataDependentOutputException)):
                ask()
    assert len(watch.found) == 1


@pytest.mark.parametrize(
    ("model", "changes"),
    [*((model, {}) for model in VARIANTS), ("dood", {"model.likelihood": "normal"})],
)
def test_a_pass_stays_on_its_device(model: str, changes: dict[str, str]) -> None:
    settings = change(preset("tiny", "digits", model), changes).model
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            drawer = DrawingModel(settings)
        # Pretended tensors do not let a module be moved.
        for module in drawer.modules():
            module._buffers = {k: b.to("cuda") for k, b in module._buffers.items()}
        images = torch.zeros(5, 50, 50, device="cuda")
        index = torch.arange(5, device="cuda")
        for samples in (1, 3):
            noise = noise_for(index, samples, 0, first=torch.zeros(1, device="cuda").long())
            drawer.score(images, noise)  # constants are copied once
            with Watch() as watch:
                scored = drawer.score(images, noise)
            assert scored.canvas.device.type == "cuda"
            assert watch.count > 500
            assert not watch.found

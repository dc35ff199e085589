"""What a device is called, for the record beside a number."""

from __future__ import annotations

import platform
from pathlib import Path


def device_name(device: str) -> str:
    """The device in words: the accelerator's name, or the processor's where the system tells it."""
    if device.startswith("cuda"):
        # torch takes seconds to import, and a processor has a name without it.
        import torch  # noqa: PLC0415

        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

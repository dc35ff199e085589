"""Which device there is, what it is called, and how the processor is used well."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shlex
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from doodcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


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


# Parameters of mallopt, from <malloc.h>, and the values that they get here.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MEBIBYTE = 2**20


def keep_freed_memory() -> None:
    """Have the C library keep what tensors on the CPU free, for those that come next.

    By default glibc gives a megabyte that is freed back to the system, and the next step's tensors
    take page faults to get it again: one part in ten of a training step.  Larger tensors than any
    of a step still go back.  Where the C library is another, nothing changes.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, 32 * MEBIBYTE)
        mallopt(TRIM_THRESHOLD, 1024 * MEBIBYTE)
        mallopt(TOP_PAD, 64 * MEBIBYTE)


def usable(name: str) -> str:
    """A device that is there: `auto` is the accelerator if there is one.  Else InputError.

    Every command that computes asks here, so here the processor's memory is set up too.
    """
    import torch  # noqa: PLC0415

    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # but in tensor_cores; for products that is so anyway
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(
            f"--device {name}: this machine has no such device; use cpu or auto"
        ) from None
    return name


@contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """On a CUDA device products and convolutions round their factors to TF32, of ten bits.

    They still sum in float32.  For training; elsewhere, and on other devices, float32 stays what it
    is.
    """
    import torch  # noqa: PLC0415

    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def cpp_compiler() -> str:
    """The C++ compiler that `torch.compile` calls on this machine's processor."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def require_compiler(device: str) -> None:
    """InputError where `--compile` cannot work on `device` because a compiler is missing."""
    name = cpp_compiler()
    if not device.startswith("cuda") and not any(map(shutil.which, shlex.split(name)[:1])):
        raise InputError(
            f"--compile: there is no C++ compiler {name} here, which compiling for a processor "
            "needs; install it, name another in $CXX, or leave --compile out"
        )

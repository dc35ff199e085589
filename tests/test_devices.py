"""How the processor is used: its memory, and when its steps are compiled."""

import platform
import subprocess
import sys

import pytest

from doodcli import devices
from doodcli.errors import InputError

TENSORS = """
import resource
import sys
import torch
from doodcli.devices import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def step():
    held = [torch.ones(1 << 18) for _ in range(24)]
    del held
for _ in range(3):  # what is asked for the first time is never there yet
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", TENSORS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    usual = faults("as it is")
    if not usual:
        pytest.skip("this system faults on no page as it is, or does not count them")
    assert faults("kept") * 10 < usual


def test_compiling_for_a_processor_needs_a_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    with pytest.raises(InputError, match=r"--compile: there is no C\+\+ compiler no-such.*\$CXX"):
        devices.require_compiler("cpu")
    devices.require_compiler("cuda")  # needs another, which Triton looks for

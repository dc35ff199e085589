"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As many threads on every machine, as rounding depends on them; more would not pay here."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real data sets, where there is one."""
    folder = os.environ.get("DOOD_DATA_ROOT")
    if not folder:
        pytest.skip("$DOOD_DATA_ROOT does not name the folder of the data sets")
    return Path(folder)

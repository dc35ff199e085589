"""What all tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As many threads on every machine, as rounding depends on them; more would not pay here."""
    torch.set_num_threads(1)

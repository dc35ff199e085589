"""Processes that end when the command that started them is killed."""

from __future__ import annotations

import os
import threading
import time


def follow(parent: int) -> None:
    """Make this process end with its parent: an orphan would hold what it trains.

    Alone in a module that loads nothing, it is at work before a process loads what takes seconds.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""What of this process outlives a command that ran in it."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_THREADS_END_S = 10.0


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a command must leave as it was: otherwise tests would depend on those before them."""

    environment: Mapping[str, str]
    folder: str
    search_path: tuple[str, ...]
    signal_handlers: Mapping[signal.Signals, Any]
    threads: frozenset[threading.Thread]
    child_processes: frozenset[int]
    open_files: frozenset[str]
    logging: tuple[Any, ...]
    garbage_collector: tuple[Any, ...]
    most_open_files: tuple[int, int]

    @classmethod
    def now(cls) -> ProcessState:
        """How this process is."""
        root = logging.getLogger()
        return cls(
            environment=dict(os.environ),
            folder=os.getcwd(),
            search_path=tuple(sys.path),
            signal_handlers={number: signal.getsignal(number) for number in signal.valid_signals()},
            threads=frozenset(threading.enumerate()),
            child_processes=_child_processes(),
            open_files=_open_files(),
            logging=(root.level, *root.handlers, root.manager.disable),
            garbage_collector=(gc.isenabled(), *gc.get_threshold(), *gc.callbacks),
            most_open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        )

    def check_unchanged(self) -> None:
        """Fail unless this process is as it was then. A thread that has done its work is given the time to end."""
        deadline_s = time.monotonic() + _THREADS_END_S
        while changes := self._changes():
            assert time.monotonic() < deadline_s, f"left behind: {changes}"
            gc.collect()  # an error and the frames of its traceback may hold each other, and an open file with them
            time.sleep(0.01)

    def _changes(self) -> dict[str, Any]:
        now = ProcessState.now()
        pairs = {field.name: (getattr(self, field.name), getattr(now, field.name)) for field in dataclasses.fields(now)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _child_processes() -> frozenset[int]:
    lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return frozenset(int(pid) for pids in lists for pid in pids)


def _open_files() -> frozenset[str]:
    """File descriptors; the one with which they are listed is gone by the time it is looked at."""
    return frozenset(number for number in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{number}"))

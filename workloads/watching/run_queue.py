"""How long a thread was ready to run and had no processor: by the kernel's own account, where it keeps one."""

from __future__ import annotations

from pathlib import Path

_ACCOUNT = Path("/proc/thread-self/schedstat")
"""Of Linux: nanoseconds on a processor, nanoseconds on a run queue, time slices."""


def waited_for_processor_s(account: Path = _ACCOUNT) -> float | None:
    """Seconds that the calling thread has waited for a processor since it began; None where nobody knows.

    Exact, and the same for load of any kind on any number of cores: what an event loop sees of it is a sample.
    """
    try:
        return int(account.read_bytes().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None

"""How many files and connections a process may have open."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

_MOST_DESCRIPTORS = 1 << 20


@contextlib.contextmanager
def most_descriptors() -> Iterator[None]:
    """Allow this process, and those that it starts, as many open files as it may have, until the context is left."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or most <= soft:
        yield
        return
    with contextlib.suppress(OSError, ValueError):  # some systems have a lower limit than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

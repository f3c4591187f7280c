"""Disks that are full: files may grow to a size, and no further."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def largest_file(most_bytes: int) -> Iterator[None]:
    """No file of this process, or of one that it starts, grows beyond this size: what goes past it is EFBIG.

    As on a disk that is almost full, a write that reaches the limit takes a part of what it was given.
    """
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

"""File descriptors: as many as the system allows, and how many of them connections may take."""

from __future__ import annotations

import os
import resource
from pathlib import Path

MOST_CONNECTIONS = 16_384
"""However many descriptors there are: at about 20 kB for one that waits, these are some 300 MB."""
_OTHER_DESCRIPTORS = 128
"""Left for spare connections, for those that are just being closed, and for files, threads and processes."""
_FEWEST_CONNECTIONS = 8


def raise_descriptor_limit() -> None:
    """Raise the soft limit, which is 1,024 on most systems, towards the hard one, as far as connections need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 2 * _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_limit() -> int:
    """How many connections the descriptor limit leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, soft - _num_open() - _OTHER_DESCRIPTORS))


def _num_open() -> int:
    listing = Path("/dev/fd")
    return len(os.listdir(listing)) if listing.is_dir() else 0

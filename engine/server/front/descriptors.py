"""How many connections the descriptor limit leaves room for."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_MOST_CONNECTIONS = 16_384
"""However many descriptors there are: at about 20 kB for one that waits, these are some 300 MB."""
_OTHER_DESCRIPTORS = 192
"""Left for spare connections, for those that are just being closed, and for files, threads and processes."""
_FEWEST_CONNECTIONS = 8


def connection_limit() -> int:
    """How many connections a server may hold, beside the files that it has open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, soft - _num_open() - _OTHER_DESCRIPTORS))


def _num_open() -> int:
    listing = Path("/dev/fd")
    return len(os.listdir(listing)) if listing.is_dir() else 0

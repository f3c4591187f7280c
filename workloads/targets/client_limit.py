"""The client's own limits: what they are called, and how to raise them."""

from __future__ import annotations

import errno
import os
import resource
import socket

CLIENT_LIMIT = "client_limit"
"""Class of failures that are the client's own: the request never reached the server."""


def client_limit(error: BaseException) -> str | None:
    """The limit of this process or machine that an error comes from, and what to do about it; None if it is none."""
    if isinstance(error, MemoryError):
        return "out of memory: send less at once, or from another machine"
    if not isinstance(error, OSError):
        return None
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):  # a name is looked up with a descriptor, and the reason gets lost
        return None if _has_descriptors() else _descriptors()
    match cause.errno:
        case errno.EMFILE:
            return _descriptors()
        case errno.ENFILE:
            return "too many open files on this machine: raise fs.file-max"
        case errno.EADDRNOTAVAIL:
            return "no free port: widen net.ipv4.ip_local_port_range, or send from several addresses"
        case errno.ENOMEM | errno.ENOBUFS:
            return "out of memory: send less at once, or from another machine"
    return None


def _descriptors() -> str:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files (limit {limit}): raise it with ulimit -n, or --workers"


def _has_descriptors() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True

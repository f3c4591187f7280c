"""What may stand where a file is expected, and is none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

SPECIAL = ("pipe", "socket", "device", "folder")
"""A program that opens a pipe waits for ever; one that reads a device never comes to its end."""


def make_special(kind: str, path: Path) -> Path:
    """Put one there. Making a device takes rights: a link to one does not, and is opened in the same way."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                here = os.open(path.parent, os.O_RDONLY)  # paths of sockets are short
                try:
                    listening.bind(f"/proc/self/fd/{here}/{path.name}")
                finally:
                    os.close(here)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
    return path

"""Opening files that others made: regular ones only, so that nothing read here can hang or go on for ever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path, *, follows_links: bool = True) -> BufferedReader:
    """Open a file for reading.

    Args:
        path: Of the file.
        follows_links: False: a symbolic link is refused. What stands in a folder that somebody sent must not lead out
            of it. Links among the folders above are followed.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, device or socket; `strerror` says which.
    """
    # Opening a pipe for reading waits for a writer, unless told not to block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if follows_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a null byte in the name
        raise OSError(errno.EINVAL, f"invalid path: {error}", str(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise OSError(errno.ELOOP, "is a symbolic link; put the file itself there", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "is not a regular file", str(path)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, "is a folder" if stat.S_ISDIR(mode) else "is not a regular file", str(path))
    return open(descriptor, "rb")


def read_regular(path: Path, most_bytes: int, *, follows_links: bool = True) -> bytes:
    """The whole of a file.

    Args:
        path: Of the file.
        most_bytes: The largest it may be.
        follows_links: See `open_regular`.

    Raises:
        OSError: as of `open_regular`, or the file is larger.
    """
    with open_regular(path, follows_links=follows_links) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"is larger than {most_bytes / 2**20:g} MiB", str(path))
    return content

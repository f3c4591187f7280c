"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..engine.errors import AbatchError, ConfigurationError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What becomes of writing to a disk that is full or gone, or to a terminal that was closed."""


class DiskError(AbatchError):
    """Something that was measured or made could not be written: the disk is full, or gone."""


def cannot_write(what: str, error: OSError) -> AbatchError:
    """The error for the user: about the disk, or about the name that was given."""
    kind = DiskError if error.errno in NO_ROOM else ConfigurationError
    return kind(f"cannot write {what}: {error.strerror}")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file, which takes the place of `path` once the context is left.

    A reader sees the old file or the whole new one, never half of it. If anything fails, nothing is left of the new.

    Raises:
        OSError: it cannot be written.
    """
    # In a folder that others can write to, nobody can know this name and put a link there; "x" would not follow one.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    with contextlib.suppress(FileNotFoundError):
        path.lstat()  # a name that no file can have is found before anything is written
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def save(path: Path, content: bytes) -> None:
    """Write a file as a whole, for the user.

    Raises:
        AbatchError: it cannot be written (see `cannot_write`).
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise cannot_write(str(path), error) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a whole (see `whole_file`).

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(path) as file:
        file.write(content)

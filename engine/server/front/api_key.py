"""API keys: where they come from, which can work at all, and whether a client sent the right one."""

from __future__ import annotations

import hmac
import os
import re
import stat
from pathlib import Path

from ...errors import ConfigurationError

KEY_VARIABLE = "ABATCH_API_KEY"
_LONGEST_KEY = 4096
"""Common HTTP servers take 8 kB of headers in all."""
_VISIBLE_ASCII = re.compile(r"[!-~]+")


def find_api_key(option: str | None, file: Path | None) -> str | None:
    """The key that was given by --api-key, in the environment or in a file; None if there is none.

    Args:
        option: Of --api-key, or the environment's.
        file: Of --api-key-file, which goes before the environment.

    Raises:
        ConfigurationError: it cannot be read or can never match, or there are two.
    """
    of_environment = os.environ.get(KEY_VARIABLE)
    is_option = option is not None and option != of_environment
    if file is not None and is_option:
        raise ConfigurationError("give one of --api-key and --api-key-file")
    if file is not None:
        return _checked(_read(file), f"the key in {file}")
    if is_option and option is not None:
        return _checked(option, "--api-key")
    return None if of_environment is None else _checked(of_environment, KEY_VARIABLE)


def is_authorized(header: str, api_key: str) -> bool:
    """Whether an Authorization header brings the key. The scheme's name may be in any case (RFC 9110, 11.1)."""
    scheme, _, given = header.partition(" ")
    matches = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), api_key.encode())
    return matches and scheme.lower() == "bearer"


def _read(path: Path) -> str:
    """The only line of a file."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigurationError(f"--api-key-file {path} is not a regular file")
            content: bytes = file.read(_LONGEST_KEY + 3)
    except OSError as error:
        raise ConfigurationError(f"cannot read --api-key-file {path}: {error.strerror}") from error
    return content.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer


def _checked(key: str, source: str) -> str:
    """The key. The error says where it came from, and nothing of it."""
    if not key:
        raise ConfigurationError(f"{source} is empty: give a key, or leave it out")
    if len(key) > _LONGEST_KEY:
        raise ConfigurationError(f"{source} has more than {_LONGEST_KEY} characters, which no header can carry")
    if not _VISIBLE_ASCII.fullmatch(key):
        raise ConfigurationError(f"{source} must be one word of visible ASCII characters: others cannot be matched")
    return key

"""API keys, of our server and of others: where they come from, and which can work at all."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...workloads.regular_file import read_regular

_log = logging.getLogger("abatch.api_key")
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
        return checked_key(_read(file), f"the key in {file}")
    if is_option and option is not None:
        return checked_key(option, "--api-key")
    # The command line's parser takes an empty variable for none.
    return None if of_environment is None else checked_key(of_environment, KEY_VARIABLE)


def _read(path: Path) -> str:
    """The only line of a file."""
    try:
        content = read_regular(path, 2 * _LONGEST_KEY)
        if path.stat().st_mode & stat.S_IROTH:
            _log.warning("--api-key-file %s can be read by every user of this machine (chmod o-r)", path)
    except OSError as error:
        raise ConfigurationError(f"cannot read --api-key-file {path}: {error.strerror}") from error
    return content.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def checked_key(key: str, source: str) -> str:
    """The key. The error says where it came from, and nothing of it."""
    if not key:
        raise ConfigurationError(f"{source} is empty: give a key, or leave it out")
    if len(key) > _LONGEST_KEY:
        raise ConfigurationError(f"{source} has more than {_LONGEST_KEY} characters, which no header can carry")
    if not _VISIBLE_ASCII.fullmatch(key):
        raise ConfigurationError(f"{source} must be one word of visible ASCII characters: others cannot be matched")
    return key

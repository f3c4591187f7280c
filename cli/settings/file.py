"""abatch.toml: options of commands, and targets by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...engine.errors import ConfigurationError
from ...workloads.regular_file import read_regular
from ..listing import COMMANDS
from .secrets import refuse_secrets

FILE_NAME = "abatch.toml"
NO_FILE = "none"
"""In place of a file's name: none is read."""
TARGETS = "targets"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file of settings holds.

    Attributes:
        file: Its name, as it is shown; empty where there is none.
        commands: Options by command, each by its long name without dashes; those of a command within a group lie in a
            table of their own.
        targets: Options by target's name.
    """

    file: str = ""
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Until the context is left, targets are those of this file."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[Settings | None] = ContextVar("settings", default=None)


def current_settings() -> Settings:
    """Those in use; from Python, where nothing is read but what the call says, they are empty."""
    return _CURRENT.get() or Settings()


def find_settings(name: str | None) -> Settings:
    """Read the file with this name, or `abatch.toml` in the current folder if there is one.

    Raises:
        ConfigurationError: it cannot be read, or has a table or a value that means nothing.
    """
    if name == NO_FILE:
        return Settings()
    if name is None and not os.path.lexists(FILE_NAME):
        return Settings()
    return read_settings(Path(name or FILE_NAME).expanduser())


def read_settings(path: Path) -> Settings:
    """Read a file of settings.

    Raises:
        ConfigurationError: see `find_settings`.
    """
    import tomllib  # where there is no file, which is usual, nobody waits for it

    try:
        content = tomllib.loads(read_regular(path, _MOST_BYTES).decode())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of TOML, and of what is not UTF-8
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    for name, table in content.items():
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: {name} is in no table: put it below [bench], or another command")
        if name not in (*COMMANDS, TARGETS):
            raise ConfigurationError(f"{path}: unknown table [{name}]{suggestion(name, [*COMMANDS, TARGETS])}")
        refuse_secrets(table, f"{path}: [{name}]")
    targets = content.pop(TARGETS, {})
    for name, table in targets.items():
        if not isinstance(table, dict) or not isinstance(table.get("url"), str):
            raise ConfigurationError(f"{path}: [{TARGETS}.{name}] needs the url of a server")
    return Settings(str(path), content, targets)


def suggestion(name: str, known: list[str]) -> str:
    """Words for the end of an error about a name that is not known."""
    nearest = get_close_matches(name, known, n=1)
    return f": did you mean {nearest[0]}?" if nearest else ""

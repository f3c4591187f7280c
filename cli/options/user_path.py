"""Paths as people give them."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import ConfigurationError


def user_path(text: str | Path, option: str) -> Path:
    """A path, with `~` for somebody's home.

    Raises:
        ConfigurationError: there is nobody of that name. `option`: where the path was given.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from error

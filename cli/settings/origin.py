"""Where the value of an option comes from, if not from the command line."""

from __future__ import annotations

from typing import Any

from ...engine.errors import ConfigurationError
from ..listing import long_name
from .environment import variable
from .file import current_settings


def notes_on_origin(ctx: Any) -> list[str]:
    """Lines about the options of a command that a file or the environment sets."""
    found: dict[str, list[str]] = {}
    for option in ctx.command.params:
        if where := _origin(option, ctx):
            found.setdefault(where, []).append(f"--{long_name(option)}")
    return [f"{where} sets {', '.join(flags)}" for where, flags in found.items()]


def with_origin(error: ConfigurationError, ctx: Any, about: Any = None) -> ConfigurationError:
    """The error, and where the value comes from if it was not typed. `about`: the option; else it heads the text."""
    if type(error) is not ConfigurationError:
        return error
    flag = str(error).split(maxsplit=1)[0]
    for option in [about] if about is not None else ctx.command.params:
        if (about is not None or flag in (*option.opts, *option.secondary_opts)) and (where := _origin(option, ctx)):
            return ConfigurationError(f"{error} ({where} sets it)")
    return error


def _origin(option: Any, ctx: Any) -> str:
    """`abatch.toml` or `the environment`; empty for what was typed, for defaults, and for keys."""
    source = getattr(ctx.get_parameter_source(option.name), "name", "")
    if source == "DEFAULT_MAP":
        return current_settings().file
    prefix = ctx.auto_envvar_prefix
    is_ours = prefix is not None and option.envvar == variable(prefix, option)
    return "the environment" if source == "ENVIRONMENT" and is_ours else ""

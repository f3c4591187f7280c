"""Servers by the names that abatch.toml gives them, each with the options that belong to it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from ...engine.errors import ConfigurationError
from ...workloads.targets.server_url import with_scheme
from ..settings.file import TARGETS, current_settings, suggestion
from .api_key import KEY_VARIABLE
from .connecting import ConnectingOptions
from .groups import OptionOfGroup, options_of
from .target import TargetOptions

_Options = TypeVar("_Options", bound=ConnectingOptions)
_KEY_VARIABLE = "api-key-variable"
"""Names the variable of the environment that holds the key."""
_OF_OUR_ENGINE = frozenset({"real-time", "step-log", "startup-timeout"})
_OPTIONS = {
    name: option
    for option in options_of(TargetOptions)
    if (name := option.flag.removeprefix("--")) not in (*_OF_OUR_ENGINE, "api-key")
}


def is_target(text: str) -> bool:
    """Whether abatch.toml has a target of this name."""
    return text in current_settings().targets


def with_named_target(options: _Options) -> _Options:
    """The same options, with those of the target that --url names. What was given otherwise goes before them.

    Raises:
        ConfigurationError: the target has an option that there is not, or one of the wrong kind.
    """
    if options.url is None or not is_target(options.url):
        return options
    settings = current_settings()
    where = f"{settings.file}: [{TARGETS}.{options.url}]"
    table = settings.targets[options.url]
    of_target = dict(_values(table, where))
    fields = {name: value for name, value in of_target.items() if hasattr(options, name) and _is_open(options, name)}
    return replace(options, **fields, url=with_scheme(table["url"]))


def _values(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Names of fields, and their values."""
    for name, value in table.items():
        if name == _KEY_VARIABLE:
            if not os.environ.get(str(value)):
                raise ConfigurationError(f"{where} {name}: the environment has no {value}")
            yield "api_key", os.environ[str(value)]
        elif name in _OPTIONS:
            yield _OPTIONS[name].name, _converted(_OPTIONS[name], value, f"{where} {name}")
        else:
            known = [*_OPTIONS, _KEY_VARIABLE]
            raise ConfigurationError(f"{where} {name} is no option of a target{suggestion(name, known)}")


def _is_open(options: ConnectingOptions, name: str) -> bool:
    """Whether nothing else says what the value is."""
    if name in ("api_key", "api_key_file") and (options.api_key_file or options.api_key):
        return options.api_key_file is None and options.api_key == os.environ.get(KEY_VARIABLE)
    default = next(option.default for option in options_of(type(options)) if option.name == name)
    return bool(getattr(options, name) == default)


def _converted(option: OptionOfGroup, value: Any, where: str) -> Any:
    """The value as the parser would hand it on."""
    kinds = (option.kind, *get_args(option.kind))
    if option.info.parser is not None:
        try:
            return option.info.parser(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None
    if bool in kinds:
        wanted, is_right = "true or false", isinstance(value, bool)
    elif list[str] in kinds:
        value = [value] if isinstance(value, str) else value
        wanted, is_right = "texts", isinstance(value, list) and all(isinstance(one, str) for one in value)
    elif int in kinds or float in kinds:
        wanted, is_right = "a number", isinstance(value, int | float) and not isinstance(value, bool)
    else:
        wanted, is_right = "a text", isinstance(value, str)
    if not is_right:
        raise ConfigurationError(f"{where} must be {wanted}, not {value!r}")
    return Path(value) if Path in kinds else value

"""The options of commands as a file of settings gives them: what click calls a default map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.errors import ConfigurationError
from .file import Settings, suggestion


class DefaultMap(Mapping[str, Any]):
    """By command, the values that a file gives its options; each is read when it is asked for.

    Raises:
        ConfigurationError: an option is unknown, or its value is of the wrong kind.
    """

    def __init__(self, settings: Settings, commands: Mapping[str, Any]) -> None:
        self._settings = settings
        self._commands = commands

    def __getitem__(self, name: str) -> dict[str, Any]:
        table = self._settings.commands[name]
        return _defaults(table, self._commands[name], f"{self._settings.file}: [{name}]")

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings.commands)

    def __len__(self) -> int:
        return len(self._settings.commands)


def _defaults(table: Mapping[str, Any], command: Any, where: str) -> dict[str, Any]:
    if commands := getattr(command, "commands", None):
        return _defaults_of_group(table, commands, where)
    options = options_by_name(command)
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name not in options:
            raise ConfigurationError(f"{where} {name} is no option{suggestion(name, [*options])}")
        option = options[name]
        if option.name in found:
            raise ConfigurationError(f"{where} {name} is given twice, under two of its names")
        found[option.name] = _value(option, name, value, f"{where} {name}")
    return found


def _defaults_of_group(table: Mapping[str, Any], commands: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = {}
    for name, inner in table.items():
        if name not in commands or not isinstance(inner, dict):
            raise ConfigurationError(f"{where} has a table for each of {', '.join(commands)}, and {name} is none")
        found[name] = _defaults(inner, commands[name], f"{where.removesuffix(']')}.{name}]")
    return found


def options_by_name(command: Any) -> dict[str, Any]:
    """The options of a command by all their long names, without dashes."""
    return {
        flag.removeprefix("--"): option
        for option in command.params
        if option.param_type_name == "option"
        for flag in (*option.opts, *option.secondary_opts)
        if flag.startswith("--")
    }


def _value(option: Any, name: str, value: Any, where: str) -> Any:
    """The value as the command line would have it: a text, or several; of a switch whether it is on."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ConfigurationError(f"{where} is a switch: give it true or false, not {value!r}")
        return value is not (f"--{name}" in option.secondary_opts)
    if option.multiple:
        return [_text(one, where) for one in (value if isinstance(value, list) else [value])]
    return _text(value, where)


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = {bool: "true or false", list: "a list", dict: "a table"}.get(type(value), "a date")
        raise ConfigurationError(f"{where} is {kind}: give it a text or a number")
    return str(value)

"""Options that are set by variables of the environment, such as ABATCH_BENCH_DURATION."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...engine.errors import ConfigurationError
from ..listing import long_name
from .file import suggestion

PREFIX = "ABATCH"
_SWITCHED = (("1", "0"), ("true", "false"), ("yes", "no"), ("on", "off"))
_OPPOSITES = {one: other for pair in _SWITCHED for one, other in (pair, pair[::-1])}


def readable_options(command: Any) -> list[Any]:
    """The options of a command that a variable may set, made ready to be read from one."""
    found = []
    for option in command.params:
        if option.param_type_name == "option" and option.envvar is None:
            option.split_envvar_value = _lines
            if not option.opts:
                option.value_from_envvar = _turned_round(option.value_from_envvar)
            found.append(option)
    return found


def name_variables(options: Iterable[Any], prefix: str | None) -> None:
    """Give options their variables. `prefix`: click's, of their command; None: the environment has no say."""
    for option in options:
        option.envvar = None if prefix is None else variable(prefix, option)


def variable(prefix: str, option: Any) -> str:
    """The variable of an option, by its long name. Click itself would take the name of the function's parameter."""
    return f"{prefix}_{long_name(option)}".replace("-", "_").upper()


def _turned_round(value_of: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """The variable of a switch that only turns something off, such as --no-prefix-cache, says whether it is off."""

    def value(ctx: Any) -> str | None:
        text = value_of(ctx)
        return text if text is None else _OPPOSITES.get(text.strip().lower(), text)

    return value


def _lines(text: str) -> list[str]:
    """The values of an option that may be given several times: rules and headers have spaces in them."""
    return [line for line in text.splitlines() if line.strip()]


def refuse_unknown_variables(options: Iterable[Any], environment: Mapping[str, str], prefix: str | None) -> None:
    """Raise `ConfigurationError` where a variable looks as if it set one of a command's options, and does not."""
    known = [option.envvar for option in options]
    for name in environment:
        if prefix is not None and name.startswith(f"{prefix}_") and name not in known:
            command = prefix.removeprefix(PREFIX).replace("_", " ").lower()
            raise ConfigurationError(f"{name} sets no option of abatch{command}{suggestion(name, known)}")

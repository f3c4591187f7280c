"""An option that takes one value is given one: of two, the parser would take the last without a word."""

from __future__ import annotations

from typing import Any

from ..engine.errors import ConfigurationError
from .listing import long_name

_SINGLE = {"store": "append", "store_const": "append_const"}
"""What the parser does with an option of one value, and what keeps all of them."""
_ADVICE = {"url": " (abatch compare measures several servers)"}


def refuse_second_values(parser: Any) -> None:
    """Have a command's parser refuse an option that is given twice with different values.

    Raises, as it parses:
        ConfigurationError: one is. It says which, and no value, which may be a key.
    """
    options = {id(one): one for one in (*parser._long_opt.values(), *parser._short_opt.values())}.values()
    single = [option for option in options if option.action in _SINGLE]
    for option in single:
        option.action = _SINGLE[option.action]
    parse = parser.parse_args

    def parse_args(args: list[str]) -> Any:
        found, *others = parse(args)
        for option in single:
            values = found.get(option.dest)
            if not isinstance(values, list):
                continue  # not given, or seen already under another of its names
            if any(value != values[0] for value in values):
                name = long_name(option.obj)
                raise ConfigurationError(
                    f"--{name} is given twice, with different values: give it once{_ADVICE.get(name, '')}"
                )
            found[option.dest] = values[0]
        return found, *others

    parser.parse_args = parse_args

"""Our own engine with several values of its options: every combination of them is a target, with a short name."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from ...engine.errors import ConfigurationError
from ...reports.run.folder import COMPARISON
from ..options.engine import EngineOptions
from ..options.groups import OptionOfGroup, options_of

MOST_TARGETS = 16
"""Of one comparison: more do not fit a table, and take hours to measure in turns."""
_LONGEST_NAME = 20
"""Of `park=keep`; where the option's name makes it longer, the value stands alone."""
_DEFAULT = "default"
_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_UNSAFE = re.compile(r"[^\w.=:+ -]+")
"""In the name of a folder."""


@dataclass(frozen=True, slots=True)
class Variation:
    """An engine that is compared. `note`: the varied options and their values, in words."""

    engine: EngineOptions
    note: str


@dataclass(frozen=True, slots=True)
class _Varied:
    """An option and the values that it is to have: as they were typed, and as the engine takes them."""

    option: OptionOfGroup
    name: str
    values: Mapping[str, Any]

    @property
    def is_switch(self) -> bool:
        return isinstance(self.option.default, bool)

    def in_words(self, text: str) -> str:
        """`park keep`, `no-prefix-cache`."""
        if self.is_switch:
            return self.name if self.values[text] else f"no-{self.name}"
        return f"{self.name} {text}"


def variations(texts: Sequence[str], engine: EngineOptions) -> dict[str, Variation]:
    """Every combination of the values, by name; the first value of each option is in the first one.

    Args:
        texts: `OPTION=VALUE,VALUE`, such as `park=keep,auto`. `default` is a value of every option, `on` and `off` are
            those of switches.
        engine: The options that all share.

    Raises:
        ConfigurationError: an option is unknown, a value is none of its kind, or there are too many combinations.
    """
    varied = [_varied(text, engine) for text in texts]
    names = [one.name for one in varied]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"--vary names {name} twice: give all of its values at once, with commas")
    number = 1
    for one in varied:
        number *= len(one.values)
    if number > MOST_TARGETS:
        raise ConfigurationError(
            f"--vary makes {number} targets, of which at most {MOST_TARGETS} can be compared: vary fewer options, or "
            "give them fewer values"
        )
    found: dict[str, Variation] = {}
    name_of = _names(varied)
    for chosen in itertools.product(*(one.values for one in varied)):
        fields = {one.option.name: one.values[text] for one, text in zip(varied, chosen, strict=True)}
        note = ", ".join(one.in_words(text) for one, text in zip(varied, chosen, strict=True))
        name = name_of(chosen)
        if name in found:
            raise ConfigurationError(f"--vary has two targets called {name}: their values differ in no letter")
        found[name] = Variation(replace(engine, **fields), note)
    return found


def _varied(text: str, engine: EngineOptions) -> _Varied:
    name, is_there, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("_", "-")
    known = dict(_named_options())
    if name not in known:
        near = difflib.get_close_matches(name.removeprefix("no-"), known, 1)
        meant = f": did you mean {near[0]}?" if near else f" (they are {', '.join(known)})"
        raise ConfigurationError(f"--vary {text}: {name or 'nothing'} is no option of our engine{meant}")
    option = known[name]
    if getattr(engine, option.name) != option.default:
        raise ConfigurationError(f"{option.flag} and --vary {name}=... contradict each other: leave one of them out")
    words = [word.strip() for word in values.split(",")] if is_there else []
    if not words or not all(words) or len(set(words)) < len(words):
        raise ConfigurationError(
            f"--vary {text}: give {name} its values with commas, each once, as in --vary {name}=ONE,OTHER"
        )
    return _Varied(option, name, {word: _value(option, name, word) for word in words})


def _named_options() -> Iterator[tuple[str, OptionOfGroup]]:
    """The engine's options by name, which is that of the flag; of a switch without its `no-`."""
    for option in options_of(EngineOptions):
        yield option.flag.removeprefix("--").removeprefix("no-"), option


def _value(option: OptionOfGroup, name: str, word: str) -> Any:
    if word == _DEFAULT:
        return option.default
    kinds = get_args(option.kind) or (option.kind,)
    if bool in kinds:
        if word.lower() not in _SWITCH:
            raise ConfigurationError(f"--vary {name}: {word!r} is neither on nor off")
        return _SWITCH[word.lower()]
    if option.info.parser is not None:
        return option.info.parser(word)
    for number, called in ((int, "a whole number"), (float, "a number")):
        if number in kinds:
            try:
                return number(word)
            except ValueError:
                raise ConfigurationError(f"--vary {name}: {word!r} is not {called}") from None
    return word


def _names(varied: Sequence[_Varied]) -> Callable[[Sequence[str]], str]:
    """What each combination is called: `keep` beside `512`, alone `park=keep`, or a mode of batching by itself."""
    several = [one for one in varied if len(one.values) > 1] or list(varied)
    places = [varied.index(one) for one in several]
    is_bare = len(several) > 1 or several[0].name == "batching"
    is_bare = is_bare or max(len(f"{several[0].name}={text}") for text in several[0].values) > _LONGEST_NAME

    def word(one: _Varied, text: str) -> str:
        if one.is_switch:
            return one.in_words(text)
        return text if is_bare else f"{one.name}={text}"

    def name(chosen: Sequence[str]) -> str:
        text = " ".join(word(one, chosen[place]) for one, place in zip(several, places, strict=True))
        safe = _UNSAFE.sub("-", text).strip(" ")
        return f"{several[0].name}={safe}" if safe.startswith(".") or safe in ("", COMPARISON) else safe

    return name

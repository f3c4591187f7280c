"""Option groups: frozen dataclasses whose fields carry their Typer option, and how a command receives them.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Pace:
        rate: Annotated[float, typer.Option("--rate", help="Requests per second.")] = 1.0

    @with_options
    def send(pace: Pace) -> None: ...

gives `send` the option --rate, and hands it a `Pace`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, get_args, get_origin, get_type_hints

from typer.models import OptionInfo, ParameterInfo

from .completion import COMPLETIONS

_WORDS = {int: "N", float: "NUMBER", Path: "FILE"}
"""What help calls a value of that type, where the option has no better word for it."""
_WORDS_BY_NAME = {
    **dict.fromkeys(("url", "metrics_url", "proxy"), "URL"),
    **dict.fromkeys(("model", "workload", "device", "api", "dtype", "traffic_class", "tokenizer"), "NAME"),
    **dict.fromkeys(("request_rate", "session_rate", "max_rate"), "RATE"),
    **dict.fromkeys(("trace", "rules"), "FILE"),
    **dict.fromkeys(("kv_memory", "host_kv_memory", "max_body"), "SIZE"),
    **dict.fromkeys(("output", "timelines"), "PATH"),
    "baseline": "RUN",
    "extra_body": "JSON",
    "goodput": "OBJECTIVES",
    "header": "HEADER",
    "require": "RULE",
}
"""The same by the name of the field or parameter."""


class OptionGroup(Protocol):
    """A dataclass of options. `panel`: their heading in the help."""

    panel: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


class Without(frozenset[str]):
    """`Annotated[Group, Without({"field"})]`: a command without these options; their fields keep the default."""


@dataclass(frozen=True, slots=True)
class OptionOfGroup:
    """A field of a group as an option. `flag` is its first; of a switch that is on by default, what turns it off."""

    name: str
    flag: str
    default: Any
    kind: Any
    info: OptionInfo

    def parameter(self, panel: str) -> inspect.Parameter:
        """As Typer wants it."""
        info = copy.copy(self.info)
        info.rich_help_panel = panel
        annotation = _finished(self.name, Annotated[self.kind, info])
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=annotation)

    def words(self, value: Any) -> list[str]:
        """The words of a command line that give it this value, which is not its default."""
        if isinstance(value, bool):
            return [self.flag]
        values = value if isinstance(value, list | tuple) else [value]
        return [word for one in values for word in (self.flag, _word(one))]


def options_of(group: type[OptionGroup]) -> Iterator[OptionOfGroup]:
    """The options of a group, in order."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, info = get_args(hints[field.name])
        # Typer's first parameter is the default, which in an annotation is the first flag.
        declared = info.default if isinstance(info.default, str) else f"--{field.name.replace('_', '-')}"
        yield OptionOfGroup(field.name, declared.removeprefix(" /"), field.default, kind, info)


def given(*groups: OptionGroup) -> list[str]:
    """The flags of options that differ from their default."""
    return [option.flag for group in groups for option, _ in changed(group)]


def words(group: OptionGroup) -> list[str]:
    """The options that differ from their default, as words of a command line."""
    return [word for option, value in changed(group) for word in option.words(value)]


def _word(value: Any) -> str:
    """A value as one would type it: whole numbers have no point, and none has an exponent."""
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value)).normalize(), "f")
    return str(value)


def changed(group: OptionGroup) -> Iterator[tuple[OptionOfGroup, Any]]:
    """The options that differ from their default, and their values."""
    for option in options_of(type(group)):
        value = getattr(group, option.name)
        if value != option.default:
            yield option, value


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its groups: of each parameter whose type is an `OptionGroup`."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[OptionGroup], list[str]]] = {}
    for parameter in own:
        if (found := _group_of(parameter.annotation)) is None:
            annotation = _finished(parameter.name, parameter.annotation)
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation))
            continue
        group, left_out = found
        options = [option for option in options_of(group) if option.name not in left_out]
        groups[parameter.name] = group, [option.name for option in options]
        parameters += [option.parameter(group.panel) for option in options]

    def wrapper(**arguments: Any) -> None:
        built = {
            name: group(**{field: arguments.pop(field) for field in taken}) for name, (group, taken) in groups.items()
        }
        command(**arguments, **built)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def _finished(name: str, annotation: Any) -> Any:
    """The annotation of a parameter with what the shell completes, and a word for the value in place of its type."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, info = get_args(annotation)
    if not isinstance(info, ParameterInfo):
        return annotation
    info = copy.copy(info)
    info.autocompletion = info.autocompletion or COMPLETIONS.get(name)
    if isinstance(info, OptionInfo) and info.metavar is None:
        kinds = {kind, *get_args(kind)}
        info.metavar = _WORDS_BY_NAME.get(name) or next((word for one, word in _WORDS.items() if one in kinds), "TEXT")
    return Annotated[kind, info]


def _group_of(annotation: Any) -> tuple[type[OptionGroup], Without] | None:
    left_out = Without()
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        left_out = next((one for one in metadata if isinstance(one, Without)), left_out)
    if not isinstance(annotation, type) or not is_dataclass(annotation):
        return None
    group: type[Any] = annotation
    return group, left_out

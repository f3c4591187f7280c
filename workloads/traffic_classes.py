"""Traffic classes: how many are told apart, and which a workload has, as far as that is known before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from ..engine.errors import ConfigurationError
from .session import Session
from .workload import ALL, Workload

MOST_CLASSES = 64
"""More than anyone reads, and 2 to 4 MB of histograms and samples each."""
OTHER = "other-classes"
"""What the sessions of all further classes are counted as. No class of a trace may have this name, nor `all`."""
RESERVED = (ALL, OTHER)
_LOOKED_AT = 200
"""Sessions of each stream. A preset draws all of its classes early; a trace may hold another one further on."""
_READ = 5000
"""Of a trace: it takes a second at most."""
_MOST_LISTED = 12


class ToldApart:
    """The classes that are told apart: the first ones to come, so that it is the same for every reader in order."""

    def __init__(self, most: int = MOST_CLASSES) -> None:
        self._most = most
        self._known: set[str] = set()

    def name(self, traffic_class: str) -> str:
        """What a class is counted as: itself, or `OTHER`."""
        if traffic_class in self._known or traffic_class == OTHER:
            return traffic_class
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(traffic_class)
        return traffic_class


def told_apart(sessions: Iterable[Session], most: int = MOST_CLASSES) -> Iterator[Session]:
    """The same sessions and sub-agents; those of classes beyond the first ones as of one class.

    All processes that share a trace must see all of its sessions, in order.
    """
    classes = ToldApart(most)
    return (mapped(session, lambda one: _named(one, classes)) for session in sessions)


def _named(session: Session, classes: ToldApart) -> Session:
    name = classes.name(session.traffic_class)
    return session if name == session.traffic_class else replace(session, traffic_class=name)


def mapped(session: Session, change: Callable[[Session], Session]) -> Session:
    """A session changed, and then its sub-agents."""
    session = change(session)
    if not any(turn.children for turn in session.turns):
        return session
    turns = (
        replace(turn, children=tuple(mapped(child, change) for child in turn.children)) if turn.children else turn
        for turn in session.turns
    )
    return replace(session, turns=tuple(turns))


def listed_classes(names: Collection[str]) -> str:
    """Classes in words; where some are counted as one, that any other may be among those."""
    first = ", ".join(islice(names, _MOST_LISTED))
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    others = f"; any further one is counted in {OTHER}, because {MOST_CLASSES} are told apart"
    return f"{first}{more}{others if OTHER in names else ''}"


def check_class(workload: Workload, seed: int, name: str, what: str = "", models: Iterable[str] = ()) -> bool:
    """Whether the workload is known to have a class. A trace may have it farther on than is read here.

    Args:
        workload: The traffic.
        seed: Of the run.
        name: Of the class.
        what: Where it was named, for the error; by default as `--class`.
        models: That the sessions are divided between. A session of each class for each of them may be rare.

    Raises:
        ConfigurationError: the workload is known to have no such class.
        TraceError: a row of its trace is bad.
    """
    if name == ALL:
        return True
    found: dict[str, None] = {}
    is_all = True
    for stream in workload.streams:
        num_sessions, most = 0, _READ if stream.is_recorded else _LOOKED_AT
        for session in islice(stream.sessions(seed), most):
            num_sessions += 1
            found |= dict.fromkeys(of_model for one in _classes(session) for of_model in _of_models(one, models))
            if name in found:
                return True
        is_all = is_all and (num_sessions < most or not stream.is_recorded)
    if is_all or OTHER in found:
        known = listed_classes(found) if OTHER in found else f"{listed_classes(found)}, and {ALL}"
        what = what or f"--class {name}"
        raise ConfigurationError(f"{what}: the workload {workload.name} has no such class; it has {known}")
    return False


def _of_models(name: str, models: Iterable[str]) -> Iterator[str]:
    """The class of a model, and the same of all others (see `ModelMix.applied`)."""
    yield name
    for model in models:
        if name.endswith(f"@{model}"):
            yield from (f"{name.removesuffix(model)}{other}" for other in models)


def _classes(session: Session) -> Iterator[str]:
    yield session.traffic_class
    for turn in session.turns:
        for child in turn.children:
            yield from _classes(child)

"""Which options do not apply where: one table, one wording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from ...engine.errors import ConfigurationError
from .connecting import OF_A_URL
from .engine import EngineOptions
from .groups import options_of
from .traffic import TrafficOptions

_ENGINE = frozenset(option.flag for option in options_of(EngineOptions))
_OF_A_URL = OF_A_URL - {"--api-key"}
"""A key may come from the environment, where it is for all commands."""
_TRAFFIC = frozenset(option.flag for option in options_of(TrafficOptions))


class Situation(Enum):
    """Where an option may have no effect: how that is said, and what to do about it."""

    SERVER_AT_URL = "to a server at --url", "it has its own settings"
    OWN_ENGINE = "without --url", "give the --url of a server"
    NULL_SERVER = "to the null server", "give the --url of a server that has models"
    VIRTUAL_TIME = "in virtual time", "add --real-time to emulate the device behind HTTP"
    SIMULATED_DEVICE = "to a simulated device", "its answers have no text"
    REAL_DEVICE = "to a real device", "give a simulated one, such as --device simulated:h100"
    NO_TRACE = "without --trace", "give the --trace file to replay"
    NO_SERVER_METRICS = "with --server-metrics-interval 0", "give another interval"
    SWEEP = "with --sweep", "each point of a sweep is a run of its own at a rate of its own"
    SAVED_RUNS = "to saved runs", "they are compared as they were measured"
    RATE_SEARCH = "without --request-rate", "the search for the highest rate sends for 4 s at each rate"
    SINGLE_RATE = "with --request-rate", "only a search for the highest rate has an end"
    SEVERAL_RUNS = "to several runs", "give one RUN"
    TEXTS_AS_IS = "with --cache as-is", "its texts depend on --seed alone"
    NO_FREEZE = "without --freeze-at", "say when to freeze"


INAPPLICABLE: Mapping[Situation, frozenset[str]] = {
    Situation.SERVER_AT_URL: _ENGINE - {"--tokenizer"} | {"--real-time", "--step-log", "--startup-timeout"},
    Situation.OWN_ENGINE: _OF_A_URL | {"--metrics-url"},
    Situation.NULL_SERVER: _OF_A_URL | {"--model", "--timeout"},
    Situation.VIRTUAL_TIME: frozenset(
        "--tokenizer --load-format --num-threads --attention --no-cuda-graphs --compile --poison --workers "
        "--no-ignore-eos --api".split()
    ),
    Situation.SIMULATED_DEVICE: frozenset({"--check-answers"}),
    Situation.REAL_DEVICE: frozenset({"--real-time", "--host-overhead"}),
    Situation.NO_TRACE: frozenset({"--trace-format", "--trace-speed", "--skip-bad-rows"}),
    Situation.NO_SERVER_METRICS: frozenset({"--metrics-url"}),
    Situation.SWEEP: frozenset(
        "--concurrency --trace --require --rules --baseline --rare --timeline --html --markdown --junit --csv --json "
        "--hgrm".split()
    ),
    Situation.SAVED_RUNS: (_TRAFFIC - {"--class"})
    | _ENGINE
    | _OF_A_URL
    | frozenset(
        "--url --model --api --timeout --startup-timeout --rounds --real-time --step-log --output "
        "--no-ignore-eos --idle-probe --check-answers".split()
    ),
    Situation.RATE_SEARCH: frozenset({"--duration"}),
    Situation.SINGLE_RATE: frozenset({"--max-rate"}),
    Situation.SEVERAL_RUNS: frozenset({"--timeline"}),
    Situation.TEXTS_AS_IS: frozenset({"--text-salt"}),
    Situation.NO_FREEZE: frozenset({"--block"}),
}


def refuse(situation: Situation, flags: Iterable[str]) -> None:
    """Raise `ConfigurationError` where one of the flags given does not apply."""
    for flag in flags:
        if flag in INAPPLICABLE[situation]:
            words, advice = situation.value
            raise ConfigurationError(f"{flag} does not apply {words}: leave it out ({advice})")

"""Which options do not apply where: one table, one wording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .connecting import OF_A_URL
from .engine import EngineOptions
from .groups import given, options_of
from .situations import Situation, does_not_apply
from .traffic import TrafficOptions

_ENGINE = frozenset(option.flag for option in options_of(EngineOptions))
_SETTINGS_OF_ENGINE: tuple[tuple[Situation, Callable[[EngineOptions], bool]], ...] = (
    (Situation.NO_WINDOW, lambda engine: engine.batching != "window"),
    (Situation.NO_GRAPHS, lambda engine: engine.device == "cpu"),
    (Situation.NO_HOST_TIER, lambda engine: engine.park == "drop"),
)
"""What makes other options of one engine mean nothing."""
_TRAFFIC = frozenset(option.flag for option in options_of(TrafficOptions))


INAPPLICABLE: Mapping[Situation, frozenset[str]] = {
    Situation.SERVER_AT_URL: _ENGINE - {"--tokenizer"} | {"--real-time", "--step-log", "--startup-timeout"},
    Situation.OWN_ENGINE: OF_A_URL | {"--metrics-url"},
    Situation.NULL_SERVER: OF_A_URL | {"--model", "--timeout"},
    Situation.VIRTUAL_TIME: frozenset(
        "--tokenizer --load-format --num-threads --attention --no-cuda-graphs --no-fusion --compile --poison --workers "
        "--no-ignore-eos --api --startup-timeout".split()
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
    | OF_A_URL
    | frozenset(
        "--url --model --api --timeout --startup-timeout --rounds --real-time --step-log --output "
        "--no-ignore-eos --idle-probe --check-answers --vary --metrics-url --server-metrics-interval --no-sessions "
        "--steady-state --workers --dry-run".split()
    ),
    Situation.RATE_SEARCH: frozenset({"--duration"}),
    Situation.SINGLE_RATE: frozenset({"--max-rate"}),
    Situation.SEVERAL_RUNS: frozenset({"--timeline"}),
    Situation.TEXTS_AS_IS: frozenset({"--text-salt"}),
    Situation.NO_FREEZE: frozenset({"--block", "--freeze-for"}),
    Situation.NO_STALL: frozenset({"--stall-for"}),
    Situation.NO_PREFILL: frozenset({"--prefill-at-once", "--prefix-cache"}),
    Situation.NO_WINDOW: frozenset({"--window-size", "--window-timeout"}),
    Situation.NO_GRAPHS: frozenset({"--no-cuda-graphs"}),
    Situation.NO_HOST_TIER: frozenset({"--host-kv-memory"}),
    Situation.NO_SWEEP: frozenset({"--sweep-share", "--max-rate"}),
    Situation.NO_RULES: frozenset({"--baseline", "--rare"}),
    Situation.DEVICE: OF_A_URL | frozenset({"--url", "--timeout", "--request-rate", "--max-rate", "--workers"}),
    Situation.NO_DEVICE: _ENGINE - {"--device", "--host-overhead"} | {"--output"},
    Situation.NO_TLS: frozenset({"--insecure", "--ca-cert", "--client-cert", "--client-key"}),
}


def refuse(situation: Situation, flags: Iterable[str]) -> None:
    """Raise `ConfigurationError` where one of the flags given does not apply."""
    for flag in flags:
        if flag in INAPPLICABLE[situation]:
            raise does_not_apply(flag, situation)


def refuse_of_engine(engine: EngineOptions) -> None:
    """Raise `ConfigurationError` where one option of an engine makes another mean nothing."""
    for situation, holds in _SETTINGS_OF_ENGINE:
        if holds(engine):
            refuse(situation, given(engine))

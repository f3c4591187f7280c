"""The traffic that its options ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...reports.summary.cache import CacheMode
from ...workloads.model_mix import ModelMix
from ...workloads.presets.catalog import DEFAULT_WORKLOAD
from ...workloads.presets.distributions import Constant
from ...workloads.presets.scales import Scales
from ...workloads.run_limits import RunLimits, default_warmup_s
from ...workloads.traffic_classes import check_class
from ..measuring.traffic import TraceFile, Traffic, TrafficRecipe
from .applies import refuse
from .groups import given, words
from .situations import Situation
from .traffic import DEFAULT_DURATION_S, TrafficOptions


def make_traffic(options: TrafficOptions, models: ModelMix | None = None) -> Traffic:
    """The traffic, ready to be sent. `models`: that it is divided between.

    Raises:
        ConfigurationError: a value is out of range, two contradict each other, or the trace cannot be read.
    """
    if options.trace is None:
        refuse(Situation.NO_TRACE, given(options))
    elif options.workload is not None:
        raise ConfigurationError("give --workload or --trace, not both")
    if options.request_rate is not None and options.session_rate is not None:
        raise ConfigurationError("give --request-rate or --session-rate, not both: one follows from the other")
    if options.workload is not None and Path(options.workload).is_file():
        raise ConfigurationError(f"{options.workload} is a file: write --trace {options.workload} to replay it")
    recipe = TrafficRecipe(
        workload=options.workload or DEFAULT_WORKLOAD,
        trace=_trace_file(options),
        scales=_scales(options),
        limits=_limits(options),
        concurrency=options.concurrency,
        request_rate=options.request_rate,
        session_rate=options.session_rate,
        arrival=options.arrival,
        seed=options.seed,
        cache=_cache_mode(options),
        text_salt=options.text_salt,
        models=models,
        saved=options.saved(),
        words=tuple(words(replace(options, text_salt=None))),
    )
    traffic = recipe.make()
    if options.traffic_class is None:
        return traffic
    names = () if models is None else models.names
    check_class(traffic.workload, options.seed, options.traffic_class, models=names)
    return replace(traffic, workload=replace(traffic.workload, verdict_class=options.traffic_class))


def _limits(options: TrafficOptions) -> RunLimits:
    duration_s, warmup_s = options.duration_s, options.warmup_s
    if not options.has_end:
        duration_s = DEFAULT_DURATION_S
    if warmup_s is None:
        warmup_s = default_warmup_s(duration_s) if duration_s else 0.0
    return RunLimits(
        duration_s=duration_s,
        num_sessions=options.num_sessions,
        num_requests=options.num_requests,
        warmup_s=warmup_s,
        drain_s=options.drain_s,
        max_in_flight=options.max_in_flight,
    )


def _cache_mode(options: TrafficOptions) -> CacheMode:
    modes = [mode.value for mode in CacheMode]
    if options.cache not in modes:
        raise ConfigurationError(f"--cache must be {', '.join(modes[:-1])} or {modes[-1]}, not {options.cache!r}")
    mode = CacheMode(options.cache)
    if mode is CacheMode.AS_IS:
        refuse(Situation.TEXTS_AS_IS, given(options))
    if options.text_salt is not None and not (options.text_salt.isprintable() and 0 < len(options.text_salt) <= 200):
        raise ConfigurationError("--text-salt must be 1 to 200 printable characters")
    return mode


def _scales(options: TrafficOptions) -> Scales:
    return Scales(
        context=options.context_scale,
        time=options.time_scale,
        pause_cap_s=options.pause_cap_s,
        input_tokens=_constant(options.input_len),
        output_tokens=_constant(options.output_len),
        turns=_constant(options.turns),
        tool_pause_s=_constant(options.tool_pause_s),
        sub_agents=options.sub_agents,
        synchronised=options.synchronised,
    )


def _constant(value: float | None) -> Constant | None:
    return None if value is None else Constant(value)


def _trace_file(options: TrafficOptions) -> TraceFile | None:
    if options.trace is None:
        return None
    return TraceFile(
        path=Path(options.trace).expanduser(),
        format=options.trace_format,
        speed=options.trace_speed,
        skip_bad_rows=options.skip_bad_rows,
    )

"""What is compared live, by name: servers at URLs, and our own engine with different options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...engine.errors import ConfigurationError
from ...engine.scheduling.limits import BATCHING_MODES
from ...engine.simulation.device_profile import is_simulated
from ..measuring.plan import Plan
from ..measuring.targets import OwnServer, SimulatedEngine
from ..options.compared import ComparedOptions, batching_modes, metrics_urls, named_urls
from ..options.connecting import without_connection
from ..options.engine import EngineOptions
from ..options.named_target import with_named_target
from ..options.plan import plan_run
from ..options.report import ReportOptions
from ..options.target import TargetOptions
from ..options.traffic import TrafficOptions
from .variations import variations


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """One target of a comparison: the options that it would be measured with alone.

    Attributes:
        note: What sets it apart from the other engines, in words.
    """

    target: TargetOptions
    engine: EngineOptions
    note: str = ""

    @property
    def is_simulated(self) -> bool:
        """Whether no real device is to run."""
        return self.target.url is None and is_simulated(self.engine.device)


def live_targets(
    compared: ComparedOptions, target: TargetOptions, engine: EngineOptions, *, has_step_log: bool = False
) -> dict[str, LiveTarget]:
    """What is to be measured, by name; the first is what the others are compared with.

    Args:
        compared: The targets.
        target: The options that all of them share.
        engine: Those that our engines share.
        has_step_log: Log the steps of our engines.

    Raises:
        ConfigurationError: there are fewer than two targets, or some that do not compare.
    """
    urls = compared.url or []
    if urls and compared.vary:
        raise ConfigurationError("--vary is about our own engine, and a server has its own settings: leave out --url")
    servers = named_urls(urls)
    metrics = metrics_urls(compared.metrics_url or [], servers)
    varied = _varied(compared)
    if urls and varied and is_simulated(engine.device):
        raise ConfigurationError("a simulated device and a server do not compare: leave out --device or --url")
    # Where both are measured, an option of one kind is not a mistake: it applies to some of the targets.
    of_servers, of_engine = (EngineOptions(), without_connection(target)) if urls and varied else (engine, target)
    if urls and varied:
        target = replace(target, real_time=False, step_log=False, startup_timeout_s=TargetOptions().startup_timeout_s)
    if has_step_log:
        of_engine = replace(of_engine, step_log=True)
    found = {
        name: LiveTarget(with_named_target(replace(target, url=url, metrics_url=metrics.get(name))), of_servers)
        for name, url in servers.items()
    }
    for name, variation in (variations(varied, engine) if varied else {}).items():
        if name in found:
            raise ConfigurationError(f"--url {name}=... has the name of a batching mode")
        found[name] = LiveTarget(of_engine, variation.engine, variation.note if compared.vary else "")
    if len(found) < 2:
        raise ConfigurationError(
            "compare needs two targets at least: --url A --url B, --batching window,async, or --vary park=keep,auto"
        )
    if len({one.is_simulated for one in found.values()}) > 1:
        raise ConfigurationError("a simulated and a real device do not compare: vary devices of one kind")
    return found


def _varied(compared: ComparedOptions) -> Sequence[str]:
    """What our engine is varied in; nothing if it is not measured."""
    if compared.batching is not None:
        batching_modes(compared.batching)
        return [f"batching={compared.batching}", *(compared.vary or ())]
    if compared.vary:
        return compared.vary
    return [] if compared.url else [f"batching={','.join(BATCHING_MODES)}"]


def plan_targets(
    targets: Mapping[str, LiveTarget], traffic: TrafficOptions, report: ReportOptions, *, workers: int
) -> dict[str, Plan]:
    """Plan a run of each target as `abatch bench` would, checked before anything starts.

    Raises:
        ConfigurationError: a value is wrong, an option does not apply, or the engine is not installed.
    """
    plans = {}
    for name, one in targets.items():
        plan = plan_run(one.target, traffic, one.engine, report, workers=workers)
        source = plan.source
        if one.note and isinstance(source, OwnServer | SimulatedEngine):
            source = replace(source, note=one.note)
        options = {**plan.options, "compared_as": name}
        plans[name] = replace(plan, source=source, options=options, command=None)  # a round alone is not repeated
    return plans

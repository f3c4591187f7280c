"""Scenes with a tail of known cause, played in virtual time, and what a report says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.reports.attribution.attribution import attribute
from abatch.reports.attribution.size import tell_uneven_work
from abatch.reports.run.config import RunConfig
from abatch.reports.run.recorded_part import recorded_part, summarise
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.server import summarise_server
from abatch.reports.summary.summary import Summary
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.watching.client_audit import Lapse
from abatch.workloads.watching.server_metrics import ServerSample
from abatch.workloads.workload import ALL, Stream

from support.injections import lapsed, read_late
from support.site.site import Site, SiteTarget
from support.stepping_server import Machine, SteppingServer


@dataclass(frozen=True, slots=True)
class Scene:
    """A server's fault, the traffic that meets it, and what may be said.

    Attributes:
        right: Causes that are true. Any other that is said is wrong; silence is not.
        needed: Those that must be said, besides.
        besides: Streams of sessions that are sent along with the traffic.
        verdict_class: What the verdict is about.
    """

    name: str
    right: frozenset[Cause]
    machine: Machine | Site
    traffic: TrafficOptions
    lapses: tuple[Lapse, ...] = ()
    needed: frozenset[Cause] = frozenset()
    besides: tuple[Stream, ...] = ()
    verdict_class: str = ALL


@dataclass(frozen=True, slots=True)
class Played:
    """A scene's results, and what the server's metrics were meanwhile."""

    results: list[Result]
    samples: Sequence[ServerSample] = field(default_factory=list)


def play(scene: Scene, seed: int = 0) -> Played:
    """Its results, in virtual time."""
    planned = make_traffic(replace(scene.traffic, seed=seed))
    workload = replace(planned.workload, streams=(*planned.workload.streams, *scene.besides))
    results: list[Result] = []
    server = scene.machine
    target = SteppingServer(replace(server, seed=seed)) if isinstance(server, Machine) else server.target(seed)

    async def replay() -> None:
        others = [asyncio.create_task(other) for other in (target.others() if isinstance(target, SiteTarget) else ())]
        generator = LoadGenerator(
            workload,
            target,
            planned.limits,
            seed=seed,
            sizer=PromptSizer(is_measured=True),
            on_result=results.append,
        )
        await generator.run()
        for other in others:
            other.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(replay())
    if scene.lapses:
        results = read_late(results, scene.lapses)
    return Played(results, target.samples if isinstance(target, SiteTarget) else [])


def report(scene: Scene, played: Played) -> Summary:
    """The summary of a scene's results, as a run folder has it."""
    results = played.results
    assert scene.traffic.duration_s is not None
    assert scene.traffic.warmup_s is not None
    duration_s, warmup_s = scene.traffic.duration_s, scene.traffic.warmup_s
    config = RunConfig(
        duration_s=duration_s,
        warmup_s=warmup_s,
        verdict_class=scene.verdict_class,
        closed_loop=scene.traffic.session_rate is None,
    )
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    part = recorded_part(config, recorder, duration_s - warmup_s, lambda: results)
    summary = summarise(config, part)
    summary.client = lapsed(scene.lapses) if scene.lapses else None
    summary.server = summarise_server(played.samples, warmup_s, duration_s, summary.output_tokens_per_s)
    summary.attribution = attribute(lambda: results, summary, samples=played.samples)
    tell_uneven_work(summary)
    return summary


def said(summary: Summary) -> set[Cause]:
    """Every cause that a reader of the report is told of."""
    told = {
        finding.cause
        for finding in findings(summary)
        if finding.label in (Label.CAUSE, Label.STALL, Label.ADVICE) and finding.cause is not None
    }
    verdicts = {Label.UNEVEN_WORK: Cause.SIZE, Label.OVERLOADED: Cause.DRIFT, Label.NOT_STEADY: Cause.DRIFT}
    told |= {verdicts[finding.label] for finding in findings(summary) if finding.label in verdicts}
    return told - {Cause.UNKNOWN}

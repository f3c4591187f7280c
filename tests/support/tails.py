"""Scenes with a tail of known cause, played in virtual time, and what a report says of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.reports.attribution.attribution import attribute
from abatch.reports.attribution.size import tell_uneven_work
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import recorded_part, summarise
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.watching.client_watch import Lapse

from support.injections import lapsed, read_late
from support.stepping_server import Machine, SteppingServer


@dataclass(frozen=True, slots=True)
class Scene:
    """A server's fault, the traffic that meets it, and what may be said.

    Attributes:
        right: Causes that are true. Any other that is said is wrong; silence is not.
        needed: Those that must be said, besides.
    """

    name: str
    right: frozenset[Cause]
    machine: Machine
    traffic: TrafficOptions
    lapses: tuple[Lapse, ...] = ()
    needed: frozenset[Cause] = frozenset()


def play(scene: Scene, seed: int = 0) -> list[Result]:
    """Its results, in virtual time."""
    planned = make_traffic(replace(scene.traffic, seed=seed))
    results: list[Result] = []

    async def replay() -> None:
        generator = LoadGenerator(
            planned.workload,
            SteppingServer(replace(scene.machine, seed=seed)),
            planned.limits,
            seed=seed,
            sizer=PromptSizer(is_measured=True),
            on_result=results.append,
        )
        await generator.run()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(replay())
    return read_late(results, scene.lapses) if scene.lapses else results


def report(scene: Scene, results: list[Result]) -> Summary:
    """The summary of a scene's results, as a run folder has it."""
    assert scene.traffic.duration_s is not None
    assert scene.traffic.warmup_s is not None
    duration_s, warmup_s = scene.traffic.duration_s, scene.traffic.warmup_s
    config = RunConfig(duration_s=duration_s, warmup_s=warmup_s)
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    part = recorded_part(config, recorder, duration_s - warmup_s, lambda: results)
    summary = summarise(config, part)
    summary.client = lapsed(scene.lapses) if scene.lapses else None
    summary.attribution = attribute(lambda: results, summary)
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

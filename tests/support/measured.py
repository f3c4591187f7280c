"""Saved runs of which everything is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from abatch.engine.loop.step_account import EngineTotals
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from abatch.reports.run.writer import RunWriter
from abatch.workloads.result import Result

from support.results import make_result

LENGTH_S = 60.0


def write_run(
    folder: Path,
    results: Iterable[Result],
    *,
    engine: EngineTotals | None = None,
    is_complete: bool = True,
    **labels: Any,
) -> RunReader:
    """A run of a minute. `labels`: fields of its configuration."""
    values: dict[str, Any] = {"workload": "mixed", "target": "abatch", "model": "m", "verdict_class": "chat"}
    writer = RunWriter(folder, RunConfig(**(values | {"duration_s": LENGTH_S} | labels)))
    writer.start()
    for result in sorted(results, key=lambda result: result.end_s):
        writer.add(result)
    writer.finish(LENGTH_S, is_complete=is_complete, engine=engine)
    return RunReader(folder)


def noisy(
    seed: int, *, count: int = 1200, ttft_ms: float = 50.0, spread: float = 0.3, factor: float = 1.0, **fields: Any
) -> list[Result]:
    """Requests whose ttft is log-normal; `factor` is on all of its times."""
    random = Random(f"noisy/{seed}")
    return [
        make_result(
            factor * ttft_ms * math.exp(random.gauss(0, spread)),
            gaps_ms=(factor * 10 * math.exp(random.gauss(0, 0.1)),) * 3,
            due_s=LENGTH_S * index / count,
            session_id=f"s-{index}",
            **fields,
        )
        for index in range(count)
    ]


def measurement(folder: Path, *rounds: Iterable[Result], **labels: Any) -> Measurement:
    """One target, measured in as many rounds."""
    return Measurement(
        [write_run(folder / f"round-{number}", results, **labels) for number, results in enumerate(rounds, 1)]
    )

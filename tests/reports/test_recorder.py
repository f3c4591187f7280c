"""Recorders of several processes add up to what one would have recorded."""

from __future__ import annotations

import random

import msgspec
import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.results import make_result


def _results(count: int) -> list[Result]:
    """Sessions of two turns, of two classes; some fail, some are cut off, some come in the warm-up."""
    draw = random.Random(0)
    results = []
    for number in range(count):
        for turn in range(2):
            gaps_ms = tuple(draw.lognormvariate(2, 0.5) for _ in range(draw.randrange(1, 20)))
            result = make_result(
                draw.lognormvariate(4, 1),
                gaps_ms=gaps_ms,
                due_s=number * 0.2 + turn * 3,
                session_id=f"s{number}",
                turn_index=turn,
                is_last=turn == 1,
                pause=Pause.TOOL if turn else Pause.NONE,
                pause_s=float(turn),
                traffic_class=("chat", "agent")[number % 2],
                warmup=number < 10,
                error="timeout" if draw.random() < 0.05 else None,
                censored=draw.random() < 0.05,
            )
            results.append(result)
    return results


def _recorded(results: list[Result]) -> Recorder:
    recorder = Recorder((2.0, 70.0))
    for result in results:
        recorder.add(result)
    return recorder


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_merging_gives_the_summary_of_one(workers: int) -> None:
    results = _results(400)
    merged = Recorder((2.0, 70.0))
    for worker in range(workers):
        merged.merge(_recorded([result for result in results if int(result.session_id[1:]) % workers == worker]))
    one, other = (fill_summary(Summary(), recorder, 68.0) for recorder in (_recorded(results), merged))
    assert msgspec.to_builtins(other) == msgspec.to_builtins(one)
    assert one.metrics["session"]["all"].count > 300


def test_all_is_the_sum_of_the_classes() -> None:
    recorder = _recorded(_results(100))
    for metric in ("ttft", "itl", "resume_ttft"):
        counts = {}
        for name in ("all", "chat", "agent"):
            histogram = recorder.histogram(metric, name)
            assert histogram is not None
            counts[name] = histogram.get_total_count()
        assert counts["all"] == counts["chat"] + counts["agent"] > counts["chat"] > 0

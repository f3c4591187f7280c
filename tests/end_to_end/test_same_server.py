"""Two runs of one server are the same, and one that is a tenth slower is slower: fifty times each, in simulation."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.comparison.comparison import ComparedTarget, compare
from abatch.reports.comparison.difference import Verdict
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from abatch.reports.run.writer import RunWriter
from abatch.workloads.result import Result
from support.injections import simulated

_SHIFT = 1.1
_COMPARISONS = 50
_PILOTS = 5
_RATE = 10.0
_PILOT_S = 60.0
_TRAFFIC = TrafficOptions(workload="chat-short", turns=1, input_len=256, output_len=16, request_rate=_RATE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What two comparisons said: of two runs of one server, and of the same with the second a tenth slower."""

    false_claims: list[str]
    is_shift_found: bool


def run(folder: Path, seed: int, duration_s: float) -> RunReader:
    traffic = replace(_TRAFFIC, duration_s=duration_s, seed=seed)
    simulated(folder, lambda event: None, is_gap=False, traffic=traffic)
    return RunReader(folder)


def slower(result: Result) -> Result:
    """The same request where everything takes a tenth longer."""
    assert result.first_s is not None
    return msgspec.structs.replace(
        result,
        first_s=result.due_s + _SHIFT * (result.first_s - result.due_s),
        end_s=result.due_s + _SHIFT * (result.end_s - result.due_s),
        gaps_us=[round(_SHIFT * gap_us) for gap_us in result.gaps_us],
    )


def written_again(reader: RunReader, folder: Path, results: Iterator[Result]) -> RunReader:
    writer = RunWriter(folder, reader.config)
    writer.start()
    for result in results:
        writer.add(result)
    writer.finish(reader.summary().measured_s, is_complete=True)
    return RunReader(folder)


def compared(first: RunReader, other: RunReader) -> ComparedTarget:
    (target,) = compare({"first": Measurement([first]), "other": Measurement([other])}).targets
    return target


def needed_requests(folder: Path, number: int) -> int:
    """What a short pilot recommends for telling an e2e p99 that differs by a tenth."""
    pair = [run(folder / f"pilot-{number}-{part}", 1000 + 2 * number + part, _PILOT_S) for part in (0, 1)]
    found = next(one for one in compared(pair[0], pair[1]).differences if one.name == "e2e p99")
    assert found.needed_requests is not None
    return found.needed_requests


def outcome(folder: Path, number: int, duration_s: float) -> Outcome:
    first, other = (run(folder / f"{number}-{part}", 2 * number + part, duration_s) for part in (0, 1))
    same = compared(first, other)
    shifted = written_again(other, folder / f"{number}-slower", map(slower, other.results()))
    found = next(one for one in compared(first, shifted).differences if one.name == "e2e p99")
    return Outcome([one.name for one in same.differences if one.is_real], found.verdict is Verdict.WORSE)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_same_server_is_called_different_in_5_of_100_at_most_and_a_tenth_is_found_in_about_90(
    tmp_path: Path,
) -> None:
    """At the size that small pilots recommend. All sixteen numbers of a comparison are held to the 5% together."""
    # Spawned: a fork would take over whatever threads the tests before have left.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        sizes = sorted(pool.map(needed_requests, [tmp_path] * _PILOTS, range(_PILOTS)))
        num_requests = max(sizes[_PILOTS // 2], round(_RATE * _PILOT_S))  # less than the pilot was is never recommended
        duration_s = math.ceil(num_requests / _RATE / 0.9)  # the first tenth is warm-up, or 5 s
        numbers = range(_COMPARISONS)
        outcomes = list(pool.map(outcome, [tmp_path] * _COMPARISONS, numbers, [duration_s] * _COMPARISONS))
    claims = [one.false_claims for one in outcomes if one.false_claims]
    assert len(claims) <= 0.05 * _COMPARISONS, claims
    # 90% is what the recommended size aims at: of 50, all but 6 in a thousand such series find it 39 times or more.
    found = sum(one.is_shift_found for one in outcomes)
    assert found >= 0.78 * _COMPARISONS, (found, num_requests, duration_s)

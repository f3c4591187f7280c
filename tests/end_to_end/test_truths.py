"""What a measurement must get right, each held against a server that does exactly what it was told."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.truth import Truth, read_truths
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.recording.recorder import ALL, Recorder
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Session, Turn
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.workload import OpenLoop, Stream, Workload, drawn
from support.behaving_target import BehavingTarget
from support.cli import abatch
from support.servers import null_server

pytestmark = pytest.mark.xdist_group("wall_clock")

_NOT_OK = ("FLAGGED", "borderline", "too few")
"""One freeze in a run of seconds is one event. Whether that is enough for a verdict is not what is tested here."""


class Measured:
    """A run of single requests at a constant rate, as `abatch bench` reports it, and what the server truly did."""

    def __init__(self, folder: Path, server: tuple[str, ...], bench: tuple[str, ...]) -> None:
        truths = folder / "truths.jsonl"
        run = folder / "run"
        with null_server(*server, "--log", str(truths), log=folder / "log") as running:
            done = abatch(
                *("bench", "--url", running.url, "--output", run, "--workload", "chat-short", "--turns", "1"),
                *("--isl", "5", "--arrival", "constant", "--warmup", "0", *bench),
            )
        self.exit_code = done.returncode
        self.report = done.stdout
        self.headlines, table, _ = done.stdout.partition("\nms ")
        """What stands above the table: the first that anybody sees."""
        assert table, done.stderr
        self.summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
        lines = (run / "results.jsonl").read_bytes().splitlines()
        self.results = [msgspec.json.decode(line, type=Result) for line in lines]
        of_run = {result.request_id for result in self.results}
        self.truths = [truth for truth in read_truths(truths) if truth.request_id in of_run]
        """Without those of the calibration."""

    def metric(self, name: str) -> dict[str, Any]:
        """A latency metric of the summary, in milliseconds."""
        found: dict[str, Any] = self.summary["metrics"][name][ALL]
        return found

    def said(self, pattern: str) -> int:
        """The number that the report gives for this."""
        found = re.search(pattern, self.report)
        assert found is not None, self.report
        return int(found[1])


@pytest.mark.parametrize(
    ("server", "bench"),
    [
        (("--ttft", "20", "--itl", "20"), ("--osl", "6")),
        (("--ttft", "5", "--itl", "5"), ("--osl", "2", "--max-in-flight", "2")),
    ],
    ids=["unlimited", "two in flight"],
)
def test_1_a_freeze_shows_at_its_true_size(tmp_path: Path, server: tuple[str, ...], bench: tuple[str, ...]) -> None:
    """At 70 a second 2 s hit 140 requests. With two in flight 138 of them wait in the client, and wait all the same."""
    run = Measured(
        tmp_path,
        (*server, "--freeze-at", "2", "--freeze-for", "2"),
        ("--request-rate", "70", "--duration", "5", *bench),
    )
    summary = run.summary
    assert (summary["requests"], summary["succeeded"], summary["censored"]) == (350, 350, 0)
    for metric in ("ttft", "e2e"):
        assert 1800 <= run.metric(metric)["p99_ms"] <= 2600
        assert 1900 <= run.metric(metric)["max_ms"] <= 2900
    assert run.metric("ttft")["verdict"] in _NOT_OK
    if "--max-in-flight" in bench:
        assert summary["held_requests"] >= 100, "they waited for a place, and the report says so"
        assert summary["held_mean_ms"] >= 500
        assert "waited for one of the --max-in-flight places" in " ".join(run.report.split())
        assert summary["late_arrivals"] < 50, "the client sent each as soon as it had one"
    else:
        assert 1900 <= run.metric("itl")["max_ms"] <= 2900, "streams stood still too"
        assert 1900 <= run.metric("max_gap")["max_ms"] <= 2900


def test_2_a_freeze_near_the_end_is_drained(tmp_path: Path) -> None:
    """It lasts for 1.5 s beyond the last arrival, and whoever waits in it is waited for."""
    run = Measured(
        tmp_path,
        ("--ttft", "10", "--itl", "10", "--freeze-at", "2.5", "--freeze-for", "2"),
        ("--request-rate", "50", "--duration", "3", "--osl", "2"),
    )
    summary = run.summary
    assert (summary["requests"], summary["succeeded"], summary["censored"], summary["dropped_arrivals"]) == (
        *(150, 150, 0, 0),
    )
    assert run.metric("ttft")["count"] == 150
    assert 1800 <= run.metric("ttft")["p99_ms"] <= 2600
    assert 1900 <= run.metric("ttft")["max_ms"] <= 2900


def test_2_a_freeze_beyond_the_end_leaves_lower_bounds(tmp_path: Path) -> None:
    """Nobody who was waiting is left out, and the report says how many there are."""
    run = Measured(
        tmp_path,
        ("--ttft", "10", "--itl", "10", "--freeze-at", "2", "--freeze-for", "60"),
        ("--request-rate", "110", "--duration", "3", "--drain", "1", "--osl", "2", "--require", "ttft.p99 < 60s"),
    )
    summary = run.summary
    assert summary["requests"] == 330
    assert summary["censored"] + summary["succeeded"] == 330
    assert 50 <= summary["censored"] <= 220, "those due in the last second, or a little more"
    assert run.said(r"censored\s+(\d+)") == summary["censored"]
    assert run.metric("ttft")["count"] == run.metric("e2e")["count"] == 330
    assert run.metric("ttft")["max_ms"] >= 1800, "from the freeze to the end of the drain"
    assert run.metric("ttft")["p99_ms"] >= 1700
    assert run.exit_code == 4, "a rule about a tail that was cut off cannot be judged"
    assert sum(truth.fault == "cancelled" for truth in run.truths) == summary["censored"]


@pytest.fixture(scope="module")
def unsent(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A server that freezes for good, and a client that has two requests in flight at most."""
    return Measured(
        tmp_path_factory.mktemp("unsent"),
        ("--ttft", "5", "--itl", "5", "--freeze-at", "1", "--freeze-for", "60"),
        ("--request-rate", "50", "--duration", "3", "--drain", "0.5", "--osl", "2", "--max-in-flight", "2"),
    )


def test_3_arrivals_that_could_not_be_sent_are_counted(unsent: Measured) -> None:
    run, summary = unsent, unsent.summary
    assert summary["requests"] == 150, "each has a result, sent or not"
    assert summary["censored"] == 2, "those in flight"
    assert summary["dropped_arrivals"] == 150 - 2 - summary["succeeded"] >= 60
    assert len(run.truths) == 150 - summary["dropped_arrivals"], "the server never heard of them"
    assert run.said(r"dropped\s+(\d+)") == summary["dropped_arrivals"]
    assert run.metric("ttft")["count"] == 150, "how long they had waited is a lower bound"
    assert run.metric("ttft")["max_ms"] >= 2000


def test_3_and_headlined(unsent: Measured) -> None:
    assert unsent.summary["unplaced_arrivals"] == unsent.summary["dropped_arrivals"]
    assert f"OVERLOADED: {unsent.summary['dropped_arrivals']} arrivals" in unsent.headlines, unsent.headlines
    assert "NOT TRUSTED" not in unsent.headlines, "not the client's doing"


def test_4_failures_are_counted_by_class_and_never_timed(tmp_path: Path) -> None:
    """Errors come at once and resets early: timed, they would make the server look fast."""
    seed = next(seed for seed in range(100) if _calibrates(Behaviour(error_rate=0.2, reset_rate=0.2, seed=seed)))
    run = Measured(
        tmp_path,
        ("--ttft", "100", "--itl", "20", "--error-rate", "0.2", "--reset-rate", "0.2", "--seed", str(seed)),
        ("--request-rate", "60", "--duration", "4", "--osl", "4"),
    )
    summary = run.summary
    faults = Counter(truth.fault for truth in run.truths)
    assert summary["requests"] == len(run.truths) == 240
    assert summary["errors"] == {"http_500": faults["error"], "disconnected": faults["reset"]}
    assert min(summary["errors"].values()) > 20
    assert summary["succeeded"] == faults[None]
    for metric in ("ttft", "e2e"):
        assert run.metric(metric)["count"] == summary["succeeded"], metric
    for metric in ("max_gap", "tpot"):  # an answer that a busy client reads at once has no gaps
        assert run.metric(metric)["count"] <= summary["succeeded"], metric
    assert run.metric("itl")["count"] <= 3 * summary["succeeded"]
    assert min(result.ttft_us for result in run.results if result.error is None) >= 99_000
    assert run.metric("ttft")["p50_ms"] >= 99
    assert run.said(r"(\d+) x http_500") == faults["error"]
    assert run.said(r"(\d+) x disconnected") == faults["reset"]
    assert run.headlines.startswith("ERRORS: "), "they come first"
    assert run.exit_code == 1, "more than 5% failed, and no rule allows it"


def _calibrates(behaviour: Behaviour) -> bool:
    """Whether the two requests of the calibration, which come first, get through."""
    return all(behaviour.answer(number, 0.0, 0, 1).fault is None for number in range(2))


_STALLED = Behaviour(ttft_s=0.001, freeze_at_s=99.995, freeze_for_s=100.004)
"""HdrHistogram's own scenario: 10,000 requests of 1 ms, then one that takes 100 s."""

_PERCENTILES = (1, 25, 50, 50.1, 75, 90, 99, 99.9, 99.99, 100)


def _replayed(**limits: Any) -> list[Result]:
    """100 requests a second for 200 s against that, in virtual time."""

    def session(_: Random, session_id: str) -> Session:
        return Session(session_id, "test", (Turn(1, 1),))

    async def replay() -> list[Result]:
        workload = Workload("test", "", (Stream("test", drawn("test", session), OpenLoop(100, "constant")),))
        results: list[Result] = []
        generator = LoadGenerator(
            workload, BehavingTarget(_STALLED), RunLimits(duration_s=200, **limits),
            seed=0, sizer=PromptSizer(), on_result=results.append,
        )  # fmt: skip
        await generator.run()
        return results

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(replay())


def test_5_what_was_due_in_a_stall_counts_as_hdr_histogram_would_correct_it() -> None:
    corrected = new_histogram()
    for _ in range(10_000):
        corrected.record_corrected_value(1_000, 10_000)
    corrected.record_corrected_value(100_000_000, 10_000)
    recorder = Recorder()
    for result in _replayed():
        recorder.add(result)
    expected = [corrected.get_value_at_percentile(percentile) / 1e3 for percentile in _PERCENTILES]
    for metric in ("ttft", "e2e"):
        assert recorder.percentiles_ms(metric, ALL, _PERCENTILES) == expected
    p50, p75, p99, longest = (corrected.get_value_at_percentile(percentile) / 1e6 for percentile in (50, 75, 99, 100))
    assert (p50, p75, p99, longest) == pytest.approx((0.001, 50, 98, 100), rel=0.002), "the figures of its manual"


def test_5_the_same_where_the_client_itself_waits_and_what_a_clock_from_sending_would_show() -> None:
    """One request at a time: nobody is sent while the server stands still, so from sent to first chunk all is well."""
    results = _replayed(max_in_flight=1)
    raw, recorder = new_histogram(), Recorder()
    for result in results:
        assert result.sent_s is not None
        assert result.first_s is not None
        raw.record_value(round((result.first_s - result.sent_s) * 1e6))
        recorder.add(result)
    assert len(results) == 20_000
    assert [raw.get_value_at_percentile(at) / 1e6 for at in (50, 99, 99.99, 100)] == pytest.approx(
        [0.001, 0.001, 0.001, 100], rel=0.002
    )
    for metric in ("ttft", "e2e"):
        found = recorder.percentiles_ms(metric, ALL, (50, 75, 99, 100))
        assert found is not None
        # 1 ms each, one after the other: the last of the 10,000 that had been waiting is sent 10 s later.
        assert found == pytest.approx([1, 55_000, 98_200, 100_000], rel=0.002)


def test_6_a_blocked_server_does_not_see_it_and_the_client_does(tmp_path: Path) -> None:
    """To its own log what came in the block came afterwards. The verdict follows the client."""
    run = Measured(
        tmp_path,
        ("--ttft", "5", "--freeze-at", "2", "--freeze-for", "2", "--block"),
        ("--request-rate", "70", "--duration", "5", "--osl", "1"),
    )
    assert run.summary["succeeded"] == len(run.truths) == 350
    assert 1800 <= run.metric("ttft")["p99_ms"] <= 2600
    assert 1900 <= run.metric("ttft")["max_ms"] <= 2900
    assert run.metric("ttft")["verdict"] in _NOT_OK
    assert re.search("^(FLAGGED|BORDERLINE): ttft", run.headlines, re.MULTILINE), run.headlines
    of_server = sorted(map(_ttft_s, run.truths))
    assert of_server[round(0.98 * len(of_server))] <= 0.6, "by the server's log nothing much happened"
    by_id = {truth.request_id: truth for truth in run.truths}
    missed_s = max(result.ttft_us / 1e6 - _ttft_s(by_id[result.request_id or ""]) for result in run.results)
    assert missed_s >= 1.7, "the same request, by both clocks"


def _ttft_s(truth: Truth) -> float:
    assert truth.first_s is not None
    return truth.first_s - truth.arrived_s

"""How many traffic classes are told apart, and what becomes of the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.recorder import Recorder
from abatch.reports.recording.totals import OTHER_ERRORS
from abatch.reports.run.result_log import RESULTS, read_results
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.session import Session, Turn
from abatch.workloads.share import Share, Slots, parts
from abatch.workloads.traffic_classes import MOST_CLASSES, OTHER, listed_classes, told_apart
from support.measured import write_run
from support.results import make_result
from support.rules import judged


def _session(name: str, *children: Session) -> Session:
    return Session(f"s-{name}", name, (Turn(5, 1, children=children),))


def _names(sessions: Iterator[Session]) -> list[str]:
    return [session.traffic_class for session in sessions]


def test_the_first_classes_keep_their_names() -> None:
    sessions = [_session(name) for name in ("b", "a", "c", "b", "d", "a", "other")]
    assert _names(told_apart(sessions, 2)) == ["b", "a", OTHER, "b", OTHER, "a", OTHER]
    kept = list(told_apart(sessions, 5))
    assert all(one is other for one, other in zip(kept, sessions, strict=True)), "a class called other is one like any"


def test_sub_agents_have_classes_too() -> None:
    child = _session("x", _session("y"))
    (session, *_) = told_apart([_session("a", child, _session("a"))], 2)
    first, second = session.turns[0].children
    assert (session.traffic_class, first.traffic_class, second.traffic_class) == ("a", "x", "a")
    assert first.turns[0].children[0].traffic_class == OTHER


def _trace(path: Path, classes: list[str]) -> Path:
    turns = [{"new_tokens": 5, "output_tokens": 1}]
    rows = [{"session_id": str(n), "traffic_class": name, "turns": turns} for n, name in enumerate(classes)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _options(path: Path, traffic_class: str | None = None) -> TrafficOptions:
    return TrafficOptions(trace=str(path), trace_format="native", traffic_class=traffic_class)


def test_processes_that_share_a_trace_agree(tmp_path: Path) -> None:
    path = _trace(tmp_path / "trace.jsonl", [f"c{number % 100}" for number in range(300)])
    workload = make_traffic(_options(path)).workload
    (stream,) = workload.streams
    whole = {session.session_id: session.traffic_class for session in stream.sessions(0)}
    shared = {
        session.session_id: session.traffic_class
        for index in range(3)
        for part in parts(workload, 0, Share(index, 3))
        if isinstance(part, Slots)
        for session in part.sessions
    }
    assert shared == whole
    counts = Counter(whole.values())
    assert len(counts) == MOST_CLASSES + 1
    assert counts[OTHER] == 3 * (100 - MOST_CLASSES)


def test_a_class_beyond_the_bound_is_said_to_be_among_the_others(tmp_path: Path) -> None:
    path = _trace(tmp_path / "trace.jsonl", [f"c{number}" for number in range(300)])
    assert make_traffic(_options(path, OTHER)).workload.verdict_class == OTHER
    assert make_traffic(_options(path, "c63")).workload.verdict_class == "c63"
    with pytest.raises(ConfigurationError, match=f"and 53 more; any further one is counted in {OTHER}, because 64"):
        make_traffic(_options(path, "c64"))
    with pytest.raises(ConfigurationError, match=f"--class {OTHER}: the workload short has no such class; it has a, "):
        make_traffic(_options(_trace(tmp_path / "short.jsonl", ["a"]), OTHER))


@pytest.mark.parametrize("name", ["all", OTHER])
def test_names_that_mean_several_classes_are_refused_in_a_trace(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r":2: traffic_class: .* is what abatch calls several classes"):
        make_traffic(_options(_trace(tmp_path / "trace.jsonl", ["a", name]), "b"))


def test_a_folder_of_others_is_read_with_as_few(tmp_path: Path) -> None:
    encode = msgspec.json.Encoder().encode
    results = (make_result(due_s=number / 100, traffic_class=f"c{number % 100}") for number in range(300))
    (tmp_path / RESULTS).write_bytes(b"".join(encode(result) + b"\n" for result in results))
    counts = Counter(result.traffic_class for result in read_results(tmp_path))
    assert len(counts) == MOST_CLASSES + 1
    assert counts[OTHER] == 3 * (100 - MOST_CLASSES)


def test_what_is_counted_together_is_said_wherever_a_class_is_missing(tmp_path: Path) -> None:
    results = [make_result(due_s=number / 10, traffic_class=("a", OTHER)[number % 2]) for number in range(40)]
    summary = write_run(tmp_path / "run", results, verdict_class="a").summary()
    assert "of more than 64 traffic classes the first 64 are told apart, the rest is other-classes" in summary.warnings
    rule = judged("c90.ttft.p99 < 1s", summary)
    assert rule.outcome is Outcome.INCONCLUSIVE
    assert f"any further one is counted in {OTHER}" in rule.reason
    assert judged(f"{OTHER}.ttft.p50 > 1s", summary).outcome is Outcome.FAIL
    summary.verdict_class = "c90"
    assert findings(summary)[0].words.endswith(f"it may be one of those that are counted in {OTHER}")


def test_kinds_of_errors_are_bounded_too() -> None:
    recorder = Recorder()
    for number in range(1000):
        recorder.add(make_result(due_s=number / 10, error=f"e{number}", error_message="m"))
    summary = fill_summary(Summary(), recorder, 100.0)
    assert len(summary.errors) == len(summary.error_examples) == 65
    assert summary.errors[OTHER_ERRORS] == 1000 - 64


def test_what_is_listed_is_short() -> None:
    assert listed_classes(["a", "b"]) == "a, b"
    assert listed_classes([str(number) for number in range(70)]).endswith("10, 11 and 58 more")


def test_a_metric_of_few_values_takes_no_histogram() -> None:
    """190 kB for each metric of a class, of which most have none or a few values."""
    recorder = Recorder()
    for number in range(2000):
        recorder.add(make_result(10.0, gaps_ms=(5.0,), traffic_class=f"c{number % 20}", due_s=number / 100))
    assert not recorder._histograms._full
    names = [(metric, name) for metric, name, _ in recorder.histograms()]
    assert len(names) > 20
    assert not recorder._histograms._full
    copy = msgspec.structs.replace(make_result(), traffic_class="c0")
    recorder.add(copy)
    histogram = recorder.histogram("ttft", "c0")
    assert histogram is not None
    assert histogram.get_total_count() == 101

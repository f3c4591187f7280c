"""What a person sees."""

from __future__ import annotations

import io
from random import Random

import pytest
from abatch.reports.formatting import milliseconds
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.console import print_summary
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.session import Pause
from rich.console import Console
from support.results import make_result
from support.rules import judged


def shown(count: int = 2000, **labels: object) -> str:
    random = Random(0)
    recorder = Recorder()
    for index in range(count):
        traffic_class = ("chat", "agent", "always-on")[index % 3]
        recorder.add(
            make_result(
                random.lognormvariate(4, 1.5),
                due_s=index / 20,
                gaps_ms=(random.lognormvariate(2, 0.3), 20000.0),
                traffic_class=traffic_class,
                pause=Pause.TOOL if index % 2 else Pause.NONE,
                error="http_503" if index % 100 == 0 else None,
                error_message="overloaded",
            )
        )
    values = {"workload": "mixed", "target": "http://127.0.0.1:8000", "model": "m", "verdict_class": "chat"}
    summary = fill_summary(Summary(**(values | labels)), recorder, 100.0)  # type: ignore[arg-type]
    out = io.StringIO()
    rules = ["ttft.p99/p50 <= 3", "errors < 5%", "nobody.ttft.p99 < 1s"]
    console = Console(file=out, width=80, no_color=True, highlight=False)
    print_summary(console, summary, [judged(rule, summary) for rule in rules])
    return out.getvalue()


def test_the_verdict_comes_first_and_all_fits_80_columns() -> None:
    text = shown()
    lines = text.splitlines()
    assert lines[0].startswith("FLAGGED: ")
    assert "your p99 TTFT of class chat is 2.06 s, 39x the median" in lines[0], "a sentence heads all"
    assert "ERRORS: 1.0% of the requests failed (20 of 2,000): HTTP 503 (overloaded)" in text
    assert max(len(line) for line in lines) <= 80
    assert "…" not in text, "a number was cut off"
    for word in ("ttft", "resume_ttft", "itl", "max_gap", "e2e", "always-on", "offered", "achieved", "start delay"):
        assert word in text
    assert "20 x http_503: overloaded" in text


def test_rules_are_reported() -> None:
    text = shown()
    assert "FAIL         ttft.p99/p50 <= 3" in text
    assert "PASS         errors < 5%" in text
    assert "INCONCLUSIVE nobody.ttft.p99 < 1s" in text


def test_too_few_samples_are_said_in_words() -> None:
    text = shown(60)
    assert "NOT ENOUGH DATA: p99 of class chat cannot be judged yet: ttft 19 of about 310" in text
    assert "too few" in text


@pytest.mark.parametrize(
    ("labels", "says"), [({"is_complete": False}, "INTERRUPTED"), ({"simulated": True}, "SIMULATED")]
)
def test_what_must_not_be_overlooked(labels: dict[str, bool], says: str) -> None:
    assert shown(**labels).splitlines()[0].startswith(says)


def test_an_interrupted_run_has_no_verdict() -> None:
    """What was flagged until then is still said; nothing is called OK."""
    text = shown(is_complete=False)
    assert text.startswith("INTERRUPTED: no verdict")
    assert "OK:" not in text


def test_a_class_without_a_sample_has_no_verdict() -> None:
    assert "NO VERDICT: no request of class nobody succeeded" in shown(verdict_class="nobody")


def test_a_run_without_any_success() -> None:
    assert "NO VERDICT" in shown(0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (1.2345, "1.234"), (12.345, "12.35"), (123.45, "123.5"), (12345.6, "12346")]
)
def test_times_have_enough_digits(value: float, text: str) -> None:
    assert milliseconds(value) == text

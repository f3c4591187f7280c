"""Rules that a run cannot answer are found before it: of classes, metrics and numbers that it cannot have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.forecast.forecast import forecast
from abatch.cli.forecast.rules import check_classes, rule_notes
from abatch.cli.measuring.plan import Plan
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.plan import plan_run
from abatch.cli.options.report import ReportOptions
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.parser import parse_rules
from support.cli import abatch

_URL = "http://127.0.0.1:1"


def planned(model: str | None = None, url: str | None = _URL, idle_probe: int = 8, **traffic: Any) -> Plan:
    target = TargetOptions(url=url, model=model, idle_probe=idle_probe)
    engine = EngineOptions() if url else EngineOptions(device="simulated:h100")
    return plan_run(target, TrafficOptions(**traffic), engine, ReportOptions())


def notes(plan: Plan, *rules: str, rare_s: float | None = None) -> list[str]:
    return rule_notes(parse_rules(rules), forecast(plan.traffic), plan, rare_s)


def in_toml(folder: Path) -> list[str]:
    (folder / "gates.toml").write_text("require = ['chta.ttft.p99 < 1s']")
    return ["--rules", "gates.toml"]


@pytest.mark.parametrize("how", ["--require", "--rules", "--dry-run", "compare"])
def test_a_class_that_the_traffic_does_not_have_is_one_line(tmp_path: Path, how: str) -> None:
    rule = in_toml(tmp_path) if how == "--rules" else ["--require", "chta.ttft.p99 < 1s"]
    command = ["compare", "--url", f"b={_URL}"] if how == "compare" else ["bench"]
    words = [*command, "--url", _URL, "-w", "mixed", *rule, *(["--dry-run"] if how == "--dry-run" else [])]
    result = abatch(*words, cwd=tmp_path)
    told = "the workload mixed has no such class; it has chat, agent, always-on, and all"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"abatch: rule 'chta.ttft.p99 < 1s': {told}\n")
    assert not (tmp_path / "runs").exists()


def test_each_model_has_classes_of_its_own_however_few_sessions_it_has() -> None:
    plan = planned(model="a:100000,b:1", workload="mixed")
    rules = parse_rules(["'chat@b'.ttft.p99 < 1s", "'always-on@a'.ttft.p99 < 1s"])
    assert check_classes(rules, plan.traffic) == []
    with pytest.raises(ConfigurationError, match="has no such class; it has chat@a, chat@b, agent@a"):
        check_classes(parse_rules(["chat.ttft.p99 < 1s"]), plan.traffic)


def test_a_class_far_behind_in_a_trace_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = {"new_tokens": 5, "output_tokens": 2}
    classes = ["usual"] * 50 + ["rare"] + ["usual"] * 9
    rows = [{"session_id": f"{place}", "traffic_class": name, "turns": [turn]} for place, name in enumerate(classes)]
    (path := tmp_path / "day.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rules = parse_rules(["rare.ttft.p50 < 1s", "none.ttft.p50 < 1s"])
    with pytest.raises(ConfigurationError, match="has no such class; it has usual, rare, and all"):
        check_classes(rules, planned(trace=str(path)).traffic)
    monkeypatch.setattr("abatch.workloads.traffic_classes._READ", 20)
    found = check_classes(rules, planned(trace=str(path)).traffic)
    assert [note.partition(";")[0] for note in found] == [
        "rule 'rare.ttft.p50 < 1s': no class rare at the beginning of the trace",
        "rule 'none.ttft.p50 < 1s': no class none at the beginning of the trace",
    ]


_CHAT: dict[str, Any] = {"workload": "chat-short", "session_rate": 2.0, "duration_s": 60.0}


@pytest.mark.parametrize(
    ("rule", "traffic", "why"),
    [
        ("ttft.p99.9 < 1s", _CHAT, "needs 3,000 samples of ttft, and about "),
        ("chat.e2e.p95/p50 < 3", _CHAT, None),
        ("itl.p99.9 < 1s", _CHAT, None),
        ("resume_ttft.p50 < 1s", _CHAT, "cannot be judged: this traffic has no resume_ttft"),
        ("continued_ttft.p50 < 1s", _CHAT | {"turns": 1}, "cannot be judged: this traffic has no continued_ttft"),
        ("itl.p50 < 1s", _CHAT | {"output_len": 1}, "cannot be judged: this traffic has no itl"),
        ("resume_ttft_over_10s.p50 < 1s", {"workload": "agent-tools", "pause_cap_s": 5.0}, "cannot be judged: this"),
        ("resume_ttft.p50 < 1s", {"workload": "agent-tools"}, None),
        ("ttft.p99.9 < 1s", {"workload": "mixed", "duration_s": 5.0}, None),
        ("ttfa.p50 < 1s", _CHAT, None),
        ("errors < 0.1%", _CHAT, "cannot pass with about "),
        ("errors < 10%", _CHAT, None),
        ("goodput >= 95%", _CHAT, "cannot be judged without objectives (--goodput)"),
        ("achieved_rate >= 95% of offered", _CHAT, None),
        ("ttft.slowdown.p50 < 3", _CHAT, None),
    ],
)
def test_what_cannot_be_judged_is_told(rule: str, traffic: dict[str, Any], why: str | None) -> None:
    found = notes(planned(**traffic), rule)
    assert len(found) == (why is not None)
    assert all(note.startswith(f"rule {rule!r} {why}") for note in found)


def test_between_certainly_too_few_and_enough_a_rule_cannot_pass() -> None:
    plan = planned(**_CHAT | {"turns": 1, "arrival": "constant", "session_rate": 5.6})
    (note,) = notes(plan, "ttft.p99 < 1s")
    assert note == "rule 'ttft.p99 < 1s' needs 310 samples of ttft to pass, and about 308 come"
    assert notes(plan, "ttft.p99 > 1s") == []
    assert notes(planned(url=None, **_CHAT | {"turns": 1, "session_rate": 8.0}), "ttft.p99 < 1s") == []


def test_without_an_idle_probe_there_is_no_slowdown() -> None:
    (note,) = notes(planned(idle_probe=0, **_CHAT), "ttft.slowdown.p50 < 3")
    assert note.endswith("cannot be judged without an idle probe (--idle-probe)")


def test_a_run_that_is_too_short_for_rare_stalls_passes_nothing() -> None:
    told = ["no rule can pass: --rare 60 takes 3 min of measuring"]
    assert notes(planned(**_CHAT), "ttft.p50 < 1s", rare_s=60.0) == told
    assert notes(planned(**_CHAT), rare_s=60.0) == notes(planned(**_CHAT), "ttft.p50 < 1s", rare_s=10.0) == []
    assert notes(planned(url=None, **_CHAT), "ttft.p50 < 1s", rare_s=60.0) == [], "nothing is left to chance"


def test_the_notes_come_before_the_run_and_the_rule_is_inconclusive_after_it(tmp_path: Path) -> None:
    traffic = ("-w", "chat-short", "--turns", "1", "--osl", "2", "-r", "2", "-d", "20")
    rule = ("--require", "ttft.p99 < 1s")
    result = abatch("bench", "--device", "simulated:h100", *traffic, *rule, "-o", "run", cwd=tmp_path)
    assert "abatch: note: rule 'ttft.p99 < 1s' needs 300 samples of ttft, and about " in result.stderr
    assert "INCONCLUSIVE ttft.p99 < 1s" in result.stdout
    assert result.returncode == 4

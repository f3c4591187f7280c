"""`compare` takes what `bench` takes: rules from a file, objectives, percentiles, workers, addresses of metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from abatch.cli.comparing.repeat import repeat_command, with_salt
from abatch.cli.comparing.targets import live_targets, plan_targets
from abatch.cli.options.compared import ComparedOptions, ComparedTraffic, LookOptions
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.judging import RuleOptions, make_rules
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.report import ReportOptions
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.comparison.comparison import compare
from abatch.reports.comparison.difference import Verdict
from abatch.reports.comparison.quote import quote
from abatch.reports.comparison.sentence import change_in_words
from support.cli import abatch
from support.fixed_run import write_fixed_run
from support.measured import measurement, noisy

_SERVERS = ComparedOptions(url=["a=http://127.0.0.1:1", "b=http://127.0.0.1:2"], metrics_url=["b=http://127.0.0.1:3/m"])


def test_each_target_is_planned_as_a_run_of_bench() -> None:
    target = TargetOptions(server_metrics_interval_s=5.0, no_sessions=True)
    report = ReportOptions(goodput="ttft:200", percentiles="50,95", steady_state=True)
    plans = plan_targets(live_targets(_SERVERS, target, EngineOptions()), TrafficOptions(), report, workers=2)
    assert [plan.metrics_url for plan in plans.values()] == [None, "http://127.0.0.1:3/m"]
    for name, plan in plans.items():
        assert (plan.workers, plan.goodput, plan.percentiles) == (2, "ttft:200", (50.0, 95.0))
        assert plan.steady_state
        assert plan.server_metrics_s == 5.0
        assert plan.options["compared_as"] == name
        assert plan.options["no_sessions"]


def test_the_command_that_repeats_it_names_all_servers_and_no_secret() -> None:
    compared = ComparedOptions(
        url=["a=http://u:s3cret@127.0.0.1:1", "http://127.0.0.1:2"], metrics_url=["a=http://127.0.0.1:3/m?key=s3cret"]
    )
    plans = plan_targets(
        live_targets(compared, TargetOptions(), EngineOptions()), TrafficOptions(), ReportOptions(), workers=1
    )
    traffic = with_salt(ComparedTraffic(duration_s=9.0), plans)
    assert traffic.text_salt, "the texts of all rounds depend on it, and can be sent again"
    assert with_salt(traffic, plans) is traffic
    rules = make_rules(RuleOptions(require=["errors < 1%"]), "mixed")
    command = repeat_command(
        make_traffic(traffic), compared, LookOptions(rounds=2), rules=rules, rare_s=60.0, workers=3
    )
    words = " ".join(command.words)
    assert words.startswith("compare --url a=http://127.0.0.1:1 --url http://127.0.0.1:2 --metrics-url a=http://127.")
    assert "s3cret" not in words
    assert command.secrets == ("--url", "--metrics-url")
    for part in ("--rounds 2", "--require errors < 1%", "--workers 3", "--duration 9", f"salt {traffic.text_salt}"):
        assert part in words


def test_rules_of_a_file_are_judged_and_a_percentile_has_a_row(tmp_path: Path) -> None:
    write_fixed_run(tmp_path / "before" / "run")
    write_fixed_run(tmp_path / "after" / "run", slower=1.5)
    rules = tmp_path / "gates.toml"
    rules.write_text(
        'require = ["ttft.p50 <= baseline + 10%"]\n[workload.mixed]\nrequire = ["errors < 90%"]\nbaseline = "nowhere"\n'
    )
    result = abatch(
        *("compare", tmp_path / "before" / "run", tmp_path / "after" / "run", "--rules", rules, "--percentiles", "95"),
        *("--goodput", "ttft:100", "--json", tmp_path / "report.json"),
    )
    assert result.returncode == 3, result.stdout + result.stderr
    judged = [line.split()[0] for line in result.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    assert judged == ["FAIL", "PASS"]
    assert "after/run is " in result.stdout, "folders called alike go by those above"
    (target,) = json.loads((tmp_path / "report.json").read_text())["comparison"]["targets"]
    found = {(one["metric"], one["statistic"]): one for one in target["differences"]}
    assert found["ttft", "p95"]["verdict"] == "worse"
    assert found["goodput", ""]["first"] > found["goodput", ""]["other"]
    refused = abatch("compare", tmp_path / "before" / "run", tmp_path / "after" / "run", "--rules", tmp_path / "none")
    assert refused.returncode == 2
    assert "none" in refused.stderr


def test_objectives_need_results(tmp_path: Path) -> None:
    for name in "ab":
        write_fixed_run(tmp_path / name)
        (tmp_path / name / "results.jsonl").unlink()
    refused = abatch("compare", tmp_path / "a", tmp_path / "b", "--goodput", "ttft:7")
    assert refused.returncode == 2
    assert "goodput needs more than a summary" in refused.stderr


@pytest.mark.parametrize(
    ("limit_ms", "factor", "verdict"),
    [(60, 1.4, Verdict.WORSE), (60, 1.0, Verdict.INCONCLUSIVE), (1, 1.4, Verdict.SAME)],
)
def test_goodput_is_compared_in_points(tmp_path: Path, limit_ms: int, factor: float, verdict: Verdict) -> None:
    of_all = {"goodput": f"ttft:{limit_ms}"}
    first = measurement(tmp_path / "a", noisy(1, count=800), **of_all)
    other = measurement(tmp_path / "b", noisy(1, count=800, factor=factor), **of_all)
    comparison = compare({"a": first, "b": other}, percentiles=(50.0, 90.0, 99.9))
    found = {one.name: one for one in comparison.targets[0].differences}
    goodput = found["goodput"]
    assert goodput.verdict is verdict
    assert goodput.change == pytest.approx(goodput.other - goodput.first, abs=1e-6)
    assert found["ttft p99.9"].verdict is Verdict.NOT_JUDGED
    assert found["ttft p90"].change is not None
    said = quote("b", "a", list(found.values()), comparison.floor)
    assert ("b meets the objectives in " in said) == (verdict is Verdict.WORSE)
    assert "points (" in change_in_words(goodput)
    without = compare({"a": first, "b": other})
    assert without.interval_confidence < comparison.interval_confidence, "each judged percentile is one more look"

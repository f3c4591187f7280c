"""The Python API, as the documents show it and as a notebook would use it."""

from __future__ import annotations

import re
import signal
import threading
import time
from pathlib import Path

import pytest
from abatch import (
    AbatchError,
    ConfigurationError,
    EngineOptions,
    ReportOptions,
    Run,
    TargetOptions,
    TrafficOptions,
    bench,
    compare,
    load_run,
)
from support.cli import abatch
from support.servers import null_server
from support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
_EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
_SIMULATED = EngineOptions(device="simulated:h100")
_CHATS = TrafficOptions(workload="chat-short", session_rate=4.0, duration_s=20.0)


@pytest.mark.parametrize("document", ["README.md", "docs/python-api.md"])
def test_the_documented_example_runs(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = _EXAMPLE.findall((ROOT / document).read_text())
    exec(compile(example, document, "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^fail ttft.p99/p50 <= 3 ", printed, re.MULTILINE)
    assert re.search(r"worse .*ttft p50 x", printed)
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return bench(engine=_SIMULATED, traffic=_CHATS, folder=tmp_path_factory.mktemp("api") / "run")


def test_a_run_is_what_the_command_saves(run: Run, tmp_path: Path) -> None:
    options = "bench --device simulated:h100 --workload chat-short --session-rate 4 -d 20 -o".split()
    assert abatch(*options, tmp_path / "run").returncode == 0
    of_command = load_run(tmp_path / "run")
    assert list(of_command.results()) == list(run.results())
    assert of_command.summary == run.summary
    for of_rules in ("require", "baseline", "rare_s"):
        of_command.config.options.pop(of_rules)
    assert (of_command.config.options, of_command.config.traffic) == (run.config.options, run.config.traffic)


def test_a_keyword_counts_more_than_a_field(tmp_path: Path) -> None:
    report = ReportOptions(percentiles="25,75", goodput="ttft:1000")
    other = bench(engine=_SIMULATED, traffic=_CHATS, seed=3, duration_s=5, report=report, folder=tmp_path / "run")
    assert (other.config.seed, other.config.duration_s, other.config.workload) == (3, 5, "chat-short")
    assert list(other.summary.metrics["ttft"]["all"].percentiles_ms) == ["25", "75"]
    assert other.summary.goodput is not None


def test_rules_and_comparisons(run: Run, tmp_path: Path) -> None:
    assert [judgement.outcome for judgement in run.judge("ttft.p50 < 10s", "ttft.p50 > 10s")] == ["pass", "fail"]
    with pytest.raises(ConfigurationError, match="baseline="):
        run.judge("ttft.p99 <= baseline")
    same = load_run(run.folder)
    assert compare(run, same).targets[0].name == "run (2)"
    with pytest.raises(ConfigurationError, match="two runs"):
        compare(run)
    other = bench(engine=_SIMULATED, workload="hol-probe", duration_s=5, folder=tmp_path / "other")
    with pytest.raises(ConfigurationError, match="same workload"):
        compare(run, other)


async def test_where_a_loop_is_running_as_in_a_notebook(run: Run, tmp_path: Path) -> None:
    again = bench(engine=_SIMULATED, traffic=_CHATS, folder=tmp_path / "run")
    assert list(again.results()) == list(run.results())


@pytest.mark.parametrize("has_begun", [False, True], ids=["before it begins", "while it goes on"])
async def test_interrupting_a_cell_ends_its_run(has_begun: bool, tmp_path: Path) -> None:
    """A kernel lets Ctrl-C raise KeyboardInterrupt in the main thread while a cell runs, and the run has another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with null_server("--ttft", "20", "--itl", "2", log=tmp_path / "log") as server:
            target = TargetOptions(idle_probe=0 if has_begun else 4)
            traffic = TrafficOptions(workload="chat-short", turns=1, session_rate=20.0, duration_s=600.0, warmup_s=0.0)
            threading.Thread(target=_interrupt, args=(tmp_path / "run" if has_begun else None,)).start()
            run = bench(url=server.url, target=target, traffic=traffic, folder=tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not run.summary.is_complete
    assert not load_run(run.folder).summary.is_complete
    assert run.summary.measured_s < 60
    assert (run.summary.succeeded > 0) is has_begun


def _interrupt(folder: Path | None) -> None:
    """Interrupt the main thread once a run has a thread of its own; with a folder, once it has results there."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    names = {thread.name for thread in threading.enumerate()}
    wait_until(lambda: {thread.name for thread in threading.enumerate()} - names, "no run has a thread")
    if folder is not None:
        results = folder / "results.jsonl"
        wait_until(lambda: results.exists() and results.stat().st_size, "there are no results")
    time.sleep(0.02)  # from starting a thread to waiting for it
    signal.pthread_kill(main_thread, signal.SIGINT)


def test_a_server_at_a_url(tmp_path: Path) -> None:
    with null_server("--ttft", "20", "--itl", "2", log=tmp_path / "log") as server:
        target = TargetOptions(header=["X-Test: yes"])
        traffic = TrafficOptions(workload="chat-short", turns=1, session_rate=10.0, num_sessions=5)
        run = bench(url=server.url, target=target, traffic=traffic, folder=tmp_path / "run")
    assert run.summary.succeeded > 0
    assert run.summary.metrics["ttft"]["all"].p50_ms >= 19
    assert run.config.options["url"] == server.url


def test_mistakes_are_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--header does not apply without --url"):
        bench(engine=_SIMULATED, target=TargetOptions(header=["A: b"]))
    with pytest.raises(AbatchError, match="cannot reach"):
        bench(url="http://127.0.0.1:9", folder=tmp_path / "run")
    with pytest.raises(ConfigurationError, match="no folder"):
        load_run(tmp_path / "none")

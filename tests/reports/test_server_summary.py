"""What the server said of itself: kept, summed up, and joined to the moments at which it stood still."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.attribution.stalls import join_samples
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.facts import server_facts
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader
from abatch.reports.run.writer import RunWriter
from abatch.reports.summary.causes import Attribution, Cause, ServerThen, Stall
from abatch.reports.summary.findings import stall_facts
from abatch.reports.summary.server import ServerSummary, server_notes, summarise_server
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.watching.server_metrics import ServerSample
from rich.console import Console
from support.results import make_result
from support.shown import shown_run


def said(at_s: float, running: int | None = 0, waiting: int | None = 0, **fields: object) -> ServerSample:
    values: dict[str, object] = {"at_s": at_s, "kind": "vLLM", "running": running, "waiting": waiting}
    return ServerSample(**(values | fields))  # type: ignore[arg-type]


def silent(at_s: float, took_s: float = 2.0) -> ServerSample:
    return ServerSample(at_s=at_s, took_s=took_s, unanswered=True)


MINUTE = [
    said(
        float(second),
        10 + second % 3,
        1 if second == 30 else 0,
        kv_used=second / 100,
        preemptions=second // 10,
        prefix_hit_tokens=600 * second,
        prefix_query_tokens=1000 * second,
    )
    for second in range(60)
]


def test_only_the_measured_part_counts() -> None:
    server = summarise_server(MINUTE, 20.0, 40.0, 100.0)
    assert server == ServerSummary(
        kind="vLLM",
        samples=21,
        running_mean=11.0,
        running_max=12,
        waiting_mean=round(1 / 21, 3),
        waiting_max=1,
        kv_used_mean=0.3,
        kv_used_max=0.4,
        preemptions=3,
        prefix_hit_share=0.6,
    )
    assert summarise_server(MINUTE, 100.0, 200.0, 1.0) is None
    assert summarise_server([], 0.0, 10.0, 1.0) is None


def test_totals_count_from_the_last_look_before_the_part() -> None:
    samples = [said(9.0, preemptions=5), said(10.5, preemptions=7), said(11.5, preemptions=8)]
    for part, preemptions in ((samples, 3), (samples[1:], 1), (samples[1:2], None)):
        server = summarise_server(part, 10.0, 12.0, 1.0)
        assert server is not None
        assert server.preemptions == preemptions


def test_totals_of_a_server_that_was_started_anew_are_not_told() -> None:
    samples = [said(1.0, preemptions=90), said(2.0, preemptions=91), said(3.0, preemptions=0)]
    server = summarise_server(samples, 0.0, 10.0, 1.0)
    assert server is not None
    assert server.preemptions is None
    assert server.prefix_hit_share is None
    assert server.left_out == ["preemptions (went backwards)"]


def test_what_could_not_be_used_is_said_once_by_name() -> None:
    samples = [
        said(1.0, running=4),
        said(2.0, left_out=("vllm:num_requests_running",)),
        said(3.0, left_out=("vllm:num_requests_running", "vllm:num_requests_waiting")),
        ServerSample(at_s=4.0, unreadable=True),
        silent(5.0),
    ]
    server = summarise_server(samples, 0.0, 10.0, 1.0)
    assert server is not None
    assert (server.samples, server.unreadable, server.unanswered) == (3, 1, 1)
    assert list(server_notes(server)) == [
        "the server's metrics have values that cannot be right, which are left out: vllm:num_requests_running, "
        "vllm:num_requests_waiting",
        "1 scrape of the server's metrics brought nothing that is known",
    ]
    assert list(server_notes(summarise_server(samples[:1], 0.0, 10.0, 1.0))) == []
    assert list(server_notes(None)) == []


def test_gpus_and_energy() -> None:
    def gpu(power_w: float, **fields: object) -> ServerSample:
        return ServerSample(at_s=1.0, gpu_power_w=power_w, **fields)  # type: ignore[arg-type]

    samples = [gpu(400.0, gpu_busy=0.8, gpu_memory_bytes=5), gpu(500.0, gpu_memory_bytes=7), silent(1.0), said(1.0)]
    server = summarise_server(samples, 0.0, 10.0, 90.0)
    assert server is not None
    assert (server.samples, server.unanswered, server.kind) == (3, 1, "vLLM")
    assert (server.gpu_power_w, server.gpu_busy, server.gpu_memory_max_bytes) == (450.0, 0.8, 7)
    assert server.gpu_energy_j_per_output_token == 5.0
    server = summarise_server(samples[:2], 0.0, 10.0, 0.0)
    assert server is not None
    assert (server.kind, server.gpu_energy_j_per_output_token) == (None, None)
    assert server_facts(server) == "GPU 450 W, 80% busy"


def stall(cause: Cause = Cause.STALL) -> Stall:
    return Stall(start_s=4.8, length_s=2.0, streams=9, waiting=53, cause=cause)


def joined(*samples: ServerSample, cause: Cause = Cause.STALL) -> ServerThen | None:
    one = stall(cause)
    join_samples([one], samples)
    return one.server


def test_a_stall_has_what_was_said_before_and_behind_it() -> None:
    then = joined(said(3.0, 1), said(4.0, 9, 0), said(7.0, 8, 20), said(8.0, 30, 0))
    assert then == ServerThen(running_before=9, running_after=8, waiting_before=0, waiting_after=20)


def test_a_queue_that_was_only_seen_within_the_stall_counts() -> None:
    then = joined(said(4.0, 9, 0), said(5.0, 9, 20), said(6.0, 9, 53), said(7.0, 30, 0), said(8.0, 30, 90))
    assert then is not None
    assert (then.waiting_before, then.waiting_after, then.silent_s) == (0, 53, None)


def test_looks_without_an_answer_are_evidence() -> None:
    slow = said(5.0, 9, 53, took_s=1.81)
    for looks, silent_s in (((slow,), 1.81), ((silent(4.5), said(6.5, 9, 1, took_s=0.4)), 2.4), ((silent(4.9),), 2.0)):
        then = joined(said(4.0, 9, 0), *looks, said(7.0, 9, 1))
        assert then is not None
        assert then.silent_s == pytest.approx(silent_s)
    then = joined(said(1.0, 9, 0), silent(2.0), said(4.0, 9, 0, took_s=0.5), said(5.0, 9, 0, took_s=0.1), said(7.0))
    assert then is not None
    assert then.silent_s is None, "neither one before it nor a page that takes its time"


def test_the_client_s_own_stall_is_no_silence_of_the_server() -> None:
    then = joined(said(4.0, 9, 0), said(5.0, 9, 53, took_s=1.81), cause=Cause.CLIENT)
    assert then is not None
    assert then.silent_s is None
    assert then.waiting_after == 53


def test_a_stall_without_samples_has_none() -> None:
    assert joined() is None
    assert joined(ServerSample(at_s=5.0, gpu_power_w=100.0)) is None
    alone = joined(said(4.0, 9, 0))
    assert alone == ServerThen(running_before=9, waiting_before=0)


def test_in_words() -> None:
    server = ServerSummary(
        kind="vLLM",
        samples=60,
        unanswered=2,
        running_mean=12.34,
        running_max=32,
        waiting_mean=0.42,
        waiting_max=53,
        kv_used_mean=0.451,
        kv_used_max=0.8,
        preemptions=3,
        prefix_hit_share=0.61,
        gpu_power_w=412.3,
        gpu_busy=0.87,
        gpu_energy_j_per_output_token=0.2061,
    )
    assert server_facts(server) == (
        "vLLM: running 12.3 (max 32), waiting 0.4 (max 53), KV 45% (max 80%), 3 preemptions, prefix hits 61%, "
        "GPU 412 W (0.206 J per token), 87% busy, 2 scrapes of its metrics unanswered"
    )
    assert server_facts(ServerSummary(kind="TGI", samples=1, running_mean=1.0, running_max=1, preemptions=1)) == (
        "TGI: running 1.0 (max 1), 1 preemption"
    )
    then = ServerThen(running_before=9, running_after=9, waiting_before=0, waiting_after=53)
    assert stall_facts(then) == "its /metrics: 9 running, 0 -> 53 waiting"
    assert stall_facts(ServerThen(silent_s=1.9)) == "its /metrics: no answer for 1.9 s"
    assert stall_facts(ServerThen()) == ""


def test_on_the_terminal() -> None:
    recorder = Recorder()
    recorder.add(make_result())
    labels = {"workload": "mixed", "target": "http://127.0.0.1:8000", "model": "m"}
    summary = fill_summary(Summary(**labels), recorder, 100.0)  # type: ignore[arg-type]
    summary.server = summarise_server(MINUTE, 0.0, 60.0, 1.0)
    one = stall()
    join_samples([one], [said(4.0, 9, 0), said(7.0, 9, 53)])
    summary.attribution = Attribution(stalls=[one])
    out = io.StringIO()
    print_summary(Console(file=out, width=80, no_color=True, highlight=False), summary)
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    text = " ".join(out.getvalue().split())
    assert "53 waiting requests affected; its /metrics: 9 running, 0 -> 53 waiting" in text
    assert "server: vLLM: running 11.0 (max 12), waiting 0.0 (max 1), KV 30% (max 59%), 5 preemptions" in text


def write_run(folder: Path, *, finish: bool = True, steady_state: bool = False) -> RunReader:
    config = RunConfig(workload="test", warmup_s=20.0, duration_s=40.0, steady_state=steady_state)
    writer = RunWriter(folder, config)
    writer.start()
    for index in range(400):
        writer.add(make_result(400.0, due_s=index / 10))
        if index % 10 == 0:
            writer.add_server_sample(MINUTE[index // 10])
    if finish:
        writer.finish(20.0, is_complete=True)
    writer.close()
    return RunReader(folder)


def test_samples_are_kept_beside_the_results(tmp_path: Path) -> None:
    reader = write_run(tmp_path / "run")
    assert list(reader.server_samples()) == MINUTE[:40]
    server = reader.summary().server
    assert server is not None
    assert server == summarise_server(MINUTE[:40], 20.0, 40.0, reader.summary().output_tokens_per_s)
    assert server.preemptions == 2
    assert list(shown_run(reader).server_samples()) == MINUTE[:40]


def test_an_interrupted_run_has_them_too(tmp_path: Path) -> None:
    reader = write_run(tmp_path / "run", finish=False)
    log = tmp_path / "run" / "server.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    assert list(reader.server_samples()) == MINUTE[:39], "a last line that was cut off is left out"
    server = reader.summary().server
    assert server is not None
    assert server.samples == 19
    log.write_bytes(b'{"running":-1}\n' + log.read_bytes())
    with pytest.raises(ConfigurationError, match=r"server\.jsonl, line 1: .*running"):
        list(reader.server_samples())


def test_with_steady_state_only_that_part_counts(tmp_path: Path) -> None:
    reader = write_run(tmp_path / "run", steady_state=True)
    steady = reader.summary().steady_state
    assert steady is not None
    assert reader.summary().server == summarise_server(
        MINUTE[:40], steady.from_s, steady.to_s, reader.summary().output_tokens_per_s
    )


def test_without_samples_there_is_no_file(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", RunConfig())
    writer.start()
    writer.add(make_result())
    summary = writer.finish(1.0, is_complete=True)
    assert summary.server is None
    assert not (tmp_path / "run" / "server.jsonl").exists()
    assert list(RunReader(tmp_path / "run").server_samples()) == []

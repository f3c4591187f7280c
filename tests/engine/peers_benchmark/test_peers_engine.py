"""What the benchmark of servers counts, says of the machine, and leaves behind."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from pathlib import Path

import pytest
from abatch.engine.simulation.model_shape import SHAPES
from benchmarks.engines import servers
from benchmarks.engines.closed_loop import OUTPUT_TOKENS, PROMPT_TOKENS, Load, Measured, Prompts, measure
from benchmarks.engines.machine_floor import Floor, step_needs
from benchmarks.engines.results import Cell, Results
from benchmarks.engines.servers import Server, running
from support.servers import null_server, running_server
from support.smollm2 import smollm2_folder
from support.waiting import wait_until
from tokenizers import Tokenizer

_SHAPE = SHAPES["smollm2-135m"]
_FIELDS = {"model": "m", "temperature": 0, "stream_options": {"include_usage": True}}
_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
_SERVER = f"""
import http.server, pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {_CHILD!r}])
pathlib.Path(sys.argv[2]).write_text(str(child.pid))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _load(url: str, *, metrics_url: str | None = None, is_together: bool = False) -> Load:
    return Load(f"{url}/v1/completions", _FIELDS, 3, 0.1, 1.0, metrics_url, is_together)


def _runs(pid: int) -> bool:
    """Not even if it has ended and nobody has asked how."""
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return False


def test_prompts_are_of_one_length_and_begin_differently() -> None:
    prompts = Prompts(smollm2_folder(), "seed")
    tokenizer = Tokenizer.from_file(str(smollm2_folder() / "tokenizer.json"))
    encoded = [tokenizer.encode(prompts.next()).ids for _ in range(20)]
    assert {len(ids) for ids in encoded} <= {*range(PROMPT_TOKENS - 1, PROMPT_TOKENS + 3)}
    assert len({tuple(ids[:16]) for ids in encoded}) == 20
    assert Prompts(smollm2_folder(), "seed").next() != Prompts(smollm2_folder(), "other").next()


@pytest.mark.parametrize("tokens", [1, 2])
def test_tokens_are_counted_whatever_comes_in_an_event(tokens: int, tmp_path: Path) -> None:
    arguments = ["--ttft", "5", "--itl", "2", "--tokens-per-chunk", str(tokens)]
    with null_server(*arguments, log=tmp_path / "log") as server:
        measured = asyncio.run(measure(_load(server.url, is_together=True), Prompts(smollm2_folder(), "")))
    assert measured.tokens_per_event == tokens
    assert measured.answer_tokens == OUTPUT_TOKENS
    assert measured.num_first > 0
    # A read may bring several events, which is one gap.
    assert round(measured.tokens_per_s * measured.window_s) >= tokens * (measured.num_first + measured.num_gaps)
    assert not measured.counters


def test_of_our_server_counters_are_looked_at(tmp_path: Path) -> None:
    with running_server("--device", "simulated:2ms", "--served-model-name", "m", log=tmp_path / "log") as server:
        load = _load(server.url, metrics_url=f"{server.url}/metrics")
        measured = asyncio.run(measure(load, Prompts(smollm2_folder(), "")))
    assert measured.counters["steps"] > 0
    assert set(measured.counters) == {"steps", "host_seconds", "device_busy_seconds"}


def test_a_server_that_refuses_is_told(tmp_path: Path) -> None:
    with (
        null_server("--error-rate", "1", log=tmp_path / "log") as server,
        pytest.raises(RuntimeError, match="answers 500"),
    ):
        asyncio.run(measure(_load(server.url), Prompts(smollm2_folder(), "")))


def test_nothing_of_a_server_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a child that does not listen."""
    monkeypatch.setattr(servers, "_END_S", 0.3)
    words = [sys.executable, "-c", _SERVER]
    server = Server("stubborn", lambda model, dtype, port: [*words, str(port), str(tmp_path / "pid")], {}, ("float32",))
    with running(server, tmp_path, "float32", tmp_path / "log") as (url, start_s):
        assert url.startswith("http://127.0.0.1:")
        assert start_s > 0
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _runs(child), "the child still runs")


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such model')"]
    server = Server("broken", lambda model, dtype, port: words, {}, ("float32",))
    with (
        pytest.raises(RuntimeError, match="broken does not start: no such model"),
        running(server, tmp_path, "float32", tmp_path / "log"),
    ):
        pass


def test_a_step_reads_the_weights_and_multiplies_by_them_for_every_token() -> None:
    one, many = (step_needs(_SHAPE, "float32", count, 45, 64) for count in (1, 32))
    assert one.num_bytes == pytest.approx(4 * 134.5e6, rel=0.02)
    assert many.num_bytes - one.num_bytes == pytest.approx(31 * (77 + 108 / 64) * 46_080)
    assert many.num_flops == pytest.approx(32 * one.num_flops)
    # 106.2 million weights in the layers, 28.3 in the head.
    assert one.num_flops == pytest.approx(2 * (106.2e6 * 108 / 64 + 28.3e6), rel=0.03)
    assert step_needs(_SHAPE, "bfloat16", 1, 45, 64).num_bytes == one.num_bytes / 2
    floor = Floor(1.0, 10e9, {"float32": 100e9}, {})
    memory_s, arithmetic_s = one.least_s(floor, "float32")
    assert memory_s == one.num_bytes / 10e9
    assert arithmetic_s == one.num_flops / 100e9


def _measured(tokens_per_s: float, **counters: float) -> Measured:
    return Measured(tokens_per_s, 100.0, math.nan, 40.0, 60.0, 9, 99, 1.0, 64.0, 0.01, 10.0, counters)


def test_tables_and_file_of_half_a_run(tmp_path: Path) -> None:
    """Turns are compared with their like, and what is missing is a dash."""
    results = Results({"date": "today"})
    assert "|" in "\n".join(results.markdown(_SHAPE))
    results.floor = Floor(20e9, 10e9, {"float32": 100e9}, {"float32": {"8": 0.05}})
    ours = {"steps": 100.0, "device_busy_seconds": 8.0, "host_seconds": 1.0}
    results.cells = [
        Cell("float32", "vLLM", 0, 8, _measured(100.0)),
        Cell("float32", "abatch", 0, 8, _measured(120.0, **ours)),
        Cell("float32", "abatch", 1, 8, _measured(160.0, **ours)),
        Cell("float32", "transformers", 1, 8, _measured(40.0)),
    ]
    results.failures = ["vLLM float32, turn 2: it broke"]
    text = "\n".join(results.markdown(_SHAPE))
    assert "| float32 | 8 | 100.0 | 40.0 | 140.0 (120.0 to 160.0) | 1.20 | 4.00 |" in text
    assert "| float32 | 8 | vLLM | 100 | - | 40.0 | 60.0 | 1.50 |" in text
    assert "1.0% of a core" in text
    assert "memory" in text
    assert "| 80.0 (71%) |" in text  # of vLLM: eight streams at 100 tokens per second
    assert "46.7 (40.0 to 53.3)" in text  # eight tenths of 66.7 and of 50 ms
    assert "it broke" in text
    results.save(tmp_path / "results.json")
    assert '"tokens_per_s": 160.0' in (tmp_path / "results.json").read_text()
    results.save(None)
    assert os.listdir(tmp_path) == ["results.json"]

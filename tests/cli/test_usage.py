"""Mistakes are one line that says what to change; help says what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from abatch import __version__
from abatch.cli.main import app
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.groups import options_of
from support.cli import abatch, abatch_process
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["bench", "--workload", "nope"], "hol-probe"),
        (["bench", "--duration", "0"], "--duration"),
        (["bench", "--warmup", "50", "--duration", "50"], "--warmup"),
        (["bench", "--concurrency", "0"], "--concurrency"),
        (["bench", "--request-rate", "-1"], "--request-rate"),
        (["bench", "--arrival", "constant"], "--arrival"),
        (["bench", "--arrival", "sometimes", "--request-rate", "1"], "--arrival"),
        (["bench", "--context-scale", "0"], "--context-scale"),
        (["bench", "--header", "nocolon"], "--header"),
        (
            ["bench", "--max-in-flight", "2", "--workers", "3", "--url", "http://127.0.0.1:1"],
            "--max-in-flight 2 leaves",
        ),
        (["compare", "--check-answers", "--device", "simulated:h100", "--real-time"], "its answers have no text"),
        (["bench", "--url", "http://127.0.0.1:1", "--header", "x-request-id: mine"], "results.jsonl"),
        (["bench", "--require", "ttft.p99 < fast"], "column 12"),
        (["bench", "--batching", "sometimes"], "--batching"),
        (["bench", "--kv-memory", "lots"], "2GiB"),
        (["bench", "--max-num-seqs", "500", "--max-num-batched-tokens", "100"], "--max-num-batched-tokens"),
        (["serve", "-m", "/no/such/folder"], "not a model folder"),
        (["serve", "-m", "no-such.gguf"], "does not exist"),
        (["serve", "--device", "quantum"], "--device"),
        (["serve", "--dtype", "int3"], "--dtype"),
        (["serve", "--tiny-tool-calls", "--device", "simulated:h100"], "--tiny-tool-calls needs --model tiny"),
        (["serve", "--tiny-tool-calls", "--tool-format", "none"], "--tool-format other than none"),
        (["serve", "--max-model-len", "99999999"], "--max-model-len"),
        (["serve", "--kv-memory", "1"], "--kv-memory"),
        (["serve", "--fd", "77"], "--fd"),
        (["serve", "--host", "256.256.256.256"], "256.256.256.256"),
        (["serve", "--max-body", "big"], "2GiB"),
        (["serve", "--max-body", "0"], "--max-body"),
        (["bench", "--duration", "nan"], "--duration"),
        (["bench", "--url", "http://127.0.0.1:1", "--max-num-seqs", "4"], "--max-num-seqs"),
        (["bench", "--url", "http://"], "--url"),
        (["report", "/no/such/run"], "no folder"),
        (["bench", "--device", "simulated:h9000"], "choose l4, a100, h100"),
        (["bench", "-m", "tiny", "--device", "simulated:h100"], "llama-3.1-8b"),
        (["bench", "-m", "llama-3.1-70b", "--device", "simulated:h100", "-o", "run"], "141.1 GB of weights"),
        (["bench", "--device", "simulated:h100", "--host-overhead", "fast"], "--host-overhead"),
        (["bench", "--host-overhead", "2ms"], "--host-overhead does not apply to a real device"),
        (["bench", "--real-time"], "--real-time"),
        (["bench", "--device", "simulated"], "choose l4, a100, h100"),
        (["report", "run", "--timeline", "/dev/null"], "exists already"),
        (["bench", "--window-timeout", "nan"], "--window-timeout"),
        (["bench", "--window-timeout", "1e10"], "--window-timeout"),
        (["bench", "--device", "simulated:h100", "--num-threads", "2"], "--num-threads does not apply in virtual time"),
        (["bench", "--device", "simulated:h100", "--timeline", "no/such/folder/t.json"], "--timeline"),
        (["compare", "--device", "simulated:h100", "--kv-memory", "1KiB"], "--kv-memory is smaller than one KV block"),
        (["bench", "--url", "http://127.0.0.1:1", "--step-log"], "--step-log"),
        (["serve", "--step-log", "/no/such/folder/steps"], "--step-log"),
        (["serve", "--device", "simulated:h100", "--kv-memory", "1KiB", "--step-log", "steps.jsonl"], "--kv-memory"),
        (["serve", "--policy", "lifo"], "--policy"),
        (["serve", "--park", "sometimes"], "--park"),
        (["serve", "--attention", "flash"], "--attention must be one of auto, triton, native, varlen, sdpa"),
        (["bench", "--device", "simulated:h100", "--attention", "sdpa"], "--attention does not apply in virtual time"),
        (
            ["bench", "--device", "simulated:h100", "--no-cuda-graphs"],
            "--no-cuda-graphs does not apply in virtual time",
        ),
        (["bench", "--device", "simulated:h100", "--no-fusion"], "--no-fusion does not apply in virtual time"),
        (["bench", "--device", "simulated:h100", "--compile"], "--compile does not apply in virtual time"),
        (["serve", "--park", "keep", "--no-prefix-cache"], "--no-prefix-cache"),
        (["serve", "--park", "offload", "--host-kv-memory", "0"], "--host-kv-memory"),
        (["serve", "--session-timeout", "0"], "--session-timeout"),
        (["bench", "--sub-agents", "1.5"], "--sub-agents"),
        (["bench", "--workload", "agent-tools,agent-tools"], "twice"),
        (["bench", "--workload", "mixed,chat-short"], "already a mix"),
        (["bench", "--workload", "chat-short", "--trace", "t.jsonl"], "--trace"),
        (["bench", "--trace", "no-such.jsonl"], "no-such.jsonl"),
        (["bench", "--trace-speed", "2"], "--trace"),
        (["bench", "--skip-bad-rows"], "--trace"),
        (["calibrate", "--request-rate", "0"], "--request-rate"),
        (["calibrate", "--request-rate", "5", "--duration", "-1"], "--duration must be a time from 0 on"),
        (["calibrate", "--request-rate", "5", "--max-rate", "9"], "--max-rate does not apply with --request-rate"),
        (["calibrate", "--max-rate", "0"], "--max-rate"),
        (["calibrate", "--duration", "5"], "--request-rate"),
        (["calibrate", "--url", "http://127.0.0.1:1"], "--url needs --request-rate"),
        (["calibrate", "--model", "m", "--request-rate", "5"], "--url"),
        (["null-server", "--ttft", "-1"], "--ttft"),
        (["null-server", "--jitter", "nan"], "--jitter"),
        (["null-server", "--burst", "0"], "--burst"),
        (["null-server", "--prefill-rate", "0"], "--prefill-rate"),
        (["null-server", "--error-rate", "0.6", "--reset-rate", "0.6"], "--error-rate and --reset-rate"),
        (["null-server", "--block"], "--freeze-at"),
        (["null-server", "--host", "256.256.256.256", "--log", "truth.jsonl"], "256.256.256.256"),
        (["null-server", "--log", "/no/such/folder/truth.jsonl"], "--log"),
        (["compare", "--batching", "async,batchy"], "--batching"),
        (["compare", "--batching", "async,async"], "--batching"),
        (["compare", "--batching", "async"], "two targets at least"),
        (["compare", "--vary", "park=keep"], "two targets at least"),
        (["compare", "--vary", "prak=keep,auto"], "did you mean park?"),
        (["compare", "--vary", "no-prefix-cache=on,off"], "did you mean prefix-cache?"),
        (["compare", "--vary", "=a,b"], "nothing is no option of our engine (they are batching,"),
        (["compare", "--vary", "park=keep,foo"], "not 'foo'"),
        (["compare", "--vary", "park"], "give park its values with commas, each once"),
        (["compare", "--vary", "park=keep,keep"], "give park its values with commas, each once"),
        (["compare", "--vary", "max-num-seqs=a,b"], "'a' is not a whole number"),
        (["compare", "--vary", "prefix-cache=on,maybe"], "'maybe' is neither on nor off"),
        (["compare", "--vary", "park=keep,auto", "--vary", "park=drop"], "--vary names park twice"),
        (["compare", "--park", "drop", "--vary", "park=keep,auto"], "contradict each other"),
        (["compare", "--url", "http://127.0.0.1:1", "--vary", "park=keep,auto"], "leave out --url"),
        (["compare", "--vary", "block-size=1,2,3,4,5", "--vary", "max-num-seqs=1,2,3,4"], "20 targets"),
        (["compare", "--vary", "device=simulated:h100,cpu"], "a simulated and a real device do not compare"),
        (["compare", "--device", "simulated:h100", "--vary", "attention=sdpa,triton"], "in virtual time"),
        (["compare", "--vary", "park=keep,auto", "--metrics-url", "http://127.0.0.1:1"], "of servers at --url"),
        (
            ["compare", "--url", "a=http://127.0.0.1:1", "--url", "b=http://127.0.0.1:2", "--metrics-url", "c=:3"],
            "NAME is one of a, b",
        ),
        (["compare", "--vary", "park=keep,auto", "--timeline", "/dev/null"], "/dev/null is a file"),
        (["compare", "a", "b", "--vary", "park=keep,auto"], "--vary does not apply to saved runs"),
        (["compare", "a", "b", "--steady-state"], "--steady-state does not apply to saved runs"),
        (["compare", "--url", "http://127.0.0.1:1"], "two targets at least"),
        (["compare", "--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:1/v1"], "name them"),
        (["compare", "--url", "ws://127.0.0.1:1", "--url", "http://127.0.0.1:2"], "--url must begin with http"),
        (["compare", "--url", "async=http://127.0.0.1:1", "--batching", "async"], "name of a batching mode"),
        (["compare", "--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:2", "--park", "drop"], "--park"),
        (["compare", "--header", "A: b"], "--header"),
        (["compare", "--require", "ttft < 1s"], "column 5"),
        (["compare", "no-such-run", "other"], "there is no folder"),
        (["compare", "."], "not a run folder"),
        (["compare", "a", "b", "--workload", "mixed"], "--workload does not apply to saved runs"),
        (["compare", "a", "b", "--rounds", "2"], "--rounds does not apply to saved runs"),
        (["compare", "-o", "/dev/null"], "is a file"),
        (["compare", "-o", "out", "--json", "out/comparison.json"], "would overwrite a part of the run itself"),
        (
            ["compare", "--url", "http://127.0.0.1:1", "--batching", "async", "--device", "simulated:h100"],
            "do not compare",
        ),
        (
            ["bench", "--baseline", "~nobody-of-that-name/run", "--require", "ttft.p99 <= baseline"],
            "--baseline ~nobody-of-that-name/run",
        ),
        (["gate", "/no/such/run"], "no folder"),
        (["gate", "."], ". is empty"),
        (["bench", "--require", "ttft.p99 <= baseline"], "needs a --baseline"),
        (["bench", "--baseline", "/no/such/run", "--require", "ttft.p99 <= baseline"], "no folder"),
        (["bench", "--rules", "/no/such/gates.toml"], "cannot read"),
        (["bench", "--html", "/no/such/folder/report.html"], "--html"),
        (["bench", "--csv", "-", "--json", "-"], "both go to stdout"),
        (["bench", "--url", "http://127.0.0.1:1", "--server-metrics-interval", "-1"], "--server-metrics-interval"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments: list[str], mentions: str, tmp_path: Path) -> None:
    result = abatch(*arguments, cwd=tmp_path)
    said = ("abatch: loading", "abatch: round 1 of ")
    lines = [line for line in result.stderr.splitlines() if line and not line.startswith(said)]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1
    assert lines[0].startswith("abatch: ")
    assert mentions in lines[0]
    assert "Traceback" not in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name != "runs"], "nothing is left behind"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench", "--workers", "some"], "invalid value for '--workers'"),
        (["bench", "--workers", "0"], "invalid value for '--workers'"),
        (["bench", "--workers"], "option '--workers' requires an argument (see abatch bench --help)"),
        (["bench", "--worker", "2"], "no such option: --worker: did you mean --workers"),
        (["bench", "--no-such-option"], "no such option: --no-such-option"),
        (["benhc"], "no such command 'benhc'. Did you mean 'bench'? (see abatch --help)"),
        (["nonsense"], "no such command 'nonsense' (see abatch --help)"),
        (["--url", "http://127.0.0.1:1", "bench"], "no such option: --url"),
        (["workload", "shwo"], "no such command 'shwo'. Did you mean 'show'? (see abatch workload --help)"),
        (["gate", "a", "b"], "got unexpected extra argument"),
    ],
)
def test_what_the_parser_refuses_is_one_line_and_exit_2_too(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = abatch(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"abatch: {says}")


def test_a_target_that_is_not_there_is_exit_1_and_leaves_no_folder(tmp_path: Path) -> None:
    result = abatch("bench", "--url", "http://me:s3cret@127.0.0.1:9", cwd=tmp_path)
    assert result.returncode == 1
    assert "cannot reach http://127.0.0.1:9: Connection refused" in result.stderr
    assert "s3cret" not in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in result.stderr


def test_a_server_that_cannot_be_as_asked_is_exit_2_with_its_own_words(tmp_path: Path) -> None:
    result = abatch("bench", "--num-blocks", "4", "--max-model-len", "100", cwd=tmp_path)
    assert result.returncode == 2
    assert "engine.errors" not in result.stderr
    assert "--max-model-len" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["serve", "--help"],
        ["bench", "-h"],
        ["report", "--help"],
        ["compare", "-h"],
        ["gate", "-h"],
        ["null-server", "-h"],
    ],
)
def test_help(arguments: list[str]) -> None:
    result = abatch(*arguments)
    assert result.returncode == 0
    assert "Usage:" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize("name", ["serve", "bench", "compare"])
def test_a_switch_that_turns_something_off_shows_no_default(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "100", "TERM": "dumb"}).output
    assert "--no-cuda-graphs" in shown
    assert "--no-prefix-cache" in shown
    assert "default: True" not in shown
    assert "default: False" not in shown


@pytest.mark.parametrize("flag", ["--synchronised", "--synchronized"])
def test_both_spellings_are_taken(flag: str) -> None:
    assert CliRunner().invoke(app, ["workload", "show", "always-on", flag]).exit_code == 0


def test_version() -> None:
    result = abatch("--version")
    assert (result.returncode, result.stdout.strip()) == (0, f"abatch {__version__}")


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["bench", "--help"], 0),
        (["--version"], 0),
        (["bench", "--url", "http://server.invalid"], 1),
        (["bench", "--workload", "nope"], 2),
        (["bench", "--no-such-option"], 2),
    ],
)
def test_a_process_shows_what_a_command_in_this_process_shows(arguments: list[str], exit_code: int) -> None:
    """Nearly all tests of commands run them in this process: that must make no difference."""
    process, here = abatch_process(*arguments), abatch(*arguments)
    assert process.returncode == exit_code
    assert (process.returncode, process.stdout, process.stderr) == (here.returncode, here.stdout, here.stderr)


def test_engine_options_survive_the_way_from_bench_to_serve() -> None:
    """`bench` hands its engine options to the `serve` it starts as words; none may be lost or changed."""
    changed: dict[str, Any] = {
        option.name: {bool: not option.default, int: 7, float: 0.25}.get(type(option.default), "7")
        for option in options_of(EngineOptions)
    }
    words = EngineOptions(**changed).arguments()
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    flags = {flag for parameter in serve.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= flags
    for option in options_of(EngineOptions):
        if isinstance(option.default, bool):
            assert option.flag in words
        else:
            assert words[words.index(option.flag) + 1] == str(changed[option.name])
    assert "" not in words
    assert EngineOptions().arguments() == []

"""`abatch rerun` does a saved run again: all of it, or with other options; and it says what it cannot know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from abatch import bench
from abatch.reports.run.command import Command
from support.cli import abatch

_CHATS = ("--device", "simulated:h100", "-w", "chat-short")
_SIMULATED = (*_CHATS, "-d", "3", "-r", "4")
_TRACE = "".join(
    f'{{"timestamp": {at_ms}, "input_length": 100, "output_length": 5}}\n' for at_ms in range(0, 1500, 100)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run in `first`."""
    path = tmp_path_factory.mktemp("rerun")
    rule = ("--require", "errors < 1%", "--text-salt", "a salt")
    result = abatch("bench", *_SIMULATED, *rule, "--seed", "7", "-o", "first", cwd=path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("repeat: abatch bench --device simulated:h100 ")
    return path


def saved(path: Path) -> Any:
    return json.loads((path / "config.json").read_text())


def write_config(path: Path, **fields: Any) -> None:
    """A run folder with hardly more than a command in it."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"schema_version": 1, **fields}))


def test_a_run_is_done_again_request_for_request(folder: Path) -> None:
    result = abatch("rerun", "first", "-o", "again", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "PASS         errors < 1%" in result.stdout
    assert result.stderr.startswith("again: abatch bench --device simulated:h100 ")
    assert (folder / "again" / "results.jsonl").read_bytes() == (folder / "first" / "results.jsonl").read_bytes()
    first, again = saved(folder / "first"), saved(folder / "again")
    for name in ("command", "text_salt", "seed", "traffic", "options"):
        assert again[name] == first[name], name


def test_options_take_the_place_of_the_runs_own(folder: Path) -> None:
    other = ("-d", "2", "--concurrency", "3", "--require", "errors < 2%", "--cache", "as-is", "-o", "other")
    result = abatch("rerun", "first", *other, cwd=folder)
    assert result.returncode == 0, result.stderr
    words = saved(folder / "other")["command"]["words"]
    assert not {"--request-rate", "errors < 1%", "--text-salt"} & set(words)
    assert {"--concurrency", "errors < 2%", "as-is"} <= set(words)
    assert words[words.index("--duration") + 1] == "2"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["bench", "--device", "simulated:h100", "--model", "llama-3.1-8b", "--seed", "3"], ["http://127.0.0.1:9"]),
        (["bench", "--url", "http://127.0.0.1:8", "--model", "m", "--seed", "3"], ["--url", "http://127.0.0.1:9"]),
    ],
    ids=["instead of our engine", "instead of another server"],
)
def test_another_server_may_be_named(tmp_path: Path, words: list[str], given: list[str]) -> None:
    write_config(tmp_path / "run", command={"words": words})
    result = abatch("rerun", "run", *given, cwd=tmp_path)
    assert result.returncode == 1, "it is not there"
    again = result.stderr.splitlines()[0]
    assert ("--device" in again, "--model m" in again, ":8" in again) == (False, "m" in words, False)
    assert "--seed 3" in again


def test_our_engine_may_take_the_place_of_a_server(tmp_path: Path) -> None:
    words = ["bench", "--url", "http://127.0.0.1:9", "--model", "m", "-w", "chat-short", "--duration", "2"]
    write_config(tmp_path / "run", command={"words": words})
    result = abatch("rerun", "run", "--device", "simulated:h100", "-r", "4", "-o", "sim", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_latest_is_done_again_where_none_is_named(folder: Path, tmp_path: Path) -> None:
    assert abatch("bench", *_SIMULATED, cwd=tmp_path).returncode == 0
    (first,) = (tmp_path / "runs").iterdir()
    result = abatch("rerun", "-o", "again", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"the latest is runs/{first.name}\n" in result.stderr
    assert saved(tmp_path / "again")["command"] == saved(first)["command"]


def test_a_run_from_python_is_known_by_the_same_words(tmp_path: Path) -> None:
    run = bench(device="simulated:h100", workload="chat-short", duration_s=2, request_rate=4, folder=tmp_path / "run")
    words = ("bench", "--device", "simulated:h100", "--workload", "chat-short", "--request-rate", "4")
    assert run.config.command == Command(words=(*words, "--duration", "2"))


def test_a_trace_must_be_what_it_was(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(_TRACE)
    options = ("--device", "simulated:h100", "--trace", "trace.jsonl", "-d", "2")
    assert abatch("bench", *options, "-o", "run", cwd=tmp_path).returncode == 0
    assert abatch("rerun", "run", "-o", "same", cwd=tmp_path).returncode == 0
    trace.write_text(_TRACE.replace("100", "101"))
    changed = abatch("rerun", "run", cwd=tmp_path)
    assert changed.returncode == 2
    assert "the trace trace.jsonl is not what it was when run was made" in changed.stderr
    assert abatch("rerun", "run", "--trace", "trace.jsonl", "-o", "other", cwd=tmp_path).returncode == 0
    trace.unlink()
    assert "cannot read the trace trace.jsonl" in abatch("rerun", "run", cwd=tmp_path).stderr


def test_a_sweep_is_done_again_as_a_whole(tmp_path: Path) -> None:
    options = ("--sweep", "--goodput", "ttft:200", "--max-rate", "8", "--osl", "2", "--turns", "1")
    first = abatch("bench", *_CHATS, *options, "-d", "3", "-r", "8", "-o", "first", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1].startswith("repeat: abatch bench ")
    again = abatch("rerun", "first", "-o", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    one, other = (json.loads((tmp_path / name / "sweep.json").read_text()) for name in ("first", "again"))
    assert one["command"] == other["command"]
    assert "--sweep" in one["command"]["words"]
    point = saved(next((tmp_path / "first").glob("rate-*")))["command"]["words"]
    assert "--sweep" not in point, "each try is a run of its own"


def test_a_sweep_that_sends_nothing_is_a_line(tmp_path: Path) -> None:
    options = ("--sweep", "--goodput", "ttft:200", "-d", "0.1", "-r", "0.1")
    result = abatch("bench", *_CHATS, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert "no request was due within the measured part at 0.1/s: give a longer --duration" in result.stderr


@pytest.mark.parametrize(
    ("secrets", "given", "mentions"),
    [
        (["--api-key"], [], "run was sent a key, which is not saved: give --api-key-file, or set ABATCH_API_KEY"),
        (
            ["--header X-Team"],
            [],
            "run was sent the header X-Team, whose value is not saved: give --header 'X-Team: VALUE'",
        ),
        (["--url"], [], "run had a --url with a user, a password or a query, which is not saved: give all of --url"),
        (["--proxy"], ["--url", "http://127.0.0.1:9"], "run had a --proxy"),
    ],
)
def test_what_is_secret_must_be_given_again(
    tmp_path: Path, secrets: list[str], given: list[str], mentions: str
) -> None:
    write_config(tmp_path / "run", command={"words": ["bench", "--url", "http://127.0.0.1:9"], "secrets": secrets})
    result = abatch("rerun", "run", *given, cwd=tmp_path, ABATCH_API_KEY="")
    assert (result.returncode, result.stdout) == (2, "")
    assert mentions in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_secret_that_is_given_is_enough(tmp_path: Path) -> None:
    command = {"words": ["bench", "--url", "http://127.0.0.1:9"], "secrets": ["--api-key", "--header X"]}
    write_config(tmp_path / "run", command=command)
    result = abatch("rerun", "run", "--header", "X: y", cwd=tmp_path, ABATCH_API_KEY="hunter2")
    assert "http://127.0.0.1:9" in result.stderr
    assert "hunter2" not in result.stderr
    assert result.returncode == 1, "the server is not there"


@pytest.mark.parametrize(
    ("config", "mentions"),
    [
        ({}, "run was saved by a version of abatch that kept no command"),
        (
            {"command": {"words": ["bench", "--gone", "1"]}},
            "was given --gone, which this version of abatch does not know",
        ),
        ({"command": {"words": "bench"}}, "config.json is damaged"),
    ],
)
def test_what_cannot_be_done_again_is_a_line(tmp_path: Path, config: dict[str, Any], mentions: str) -> None:
    runs = tmp_path / "of" / "today"  # two folders up could be a comparison
    write_config(runs / "run", **config)
    result = abatch("rerun", "run", cwd=runs)
    assert result.returncode == 2
    assert mentions in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_environment_has_no_say(folder: Path) -> None:
    """What another shell has set would make it another run."""
    result = abatch("rerun", "first", "-o", "elsewhere", cwd=folder, ABATCH_BENCH_DURATION="1", ABATCH_BENCH_SEED="1")
    assert result.returncode == 0, result.stderr
    assert saved(folder / "elsewhere")["command"] == saved(folder / "first")["command"]

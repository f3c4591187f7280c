"""One spelling for each option in all commands, and a hint for those of earlier releases and of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from abatch.cli.main import app
from abatch.cli.spellings import ELSEWHERE, advice, modern
from support.cli import abatch


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    found = dict(group.commands)
    workload = found.pop("workload")
    return found | {f"workload {name}": one for name, one in workload.commands.items()}


def _names(command: Any) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("bench --num-conversations 5", "use --num-sessions"),
        ("bench --max-concurrency 3", "use --concurrency (live sessions) or --max-in-flight (requests)"),
        ("compare --random-input-len 4", "use --input-len"),
        ("bench --request_rate 4", "use --request-rate"),
        ("bench --Max-Seconds 4", "use --duration"),
        ("bench --target http://a", "use --url"),
        ("bench --ignore-eos", "the number of tokens is exact unless --no-ignore-eos is given"),
        ("serve --enforce-eager", "use --no-cuda-graphs"),
        ("bench --sesion-rate 3", "did you mean --session-rate or --session-timeout?"),
    ],
)
def test_an_option_of_another_tool_is_named_as_it_is_here(words: str, says: str) -> None:
    done = abatch(*words.split())
    command, option = words.split()[:2]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"abatch: no such option: {option}: {says} (see abatch {command} --help)\n"


def test_what_a_command_does_not_have_is_not_advised() -> None:
    assert advice("--num-conversations", {"--port"}) is None
    assert advice("--workers", {"--workers"}) is None, "its value is wrong"
    assert ": use " not in abatch("null-server", "--num-conversations", "3").stderr


def test_all_that_is_advised_is_there_and_no_option_of_ours_is_disowned() -> None:
    known = set().union(*map(_names, _commands().values()))
    assert not {text.split()[0].rstrip(",") for text in ELSEWHERE.values() if text.startswith("--")} - known
    for command in _commands().values():
        names = _names(command)
        assert not [name for name in ELSEWHERE if name in names and advice(name, names)]


@pytest.mark.parametrize("command", ["show", "export"])
def test_a_workload_is_named_either_way(command: str, tmp_path: Path) -> None:
    def done(number: int, *words: str) -> str:
        rest = ("-o", tmp_path / f"{number}.jsonl") if command == "export" else ()
        ended = abatch("workload", command, "--num-sessions", "3", *words, *rest)
        assert ended.returncode == 0, ended.stderr
        return (tmp_path / f"{number}.jsonl").read_text() if command == "export" else ended.stdout

    ways = (("chat-short",), ("-w", "chat-short"), ("--workload", "chat-short"), ("chat-short", "-w", "chat-short"))
    assert len({done(number, *way) for number, way in enumerate(ways)}) == 1
    refused = abatch("workload", command, "mixed", "-w", "chat-short", "-o" * (command == "export") or "-d", "1")
    assert refused.stderr == "abatch: give mixed or --workload chat-short, not both\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("workload show chat-short --sessions 3", "workload show chat-short --num-sessions 3"),
        ("bench --device simulated:h100 -w chat-short --turns 1 --sessions 3 --dry-run",) * 2,
        ("serve --drain fast", "serve --drain-timeout fast"),
    ],
)
def test_spellings_of_earlier_releases_are_understood(old: str, new: str) -> None:
    assert abatch(*old.split()).stderr == abatch(*new.split()).stderr
    assert abatch(*old.split()).stdout == abatch(*new.split()).stdout


def test_usage_names_runs_servers_and_models_alike() -> None:
    """Brackets of ours within those of the parser were `[[RUN | URL]...]...`."""
    arguments = {
        name: [one.metavar for one in command.params if one.param_type_name == "argument"]
        for name, command in _commands().items()
    }
    assert set().union(*arguments.values()) == {
        "RUN",
        "[RUN]",
        "[RUN]...",
        "RUN | URL",
        "URL",
        "URL | MODEL",
        "MODEL",
        "NAME",
    }


def test_hidden_spellings_are_not_in_the_help() -> None:
    for name in ("bench", "workload show"):
        text = abatch(*name.split(), "--help").stdout
        assert "--num-sessions" in text
        assert "--sessions" not in text.replace("--no-sessions", "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--json"], ["--json", "-"]),
        (["--json", "-r", "5"], ["--json", "-", "-r", "5"]),
        (["-r", "5", "--json", "out.json"], ["-r", "5", "--json", "out.json"]),
        (["--json", "-"], ["--json", "-"]),
        (["-r", "5"], ["-r", "5"]),
    ],
)
def test_calibrate_wrote_json_to_stdout_alone(words: list[str], meant: list[str]) -> None:
    assert modern("calibrate", words) == meant
    assert modern("report", words) == words


def test_a_file_in_place_of_a_workload(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(json.dumps({"input_length": 5, "output_length": 3}))
    for words in (("workload", "show", trace), ("bench", "-w", trace)):
        assert abatch(*words).stderr == f"abatch: {trace} is a file: write --trace {trace} to replay it\n"

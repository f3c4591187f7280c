"""A URL, a model or a slip without an option: what is meant is done and said, what is not is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import abatch

_REFUSED = "Connection refused"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["bench", "http://127.0.0.1:9"], []),
        (["bench", "-d", "5", "http://127.0.0.1:9", "--url", "http://127.0.0.1:9"], []),
        (["bench", "127.0.0.1:9"], ["--url 127.0.0.1:9 is taken as http://127.0.0.1:9"]),
        (["bench", "--url", ":9"], ["--url :9 is taken as http://127.0.0.1:9"]),
        (["bench", "[::1]:9/v1"], ["--url [::1]:9/v1 is taken as http://[::1]:9/v1"]),
        (["bench", "http://127.0.0.1:9", "any-name"], []),
        (
            ["bench", "http://127.0.0.1:9", "--metrics-url", "localhost:10"],
            ["--metrics-url localhost:10 is taken as http://localhost:10"],
        ),
        (["calibrate", "-r", "5", "localhost:9"], ["--url localhost:9 is taken as http://localhost:9"]),
    ],
)
def test_a_bare_address_is_a_url(words: list[str], lines: list[str], tmp_path: Path) -> None:
    result = abatch(*words, cwd=tmp_path)
    *said, last = result.stderr.splitlines()
    assert result.returncode == 1
    assert [line for line in said if "taken as" in line] == [f"abatch: {line}" for line in lines]
    assert last.startswith("abatch: cannot reach http://")
    assert last.endswith(_REFUSED)


@pytest.mark.parametrize("words", [["http://127.0.0.1:9", "new=localhost:10"], ["--url", ":9", "127.0.0.1:10"]])
def test_compare_takes_bare_addresses_as_well(words: list[str], tmp_path: Path) -> None:
    result = abatch("compare", *words, "--rounds", "1", cwd=tmp_path)
    assert result.returncode == 1
    assert f"failed: cannot reach http://127.0.0.1:9: {_REFUSED}" in result.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["bench", "http://a:1", "http://me:s3cret@b:2"],
            "bench measures one server: give one URL (abatch compare --url http://a:1 --url http://b:2 measures both "
            "in turns)",
        ),
        (["bench", "a:1", "--url", "b:1"], "(abatch compare --url a:1 --url b:1 measures both in turns)"),
        (["calibrate", "http://a:1", "http://b:1", "-r", "5"], "calibrate measures one server: give one URL"),
        (["calibrate", "tiny"], "tiny is no URL: calibrate takes that of a server, such as http://127.0.0.1:8000"),
        (["bench", "tiny", "-m", "other"], "bench takes one model, and tiny and other are named: give one"),
        (["serve", "tiny", "small"], "serve takes one model, and tiny and small are named: give one"),
        (["serve", "0.0.0.0:80"], "0.0.0.0:80 is no model: abatch serve takes --host 0.0.0.0 --port 80 to listen"),
        (["serve", "http://me:s3cret@h:80"], "http://h:80 is no model: abatch serve takes --host h --port 80"),
        (["bench", "compare"], "compare is a command of its own: write abatch compare, without bench"),
        (["serve", "bench"], "bench is a command of its own: write abatch bench, without serve"),
        (["bench", "hol-probe"], "hol-probe is a workload: write --workload hol-probe"),
        (["bench", "trace.jsonl"], "trace.jsonl is a file, and no model (--trace trace.jsonl replays recorded"),
        (["bench", "run"], "run is a saved run: abatch report run shows it, abatch gate run judges it"),
        (
            ["bench", "--url", "gpu-box"],
            "--url gpu-box is no URL, and no target of abatch.toml; a server is named as in",
        ),
        (["compare", "--url", "new=gpu-box", "--url", ":9"], "--url gpu-box is no URL, and no target of abatch.toml;"),
        (["bench", "htp://h"], "--url must begin with http:// or https://, not 'htp://h'"),
        (["bench", "ws://h:80"], "--url must begin with http:// or https://, not 'ws://h:80'"),
        (["compare", "run", "http://h"], "--url does not apply to saved runs"),
    ],
)
def test_a_slip_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.jsonl").touch()
    result = abatch(*words, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (said,) = result.stderr.splitlines()
    assert line in said
    assert "s3cret" not in said


def test_a_target_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "abatch.toml").write_text("[targets.old]\nurl = ':9'\n[targets.new]\nurl = ':10'\n")
    result = abatch("bench", "--url", "nwe", cwd=tmp_path)
    line = "abatch: --url nwe is no URL, and abatch.toml has no target of that name: it has old, new"
    assert (result.returncode, result.stderr.splitlines()) == (2, [line])


def test_a_bare_model_is_a_model(tmp_path: Path) -> None:
    """Nothing is loaded: each is refused for what comes after the name is known."""
    for command in ("serve", "bench"):
        result = abatch(command, "tiny", "-m", "tiny", "--block-size", "0", cwd=tmp_path)
        assert (result.returncode, "--block-size" in result.stderr) == (2, True), result.stderr


def test_a_folder_that_looks_like_an_address_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "localhost:9").mkdir()
    result = abatch("compare", "localhost:9", "localhost:9", cwd=tmp_path)
    assert "localhost:9 is not a run folder" in result.stderr

"""abatch.toml and the environment: what goes before what, and mistakes in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from abatch.cli.main import app
from abatch.cli.options.named_target import with_named_target
from abatch.cli.options.target import TargetOptions
from abatch.cli.settings.defaults import DefaultMap
from abatch.cli.settings.file import Settings, read_settings
from abatch.engine.errors import ConfigurationError
from abatch.engine.hosting.child_process import environment_of_children
from support.cli import abatch

_COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def _params(command: str, *words: str, **table: object) -> dict[str, Any]:
    """What a command's options come to: `words` are typed, `table` is its part of the file."""
    defaults = DefaultMap(Settings("abatch.toml", {command: table}), _COMMANDS)
    made_by = {"default_map": defaults.get(command), "auto_envvar_prefix": "ABATCH_BENCH"}
    context = _COMMANDS[command].make_context(command, list(words), **made_by)
    params: dict[str, Any] = context.params
    return params


def test_typed_goes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"drain": "1m", "duration": "2m", "workers": 3, "seed": 7}
    monkeypatch.setenv("ABATCH_BENCH_DURATION", "3m")
    monkeypatch.setenv("ABATCH_BENCH_WORKERS", "4")
    params = _params("bench", "--workers", "5", **table)
    assert [params[name] for name in ("drain_s", "duration_s", "workers", "seed")] == [60.0, 180.0, 5, 7]


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ({"duration": 90}, "duration_s", 90.0),
        ({"duration": "1m30s"}, "duration_s", 90.0),
        ({"request-rate": 2.5}, "request_rate", 2.5),
        ({"require": "errors < 1%"}, "require", ["errors < 1%"]),
        ({"require": ["errors < 1%", "ttft.p99 < 1s"]}, "require", ["errors < 1%", "ttft.p99 < 1s"]),
        ({"insecure": True}, "insecure", True),
        ({"no-prefix-cache": True}, "prefix_cache", False),
        ({"synchronized": True}, "synchronised", True),
        ({"osl": 12}, "output_len", 12),
        ({"html": "report.html"}, "html", Path("report.html")),
        ({"model": "llama"}, "model", "llama"),
        ({"class": "chat"}, "traffic_class", "chat"),
    ],
)
def test_options_of_the_file_go_by_their_long_names(table: dict[str, object], name: str, value: object) -> None:
    assert _params("bench", **table)[name] == value


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("DURATION", "1m30s", "duration_s", 90.0),
        ("REQUEST_RATE", "2.5", "request_rate", 2.5),
        ("REQUIRE", "errors < 1%\nttft.p99 < 1s\n", "require", ["errors < 1%", "ttft.p99 < 1s"]),
        ("HEADER", "A: b c", "header", ["A: b c"]),
        ("INSECURE", "1", "insecure", True),
        ("INSECURE", "no", "insecure", False),
        ("NO_PREFIX_CACHE", "true", "prefix_cache", False),
        ("NO_PREFIX_CACHE", "0", "prefix_cache", True),
        ("OUTPUT", "runs/a", "output", Path("runs/a")),
        ("DURATION", "", "duration_s", None),
    ],
)
def test_each_option_has_a_variable(
    variable: str, text: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ABATCH_BENCH_{variable}", text)
    assert _params("bench")[name] == value


def _use(path: Path) -> None:
    """Run the only command that a file has options of, as far as its options are read."""
    settings = read_settings(path)
    (command,) = settings.commands
    _COMMANDS[command].make_context(command, [], default_map=DefaultMap(settings, _COMMANDS)[command])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[bench]\ndurationn = 2", "abatch.toml: [bench] durationn is no option: did you mean duration?"),
        ("[bench]\nd = 2", "abatch.toml: [bench] d is no option"),
        ("[benhc]\nduration = 2", "abatch.toml: unknown table [benhc]: did you mean bench?"),
        ("workload = 'mixed'", "abatch.toml: workload is in no table: put it below [bench], or another command"),
        ("bench = 3", "abatch.toml: bench is in no table"),
        ("[bench]\ninsecure = 'yes'", "abatch.toml: [bench] insecure is a switch: give it true or false, not 'yes'"),
        ("[bench]\nduration = true", "abatch.toml: [bench] duration is true or false: give it a text or a number"),
        ("[bench]\nmodel = ['a', 'b']", "abatch.toml: [bench] model is a list"),
        ("[bench.duration]\na = 1", "abatch.toml: [bench] duration is a table"),
        ("[bench]\nduration = 2026-01-01", "abatch.toml: [bench] duration is a date"),
        ("[bench]\nisl = 1\ninput-len = 2", "abatch.toml: [bench] input-len is given twice, under two of its names"),
        ("[bench]\nduration = 'soon'", "--duration must be a time"),
        ("[bench]\nduration = ", "abatch.toml is not TOML: "),
        ("[bench]\nmodel = '\ud800'", "abatch.toml is not TOML: "),
        ("[bench]\nconfig = 'other.toml'", "abatch.toml: [bench] config is no option"),
        ("[bench]\napi-key = 's3cret'", "abatch.toml: [bench] api-key is a secret"),
        ("[bench]\nheader = ['A: b', 'authorization: s3cret']", "abatch.toml: [bench] header is a secret"),
        ("[bench]\nurl = 'http://me:s3cret@h'", "abatch.toml: [bench] url is a secret"),
        ("[targets.a]\nurl = 'http://h'\napi-key = 's3cret'", "abatch.toml: [targets] a api-key is a secret"),
        ("[targets.a]\nmodel = 'm'", "abatch.toml: [targets.a] needs the url of a server"),
        ("[targets]\na = 'http://h'", "abatch.toml: [targets.a] needs the url of a server"),
        ("[workload]\nshow = 3", "abatch.toml: [workload] has a table for each of list, show, export"),
        ("[workload.show]\nsed = 3", "abatch.toml: [workload.show] sed is no option: did you mean seed?"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("abatch.toml").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ConfigurationError) as raised:
        _use(Path("abatch.toml"))
    assert str(raised.value).startswith(says)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        ({}, "timeout_s", 30.0),
        ({}, "model", "llama"),
        ({}, "insecure", True),
        ({}, "header", ["A: b"]),
        ({}, "ca_cert", Path("ca.pem")),
        ({}, "api_key", "of-prod"),
        ({}, "idle_probe", 3),
        ({"timeout_s": 5.0}, "timeout_s", 5.0),
        ({"model": "other"}, "model", "other"),
        ({"api_key": "typed"}, "api_key", "typed"),
    ],
)
def test_a_target_brings_its_options(
    typed: dict[str, Any], field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROD_KEY", "of-prod")
    prod = {"url": ":9", "timeout": "30s", "model": "llama", "insecure": True, "header": ["A: b"], "ca-cert": "ca.pem"}
    settings = Settings("abatch.toml", {}, {"prod": {**prod, "api-key-variable": "PROD_KEY", "idle-probe": 3}})
    with settings.in_use():
        target = with_named_target(TargetOptions(url="prod", **typed))
    assert target.url == "http://127.0.0.1:9"
    assert getattr(target, field) == value
    assert with_named_target(TargetOptions(url="prod")).url == "prod", "from Python no file is read"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"timout": 3}, "timout is no option of a target: did you mean timeout?"),
        ({"workload": "mixed"}, "workload is no option of a target"),
        ({"timeout": "soon"}, "timeout: --timeout must be a time"),
        ({"insecure": "yes"}, "insecure must be true or false, not 'yes'"),
        ({"idle-probe": "3"}, "idle-probe must be a number, not '3'"),
        ({"header": [1]}, "header must be texts, not [1]"),
        ({"model": 3}, "model must be a text, not 3"),
        ({"api-key-variable": "NO_SUCH"}, "api-key-variable: the environment has no NO_SUCH"),
    ],
)
def test_a_mistake_in_a_target_is_one_line(table: dict[str, Any], says: str) -> None:
    settings = Settings("abatch.toml", {}, {"prod": {"url": ":9", **table}})
    with settings.in_use(), pytest.raises(ConfigurationError) as raised:
        with_named_target(TargetOptions(url="prod"))
    assert str(raised.value).startswith(f"abatch.toml: [targets.prod] {says}")


@pytest.mark.parametrize(
    "words", [["bench", "prod"], ["bench", "--url", "prod"], ["compare", "prod", "x=prod"], ["calibrate", "prod"]]
)
def test_a_targets_name_stands_for_its_url(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "abatch.toml").write_text('[targets.prod]\nurl = ":9"\n[calibrate]\nrequest-rate = 5\n')
    result = abatch(*words, cwd=tmp_path)
    assert result.returncode == 1
    assert "cannot reach http://127.0.0.1:9: Connection refused" in result.stderr


def test_what_was_not_typed_is_said_and_saved(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('[bench]\ndevice = "simulated:h100"\nduration = 5\nworkload = "chat-short"\n')
    words = ["bench", "--config", "other.toml", "-o", "run", "--concurrency", "2"]
    result = abatch(*words, cwd=tmp_path, ABATCH_BENCH_SEED="3", ABATCH_BENCH_DURATION="4s")
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()
    assert "abatch: other.toml sets --workload, --device" in said
    assert "abatch: the environment sets --duration, --seed" in said
    options = json.loads((tmp_path / "run" / "config.json").read_text())["options"]
    saved = {name: options[name] for name in ("workload", "duration", "device", "seed")}
    assert saved == {"workload": "chat-short", "duration": 4.0, "device": "simulated:h100", "seed": 3}


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (
            ["bench"],
            {"ABATCH_BENCH_DURATON": "1"},
            "ABATCH_BENCH_DURATON sets no option of abatch bench: did you mean ",
        ),
        (["bench"], {"ABATCH_BENCH_DURATION": "soon"}, "not 'soon' (the environment sets it)"),
        (["bench"], {"ABATCH_BENCH_WORKERS": "x"}, "(env var: 'ABATCH_BENCH_WORKERS')"),
        (["bench"], {"ABATCH_CONFIG": "no-such.toml"}, "cannot read no-such.toml: No such file or directory"),
        (["--config", ".", "bench"], {}, "cannot read .: is a folder"),
        (["bench", "--config"], {}, "option '--config' requires an argument"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(
    words: list[str], variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    result = abatch(*words, cwd=tmp_path, **variables)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert says in line


def test_a_command_that_is_done_by_another_hears_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `abatch rerun`, whose words say everything."""
    monkeypatch.setenv("ABATCH_BENCH_SEED", "7")
    assert _params("bench")["seed"] == 7
    assert _COMMANDS["bench"].make_context("bench", []).params["seed"] == 0


def test_no_file_is_read_where_none_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "abatch.toml").write_text("no TOML at all")
    assert abatch("workload", "list", cwd=tmp_path).returncode == 2
    assert abatch("--config", "none", "workload", "list", cwd=tmp_path).returncode == 0
    assert abatch("--help", cwd=tmp_path).returncode == 0


def test_a_server_that_bench_starts_is_told_everything_by_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABATCH_SERVE_BATCHING", "window")
    ours = {name: value for name, value in environment_of_children().items() if name.startswith("ABATCH_")}
    assert ours == {"ABATCH_CONFIG": "none"}

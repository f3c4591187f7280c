"""What a command loads before it has done anything: seconds of everybody's time, so modules are counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from abatch.cli.listing import COMMANDS
from abatch.cli.main import app
from support.fixed_run import write_fixed_run

_CLIENT = ("aiohttp", "asyncio", "ssl", "yarl")
_PAGES = ("rich.live", "rich.markdown", "rich.traceback", "typer.rich_utils", "abatch.reports.renderings.html.page")
_ENGINE = ("torch", "transformers", "numpy", "jinja2", "prometheus_client")
_LIST_MODULES = """
import sys
from abatch.cli.main import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def _loaded(*words: str, cwd: Path) -> set[str]:
    """The modules that a command has loaded when it ends well."""
    done = subprocess.run([sys.executable, "-P", "-c", _LIST_MODULES, *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "without", "most_of_ours"),
    [
        (["--help"], (*_CLIENT, *_PAGES, *_ENGINE, "rich", "msgspec", "hdrh", "pydantic"), 20),
        (["--version"], (*_CLIENT, *_PAGES, *_ENGINE, "rich", "msgspec", "hdrh", "pydantic"), 20),
        (["report", "run"], (*_CLIENT, *_PAGES, *_ENGINE, "abatch.reports.attribution"), 180),
        (["gate", "run"], (*_CLIENT, *_PAGES, *_ENGINE, "abatch.reports.attribution"), 180),
        (["bench", "--help"], (*_PAGES, *_ENGINE, "aiohttp", "abatch.engine.hosting"), 320),
        (["compare", "--help"], (*_PAGES, *_ENGINE, "abatch.engine.hosting.virtual_engine"), 360),
        (["null-server", "--help"], (*_PAGES, *_ENGINE, "aiohttp", "hdrh"), 60),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_only_what_it_needs(
    words: list[str], without: tuple[str, ...], most_of_ours: int, tmp_path: Path
) -> None:
    if "run" in words:
        write_fixed_run(tmp_path / "run", num_sessions=40)
        words = [*words, "--require", "errors < 99%"] if words[0] == "gate" else words
    loaded = _loaded(*words, cwd=tmp_path)
    needless = {name for name in loaded for one in without if name == one or name.startswith(f"{one}.")}
    assert not needless
    assert len([name for name in loaded if name.startswith("abatch")]) <= most_of_ours


def test_completing_a_command_loads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"_ABATCH_COMPLETE": "complete_bash", "COMP_WORDS": "abatch b", "COMP_CWORD": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not [name for name in _loaded(cwd=tmp_path) if name.startswith("abatch.cli.commands")]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_commands_say(name: str) -> None:
    """`abatch --help` loads none of them."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert COMMANDS[name].summary == command.help.partition("\n\n")[0]
    known = {flag.lstrip("-") for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    assert set(COMMANDS[name].first) <= known

"""The house rules of the code: what is packaged, what may import what, and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import abatch
import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("engine", "workloads", "reports", "cli")
"""From the ground up: a floor imports from itself and from those below."""
LONGEST_FILE_LINES = 350
ROOMS = {
    "engine": "protocol errors timing session integers request kv runner parking simulation scheduling config loop "
    "native attention models device assembly hosting server null_server",
    "workloads": "regular_file bounds run_limits arrivals session http watching result workload targets share presets "
    "conversation places traffic_classes model_mix traces turn_result load_generator",
    "reports": "statistics formatting text atomic_file recording traffic summary attribution run comparison "
    "calibration gates renderings",
    "cli": "exit_codes unread_output listing settings help spellings given_once parser measuring options naming "
    "forecast comparing python_api commands main __main__",
}
"""The files and folders of each floor, from the ground up: each imports from itself and from those before it."""


def _folders() -> list[Path]:
    found = [folder for floor in FLOORS for folder in [ROOT / floor, *(ROOT / floor).rglob("*")]]
    return sorted(path for path in found if path.is_dir() and path.name != "__pycache__")


def test_every_folder_of_code_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    expected = {"abatch", *(".".join(["abatch", *folder.relative_to(ROOT).parts]) for folder in _folders())}
    assert set(settings["packages"]) == expected
    assert all((folder / "__init__.py").is_file() for folder in _folders())


def test_the_root_holds_one_python_file_and_no_other_code() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders <= {*FLOORS, "tests", "docs", "build", "dist", "runs", "abatch.egg-info", "__pycache__"}


def test_importing_abatch_loads_nothing_else_of_it() -> None:
    """Imports at the root would load twice under pytest: there are some for type checkers alone, the same names."""
    tree = _tree(ROOT / "__init__.py")
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["from typing import TYPE_CHECKING"]
    (of_checkers,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(of_checkers.test) == "TYPE_CHECKING"
    typed = [name.name for node in of_checkers.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert sorted(typed) == sorted(abatch.__all__)
    code = "import abatch, sys; assert not [name for name in sys.modules if name.startswith('abatch.')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def _modules() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _import_statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(_tree(path)) if isinstance(node, ast.Import | ast.ImportFrom))


def _imported_packages(path: Path) -> Iterator[str]:
    """The package, or the floor of ours, that each import of a file names."""
    place = path.relative_to(ROOT).parent.parts
    for node in _import_statements(path):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        else:
            base = place[: len(place) - node.level + 1] if node.level else ()
            yield (*base, *(node.module or "").split("."))[0]  # "" is the root: `from .. import __version__`


def test_imports_are_relative_and_run_downward() -> None:
    refused: dict[str, tuple[str, ...]] = {
        floor: ("abatch", *FLOORS[place + 1 :]) for place, floor in enumerate(FLOORS)
    }
    wrong = [
        f"{path.relative_to(ROOT)} imports from {name}"
        for path in _modules()
        for name in _imported_packages(path)
        if name in refused[path.relative_to(ROOT).parts[0]]
    ]
    assert not wrong


@cache
def _imports(path: Path) -> frozenset[tuple[str, ...]]:
    """The files of ours that a file imports from, as parts of their paths."""
    place = path.relative_to(ROOT).parent.parts
    found = set()
    for node in _import_statements(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*place[: len(place) - node.level + 1], *(node.module.split(".") if node.module else ()))
            for name in node.names:
                for target in ((*base, name.name), base):
                    if target and (ROOT.joinpath(*target).with_suffix(".py")).is_file():
                        found.add((*target[:-1], f"{target[-1]}.py"))
                        break
    return frozenset(found)


@pytest.mark.parametrize("folder", _folders(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_folder_has_a_circle(folder: Path) -> None:
    """Seen from a folder, what lies in it (files, and folders as wholes) imports one way."""
    depth = len(folder.relative_to(ROOT).parts)
    graph: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).parts[0]
        targets = {target[depth] for target in _imports(path) if target[:depth] == folder.relative_to(ROOT).parts}
        graph.setdefault(room, set()).update(targets - {room})
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("floor", ROOMS)
def test_the_rooms_of_a_floor_import_downward(floor: str) -> None:
    rooms = ROOMS[floor].split()
    for path in (ROOT / floor).rglob("*.py"):
        room = path.relative_to(ROOT / floor).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        targets = {target[1].removesuffix(".py") for target in _imports(path) if target[0] == floor}
        assert targets <= {*rooms[: rooms.index(room) + 1]}, f"{path.relative_to(ROOT)} imports upward"


def test_measuring_needs_no_command_line() -> None:
    code = "import sys, abatch.cli.comparing.rounds; assert not {'typer', 'rich'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("folder", _folders(), ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_stay_small_and_say_what_they_are_for(folder: Path) -> None:
    docstring = ast.get_docstring(_tree(folder / "__init__.py")) or ""
    assert re.fullmatch(r"[A-Z`].{20,}[.]", docstring, re.DOTALL), "a sentence says what the folder is for"
    entries = [path for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py")]
    assert len(entries) <= 21, "about fifteen, so that a stranger finds the room"


def test_the_client_loads_nothing_of_the_engines_packages() -> None:
    modules = (
        *(f"abatch.cli.commands.{path.stem}" for path in (ROOT / "cli" / "commands").glob("[a-z]*.py")),
        "abatch.workloads.load_generator",
        "abatch.reports.renderings.console",
        "abatch.engine.null_server.server",
    )
    packages = ("torch", "transformers", "numpy", "jinja2", "prometheus_client")
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        f"    assert not {{*sys.modules}} & {{*{packages}}}, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("what", "without"),
    [
        ("typer.main.get_command(abatch.cli.main.app).commands['null-server']", "abatch.cli.commands.bench"),
        ("abatch.engine.models.tokenizer.load_tokenizer('tiny', None)", "torch"),
    ],
    ids=["null server", "server of a built-in model"],
)
def test_a_server_starts_without_what_it_does_not_need(what: str, without: str) -> None:
    """Each takes about a second to import."""
    imports = "import sys, typer, abatch.cli.main, abatch.engine.models.tokenizer"
    subprocess.run([sys.executable, "-c", f"{imports}; {what}; assert {without!r} not in sys.modules"], check=True)


@pytest.mark.slow
def test_the_engine_needs_no_triton_where_nothing_uses_it() -> None:
    """CPU builds of torch come without. Torch and transformers have to be imported for it, in a process of its own."""
    code = "import sys; sys.modules['triton'] = None; import abatch.engine.assembly.torch_build"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_stay_readable() -> None:
    modules = {str(path.relative_to(ROOT)): path for path in _modules()}
    assert not [name for name, path in modules.items() if not ast.get_docstring(_tree(path))], "say what lives here"
    files = [*modules.values(), *(ROOT / "tests").rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    too_long = {name: length for name, length in lengths.items() if length > LONGEST_FILE_LINES}
    assert not too_long, "one noun a file, about 300 lines"


def _page_assets() -> list[Path]:
    """Scripts and styles of ours, but for what was published by others."""
    found = [path for kind in ("js", "css") for floor in FLOORS for path in (ROOT / floor).rglob(f"*.{kind}")]
    return sorted(path for path in found if not path.name.startswith("uPlot."))


def test_scripts_and_styles_stay_readable() -> None:
    for path in _page_assets():
        text = path.read_text()
        assert re.match(r"(//|/\*) ", text), f"{path.name}: a comment says what lives here"
        assert len(text.splitlines()) <= LONGEST_FILE_LINES, path.name

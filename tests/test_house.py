"""The house rules of the code: what is packaged, what may import what, and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("engine", "workloads", "reports", "cli")
"""From the ground up: a floor imports from itself and from those below."""


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
    (docstring, version) = ast.parse((ROOT / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(version, ast.Assign), "imports here would load twice under pytest"


def _modules() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_relative_and_run_downward(path: Path) -> None:
    place = path.relative_to(ROOT).parent.parts
    allowed = FLOORS[: FLOORS.index(place[0]) + 1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert all(name.name.partition(".")[0] != "abatch" for name in node.names), "imports inside are relative"
        if isinstance(node, ast.ImportFrom) and node.level:
            base = place[: len(place) - node.level + 1]
            target = (*base, *(node.module or "").split("."))
            if target != ("",):  # `from .. import __version__`
                assert target[0] in allowed, f"{place[0]} imports from {target[0]}"
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.module.partition(".")[0] != "abatch", "imports inside are relative"


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The files of ours that a file imports from, as parts of their paths."""
    place = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*place[: len(place) - node.level + 1], *(node.module.split(".") if node.module else ()))
            for name in node.names:
                for target in ((*base, name.name), base):
                    if (ROOT.joinpath(*target).with_suffix(".py")).is_file():
                        yield (*target[:-1], f"{target[-1]}.py")
                        break


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


@pytest.mark.parametrize("folder", _folders(), ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_stay_small_and_say_what_they_are_for(folder: Path) -> None:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert re.fullmatch(r"[A-Z`].{20,}[.]", docstring, re.DOTALL), "a sentence says what the folder is for"
    entries = [path for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py")]
    assert len(entries) <= 21, "about fifteen, so that a stranger finds the room"


@pytest.mark.parametrize(
    "module",
    [
        "abatch.cli.main",
        "abatch.workloads.load_generator",
        "abatch.reports.renderings.console",
        "abatch.engine.null_server.server",
    ],
)
def test_the_client_loads_nothing_of_the_engines_packages(module: str) -> None:
    packages = ("torch", "transformers", "numpy", "jinja2", "prometheus_client")
    code = f"import {module}, sys; print([name for name in {packages} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_the_engine_needs_no_triton_where_nothing_uses_it() -> None:
    """CPU builds of torch come without."""
    code = "import sys; sys.modules['triton'] = None; import abatch.engine.assembly.torch_build"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a sentence says what lives here"
    assert len(text.splitlines()) <= 360, "one noun a file, about 300 lines"


def _page_assets() -> list[Path]:
    """Scripts and styles of ours, but for what was published by others."""
    found = [path for kind in ("js", "css") for floor in FLOORS for path in (ROOT / floor).rglob(f"*.{kind}")]
    return sorted(path for path in found if not path.name.startswith("uPlot."))


@pytest.mark.parametrize("path", _page_assets(), ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_and_styles_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"(//|/\*) ", text), "a comment says what lives here"
    assert len(text.splitlines()) <= 350

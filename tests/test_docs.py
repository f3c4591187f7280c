"""What the documents tell people to type is what the tool takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from abatch.cli.main import app
from abatch.reports.gates.parser import parse_rule

ROOT = Path(__file__).parent.parent
FLOORS = ("cli", "reports", "workloads", "engine")
_DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "github-workflow.yml"]
_AT_THE_ROOT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
_PROSE = [path for path in (*_DOCUMENTS, *(ROOT / name for name in _AT_THE_ROOT)) if path.suffix == ".md"]
_PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FLOORS)}|tests|docs)/(?:[\w-]+/)*(?:[\w.-]+\.[a-z]+)?(?![\w/-])")
_FILE = re.compile(r"`(\w+\.(?:py|js))`")
_NAME = re.compile(r"`([A-Za-z_][\w.]*)`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+[a-z]")
_OPTIONS_OF_OTHERS = {"--enable-metrics", "--metrics", "--no-index", "--no-deps", "--target", "--strict"}
"""SGLang's, llama.cpp's, pip's, mypy's."""
_RULE = re.compile(r"--require '([^']+)'")
_LINK = re.compile(r"\]\((?!http)([^)#]+)[^)]*\)")
_COMMAND = re.compile(
    r"^(?:    |\$ |.*bin/)abatch (bench|compare|gate|report|rerun|calibrate|null-server|serve|workload) (.*)$",
    re.MULTILINE,
)


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_rules_links_and_commands_of_the_documents_are_right(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    for rule in _RULE.findall(text):
        parse_rule(rule)
    for link in _LINK.findall(text):
        assert (path.parent / link).exists(), link
    for command, arguments in _COMMAND.findall(text):
        words = shlex.split(arguments.partition("  #")[0].partition(" > ")[0].removesuffix(" &"), comments=True)
        assert not _left_over(command, words), f"abatch {command} {words}: a model is named by --model"


@pytest.mark.parametrize("path", _PROSE, ids=lambda path: path.name)
def test_files_and_folders_that_documents_name_exist(path: Path) -> None:
    text = path.read_text()
    missing = [name for name in _PATH.findall(text) if not (ROOT / name).exists()]
    names = {file.name for folder in (*FLOORS, "tests") for file in (ROOT / folder).rglob("*.[pj]*")}
    missing += [name for name in _FILE.findall(text) if name not in names]
    assert not missing, f"{path.name} names {missing}"


@pytest.mark.parametrize("name", ["architecture.md", "engine-internals.md"])
def test_names_of_the_code_that_documents_use_exist(name: str) -> None:
    source = "\n".join(path.read_text() for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
    words = set(re.findall(r"\w+", source))
    named = {part for one in _NAME.findall((ROOT / "docs" / name).read_text()) for part in one.split(".")}
    missing = named - words - {"py", "json", "jsonl"}
    assert not missing, f"{name} names {sorted(missing)}"


@pytest.mark.parametrize("path", _PROSE, ids=lambda path: path.name)
def test_options_that_documents_name_exist(path: Path) -> None:
    """Ours are those of the commands, and of the benchmark scripts, which parse their own."""
    scripts = "".join(script.read_text() for script in (ROOT / "tests").rglob("*.py"))
    known = _all_flags() | set(re.findall(r'"(--[a-z][a-z-]+)"', scripts)) | _OPTIONS_OF_OTHERS
    unknown = set(_OPTION.findall(path.read_text())) - known
    assert not unknown, f"{path.name} names {sorted(unknown)}"


def test_prose_is_wrapped_and_the_architecture_stays_a_page() -> None:
    for path in _PROSE:
        is_code = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            is_code ^= line.startswith("```")
            if not is_code and not line.startswith(("|", "    ", "![")):
                assert len(line) <= 120, f"{path.name}:{number}"
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= 120


def test_the_example_of_rules_in_gates_md_parses() -> None:
    text = (ROOT / "docs" / "gates.md").read_text()
    block = text.split("```\n")[1]
    rules = [rule for line in block.splitlines() for rule in re.split(r"\s{3,}", line) if rule]
    assert len(rules) == 10
    for rule in rules:
        parse_rule(rule)


def test_the_workflow_is_yaml_with_all_jobs() -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "github-workflow.yml").read_text())
    assert set(workflow["jobs"]) == {"server", "in-turns", "scheduling"}
    commands = " ".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    assert "--device simulated:h100" in commands
    assert "compare --url base=" in commands


def _left_over(command: str, words: list[str]) -> list[str]:
    """What the command line parses as nothing of its own. Raises a usage error where it does not parse."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    while hasattr(found, "commands"):
        command, *words = words
        found = found.commands[command]
    left_over: list[str] = found.make_context(command, words).args
    return left_over


def _all_flags() -> set[str]:
    group = typer.main.get_command(app)
    own = {flag for option in group.params for flag in option.opts}
    return own.union(*(_flags(command) for command in group.commands))  # type: ignore[attr-defined]


def _flags(command: str) -> set[str]:
    found = typer.main.get_command(app)
    names = {"-h", "--help"}
    pending = [found.commands[command]]  # type: ignore[attr-defined]
    while pending:
        one = pending.pop()
        pending += list(getattr(one, "commands", {}).values())
        for parameter in one.params:
            names.update(parameter.opts)
            names.update(parameter.secondary_opts)
    return names

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
_DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "github-workflow.yml"]
_RULE = re.compile(r"--require '([^']+)'")
_LINK = re.compile(r"\]\((?!http)([^)#]+)[^)]*\)")
_COMMAND = re.compile(
    r"^(?:    |.*bin/)abatch (bench|compare|gate|report|calibrate|null-server|serve|workload) (.*)$", re.MULTILINE
)


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_rules_links_and_options_of_the_documents_are_there(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    for rule in _RULE.findall(text):
        parse_rule(rule)
    for link in _LINK.findall(text):
        assert (path.parent / link).exists(), link
    for command, arguments in _COMMAND.findall(text):
        known = _flags(command)
        words = shlex.split(arguments.partition("  #")[0].partition(" > ")[0], comments=True)
        unknown = [word for word in words if word.startswith("-") and len(word) > 1 and word not in known]
        assert not unknown, f"abatch {command}: {unknown}"


def test_the_example_of_rules_in_gates_md_parses() -> None:
    text = (ROOT / "docs" / "gates.md").read_text()
    block = text.split("```\n")[1]
    rules = [rule for line in block.splitlines() for rule in re.split(r"\s{3,}", line) if rule]
    assert len(rules) == 8
    for rule in rules:
        parse_rule(rule)


def test_the_workflow_is_yaml_with_both_jobs() -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "github-workflow.yml").read_text())
    assert set(workflow["jobs"]) == {"scheduling", "gpu"}
    commands = " ".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    assert "--device simulated:h100" in commands
    assert "compare --url base=" in commands


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

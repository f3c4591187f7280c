"""The GitHub action: what action.yml says, and its script with GitHub's variables pointing to files of a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from abatch.engine.timing.durations import parse_duration
from abatch.reports.gates.parser import parse_rule
from abatch.workloads.presets.catalog import WORKLOADS
from support.servers import null_server

ROOT = Path(__file__).parent.parent
_SCRIPT = ROOT / ".github" / "gate.sh"
_ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
_WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "github-workflow.yml").read_text())
_STEPS: list[dict[str, Any]] = _ACTION["runs"]["steps"]
_RULES = "\n  errors < 50%\n\n  ttft.p50 <= baseline + 900%  \n"


def _expressions(text: str) -> set[str]:
    """What stands in `${{ }}`, and the conditions of steps."""
    inside = " ".join([*re.findall(r"\$\{\{(.*?)\}\}", text), *re.findall(r"\n +if: (.*)", text)])
    return set(re.findall(r"\b(?:inputs|steps)\.[\w.-]+", inside))


def test_what_the_action_refers_to_is_there() -> None:
    steps = {step["id"] for step in _STEPS if "id" in step}
    script = _SCRIPT.read_text()
    written = set(re.findall(r"^ +output ([a-z-]+) ", script, re.MULTILINE))
    for expression in _expressions((ROOT / "action.yml").read_text()):
        kind, name, *rest = expression.split(".")
        if kind == "inputs":
            assert name in _ACTION["inputs"], expression
        else:
            assert name in steps, expression
            assert name == "python" or rest[1] in written, expression


def test_inputs_reach_the_script_as_variables_and_never_as_text() -> None:
    for step in [*_STEPS, *(step for job in _WORKFLOW["jobs"].values() for step in job["steps"])]:
        assert "${{" not in step.get("run", "")
    given = {name for step in _STEPS for name in step.get("env", {})} | {"GATE_ABATCH"}
    assert set(re.findall(r"GATE_[A-Z_]+", _SCRIPT.read_text())) == {name for name in given if name.startswith("GATE_")}


@pytest.mark.parametrize("steps", [_STEPS, *(job["steps"] for job in _WORKFLOW["jobs"].values())])
def test_other_actions_are_pinned(steps: list[dict[str, Any]]) -> None:
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+|OWNER/abatch@VERSION", name) for name in used)


def test_the_workflow_to_copy_gives_the_action_what_it_takes() -> None:
    (gate,) = (step for step in _WORKFLOW["jobs"]["server"]["steps"] if step["uses"].startswith("OWNER/abatch"))
    given = gate["with"]
    assert given.keys() <= _ACTION["inputs"].keys()
    assert given["workload"] in WORKLOADS
    assert parse_duration(given["duration"]) > 0
    rules = given["rules"].splitlines()
    assert any("baseline" in rule for rule in rules)
    for rule in rules:
        parse_rule(rule)
    assert _WORKFLOW["permissions"]["pull-requests"] == "write"


@dataclass(slots=True)
class Job:
    """A job of GitHub's, in a folder. `abatch` and `gh` are programs of the test."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, command: str = "measure", **variables: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "output").write_text("")
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "me/mine",
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GATE_URL": "http://127.0.0.1:1",
            **self.variables,
            **variables,
        }
        return subprocess.run(
            ["bash", str(_SCRIPT), command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())

    def said(self, program: str) -> list[list[str]]:
        """The words of each call."""
        path = self.folder / f"{program}.calls"
        calls = path.read_text().split("\0\0") if path.is_file() else []
        return [call.split("\0") for call in calls if call]


_KEEPS_WORDS = 'printf "%s\\0" "$@" >> "$HOME/{0}.calls"; printf "\\0" >> "$HOME/{0}.calls"\n'
_ABATCH = f"""#!/bin/bash
{_KEEPS_WORDS.format("abatch")}
for word in "$@"; do
    case $word in
        --version) echo "abatch $(cat "$HOME/version" 2> /dev/null)" ;;
        --output=*) mkdir -p "${{word#*=}}" && touch "${{word#*=}}/config.json" ;;
        --markdown=*) printf '## abatch: FLAGGED\\n\\nAll of it.\\n' > "${{word#*=}}" ;;
    esac
done
exit "$(cat "$HOME/code" 2> /dev/null || echo 0)"
"""
_GH = f"""#!/bin/bash
{_KEEPS_WORDS.format("gh")}
case "$*" in
    *--paginate*) cat "$HOME/comments" 2> /dev/null; exit 0 ;;
    *) cp "${{*: -1:1}}" /dev/null 2> /dev/null; exit "$(cat "$HOME/gh-code" 2> /dev/null || echo 0)" ;;
esac
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    job.program("abatch", _ABATCH)
    job.program("gh", _GH)
    return job


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with null_server("--ttft", "1", "--itl", "1", log=tmp_path_factory.mktemp("null") / "log") as running:
        yield running.url


@pytest.mark.slow
def test_a_first_run_and_one_that_is_compared_with_it(job: Job, server: str) -> None:
    """With abatch itself: two runs, of seconds. Any exit code will do that has its outcome: the machine may be busy."""
    job.program("abatch", f'#!/bin/sh\nexec {sys.executable} -P -m abatch.cli "$@"\n')
    job.variables = {
        "GATE_URL": server,
        "GATE_RATE": "40",
        "GATE_DURATION": "1s",
        "GATE_RULES": _RULES,
        "GATE_ARGUMENTS": "--idle-probe=0\n  --osl=4\n",
        "GATE_DEFAULT_BRANCH": "trunk",
    }
    outcomes = {"0": "passed", "4": "inconclusive"}
    for number, ref in enumerate(("refs/heads/trunk", "refs/pull/7/merge")):
        result = job.run(GITHUB_REF=ref)
        assert ("No baseline yet" in result.stdout) == (number == 0)
        assert ("Not judged without a baseline: ttft.p50 <= baseline + 900%" in result.stdout) == (number == 0)
        found = job.outputs()
        assert found["exit-code"] in outcomes, result.stdout + result.stderr
        assert (found["outcome"], found["exit-code"]) == (outcomes[found["exit-code"]], str(result.returncode))
        assert {path.name for path in (job.folder / found["folder"]).iterdir()} == {
            *("run", "report.html", "report.md", "junit.xml")
        }
        judged = (job.folder / found["folder"] / "junit.xml").read_text()
        assert "errors &lt; 50%" in judged
        assert ("baseline" in judged) == (number == 1)
        assert found["verdict"]
    assert "has-new-baseline" not in job.outputs()
    assert (job.folder / ".abatch-baseline" / "latency" / "results.jsonl").is_file()
    assert (job.folder / "summary.md").read_text().count("## abatch: ") == 2


@pytest.mark.parametrize("nasty", ["$(touch harmed)", "`touch harmed`", "; touch harmed", "'\"", "a b", "--help", "*"])
def test_no_input_is_more_than_a_value(job: Job, nasty: str) -> None:
    inputs = {"URL": "--url", "WORKLOAD": "--workload", "DURATION": "--duration", "RATE": "--request-rate"}
    given = {f"GATE_{name}": nasty for name in inputs} | {"GATE_RULES": nasty}
    assert job.run(**given).returncode == 0
    (words,) = job.said("abatch")
    assert words[0] == "bench"
    assert {f"{option}={nasty}" for option in (*inputs.values(), "--require")} <= {*words}
    assert not (job.folder / "harmed").exists()
    assert job.run(GATE_NAME=nasty).returncode == 2
    assert len(job.said("abatch")) == 1


@pytest.mark.parametrize(
    ("code", "outcome", "becomes_baseline"),
    [(0, "passed", True), (1, "error", False), (3, "failed", False), (4, "inconclusive", True), (130, "error", False)],
)
def test_exit_codes(job: Job, code: int, outcome: str, becomes_baseline: bool) -> None:
    (job.folder / "code").write_text(str(code))
    assert job.run(GITHUB_REF="refs/heads/main", GATE_DEFAULT_BRANCH="main").returncode == code
    assert job.outputs()["outcome"] == outcome
    assert job.outputs()["verdict"] == "FLAGGED"
    assert ("has-new-baseline" in job.outputs()) is becomes_baseline
    lenient = job.run(GATE_FAIL_ON_INCONCLUSIVE="false", GITHUB_REF="refs/heads/other").returncode
    assert lenient == (0 if code == 4 else code)
    assert job.outputs()["exit-code"] == str(code)


def test_a_baseline_of_ones_own(job: Job) -> None:
    missing = job.run(GATE_BASELINE="runs/main", GATE_RULES=_RULES)
    assert "There is no run at the baseline runs/main" in missing.stdout
    (job.folder / "runs" / "main").mkdir(parents=True)
    (job.folder / "runs" / "main" / "config.json").touch()
    job.run(GATE_BASELINE="runs/main", GATE_RULES=_RULES, GITHUB_REF="refs/heads/main")
    without, with_it = job.said("abatch")
    assert "--require=ttft.p50 <= baseline + 900%" not in without
    assert {"--require=ttft.p50 <= baseline + 900%", "--baseline=runs/main"} <= {*with_it}
    assert not (job.folder / ".abatch-baseline").exists()


def test_a_pull_request_gets_one_comment(job: Job) -> None:
    job.run(GATE_PULL_REQUEST="7", GATE_RULES=_RULES)
    (job.folder / "comments").write_text("12\n15\n")
    job.run(GATE_PULL_REQUEST="7")
    first, again = [call for call in job.said("gh") if "--method" in call]
    assert first[first.index("--method") :][:3] == ["--method", "POST", "repos/me/mine/issues/7/comments"]
    assert again[again.index("--method") :][:3] == ["--method", "PATCH", "repos/me/mine/issues/comments/12"]
    body = job.folder / first[-1].partition("@")[2]
    assert body.read_text().startswith("<!-- abatch latency -->\n> No baseline yet")
    assert body.read_text().endswith("## abatch: FLAGGED\n\nAll of it.")


def test_where_there_can_be_no_comment_a_line_says_so(job: Job) -> None:
    assert "comment" not in job.run().stdout  # a push
    assert "comment" not in job.run(GATE_PULL_REQUEST="7", GATE_COMMENT="false").stdout
    assert job.said("gh") == []
    (job.folder / "gh-code").write_text("1")
    fork = job.run(GATE_PULL_REQUEST="7")
    assert "no comment: that needs 'pull-requests: write'" in fork.stdout
    assert fork.returncode == 0
    (job.folder / "bin" / "gh").unlink()
    assert "no comment: the gh command is not installed" in job.run(GATE_PULL_REQUEST="7").stdout


def test_a_long_report_is_cut_to_what_a_comment_may_have(job: Job) -> None:
    job.program("abatch", _ABATCH.replace("All of it.", "\u00e4" * 70_000))
    job.run(GATE_PULL_REQUEST="7")
    body = (job.folder / "abatch-latency" / "comment.md").read_text()
    assert 60_000 < len(body) < 65_536
    assert body.endswith("The rest is in the report of the job.")


def test_another_server_or_version_is_another_baseline(job: Job) -> None:
    keys = []
    for variables in ({}, {}, {"GATE_URL": "http://b"}, {"GATE_ARGUMENTS": "--osl=4"}, {"GATE_NAME": "other"}):
        assert job.run("prepare", **variables).returncode == 0
        keys.append(job.outputs()["key"])
    (job.folder / "version").write_text("9")
    job.run("prepare")
    keys.append(job.outputs()["key"])
    assert keys[0] == keys[1]
    assert len({*keys}) == 5
    assert job.run("prepare", GATE_URL="").returncode == 2

"""The tests that want a CUDA device, run here and now, and counted while they run."""

from __future__ import annotations

import importlib.util
import os
from itertools import groupby
from pathlib import Path

import pytest
from benchmarks.gpu.setting import Figures, Setting, SkippedError

ROOT = Path(__file__).resolve().parents[3]
MEMORY_TESTS = (
    "test_memory_is_measured_and_what_is_left_goes_to_kv",
    "test_kv_that_does_not_fit_is_one_line",
    "test_a_launch_does_not_wait_for_a_long_step_that_runs",
)
"""They take all of the device's memory, or time what other processes would delay: nothing runs beside them."""
_MEMORY_FILE = "tests/gpu/test_engine_on_cuda.py"
_SANITIZER_FILE = "tests/gpu/test_sanitizer.py"
_NUM_PROCESSES = 8
_LONGEST_TEST_S = 60
_PLUGINS = {"pytest_asyncio": "pytest_asyncio.plugin", "pytest_timeout": "pytest_timeout", "xdist": "xdist.plugin"}
"""By package: what the settings of pytest ask for, and what runs several tests at once. Nothing else is loaded."""


def run(setting: Setting, name: str) -> None:
    """Those of the device and the kernels, or those that need its memory for themselves.

    Raises:
        SkippedError: a plugin of pytest is not installed.
        RuntimeError: pytest did not get as far as to run them.
    """
    plugins = {package: plugin for package, plugin in _PLUGINS.items() if package != "xdist" or not setting.is_dry}
    if missing := [package for package in plugins if importlib.util.find_spec(package) is None]:
        raise SkippedError(f"not installed: {', '.join(missing)}; make gpu-wheels fetches what such a machine lacks")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what others do there (benchmark, jaxtyping) is not asked for
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["OMP_NUM_THREADS"] = "1"  # of each process
    os.chdir(ROOT)
    arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
    arguments += [word for plugin in plugins.values() for word in ("-p", plugin)]
    # Its packages have other versions than those we pin: what they warn of is no failure.
    arguments += ["-W", "default", "-v", "--tb=short", "--durations=10", "-o", f"timeout={_LONGEST_TEST_S}"]
    code = pytest.main([*arguments, *chosen(name, is_dry=setting.is_dry)], plugins=[OutcomeCounter(setting.figures)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {pytest.ExitCode(code).name}: see the job's log")


def chosen(name: str, *, is_dry: bool) -> list[str]:
    """What pytest is told to run."""
    if name == "memory":
        return [f"{_MEMORY_FILE}::{test}" for test in MEMORY_TESTS]
    if is_dry:
        return ["tests/engine/device/test_draw_kernel.py", "-k", "own_seed"]
    kernels = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/engine").rglob("test_*kernel*.py"))
    files = ["tests/gpu", *(str(path) for path in kernels if path.name != "test_compiled_kernels.py")]
    left_out = [f"--ignore={_SANITIZER_FILE}", *(f"--deselect={_MEMORY_FILE}::{test}" for test in MEMORY_TESTS)]
    return ["-n", str(_NUM_PROCESSES), *files, *left_out]


class OutcomeCounter:
    """A plugin of pytest that writes down each outcome at once: whoever kills the tests finds what came before."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._counts = {"passed": 0, "failed": 0, "skipped": 0}
        self._failures: list[dict[str, str]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """All processes find the same tests."""
        self._figures.add("num_found", value=len(ids))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """In a process alone."""
        self._figures.add("num_found", value=len(session.items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a failure, too."""
        if report.failed:
            self._take("failed", report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of a test's three phases. What passes counts when the test itself has; what fails, always."""
        if report.when == "call" or report.outcome != "passed":
            self._take(report.outcome, report)

    def _take(self, outcome: str, report: pytest.TestReport | pytest.CollectReport) -> None:
        self._counts[outcome] += 1
        if outcome == "failed":
            self._failures.append({"test": report.nodeid, "error": error_of(report.longreprtext)})
            self._figures.add("failures", value=self._failures)
        self._figures.add("outcomes", value=self._counts)


def error_of(traceback: str) -> str:
    """The first line of the last error in a traceback as pytest writes it, where an error's lines begin with E."""
    lines = [line for line in traceback.splitlines() if line.strip()]
    errors = [list(block) for is_error, block in groupby(lines, lambda line: line.startswith("E ")) if is_error]
    last = errors[-1][0][1:] if errors else lines[-1] if lines else "it said nothing"
    return last.strip()[:200]

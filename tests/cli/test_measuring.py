"""Measuring as a library: a plan made without any option, and an observer that only looks on."""

from __future__ import annotations

import io
import pickle
import resource
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from abatch.cli.commands import progress
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.observer import LiveRun, SilentObserver
from abatch.cli.measuring.plan import Plan
from abatch.cli.measuring.targets import SimulatedEngine
from abatch.cli.measuring.traffic import TrafficRecipe
from abatch.engine.config import EngineConfig
from abatch.workloads.presets.distributions import Constant
from abatch.workloads.presets.scales import Scales
from abatch.workloads.run_limits import RunLimits
from rich.console import Console

_RECIPE = TrafficRecipe(
    workload="chat-short", scales=Scales(turns=Constant(1)), limits=RunLimits(duration_s=10.0), request_rate=4.0
)


def _plan(folder: Path) -> Plan:
    config = EngineConfig(model="llama-3.1-8b", device="simulated:h100")
    source = SimulatedEngine(config=config, timeout_s=60.0, has_step_log=False)
    return Plan(traffic=_RECIPE.make(), source=source, folder=folder)


def test_a_plan_needs_no_command(tmp_path: Path) -> None:
    measured = run(_plan(tmp_path / "run"))
    assert measured.folder == tmp_path / "run"
    assert measured.summary.succeeded == len(list(measured.results())) > 20
    assert measured.config.duration_s == 10.0


def test_a_run_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    """And the processes that it starts: then everything is as it was."""
    seen = []

    class Looking(SilentObserver):
        def watching(self, run: LiveRun) -> AbstractContextManager[object]:
            seen.append(resource.getrlimit(resource.RLIMIT_NOFILE))
            return super().watching(run)

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = (min(before[0], 512), before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, few)
    try:
        run(_plan(tmp_path / "run"), Looking())
        assert seen == [(min(before[1], 1 << 20), before[1])]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == few
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_line_looks_on_and_changes_nothing(
    is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOG_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "_TERMINAL_EVERY_S", 0.0)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=200, color_system=None)
    watched = run(_plan(tmp_path / "watched"), progress.Progress(console))
    assert "measuring 1/10 s" in shown.getvalue()
    assert "in flight" in shown.getvalue()
    assert list(watched.results()) == list(run(_plan(tmp_path / "alone")).results())


def test_a_process_that_follows_the_recipe_makes_the_same_traffic() -> None:
    copy: TrafficRecipe = pickle.loads(pickle.dumps(_RECIPE))
    assert copy == _RECIPE
    (ours,), (theirs,) = _RECIPE.make().workload.streams, copy.make().workload.streams
    assert [next(ours.sessions(seed)) for seed in range(3)] == [next(theirs.sessions(seed)) for seed in range(3)]

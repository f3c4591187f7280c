"""Measuring several targets in turns: each round gives all of them the same traffic, in turns of A B, B A.

A machine that gets slower over time does so for all of them. A target that fails leaves the others' runs intact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...engine.errors import AbatchError, ConfigurationError
from ...reports.run.folder import ROUND, RunReader
from ...reports.run.measurement import Measurement
from ...reports.run.writer import NotSavedError
from ..measuring.observer import Observer
from ..measuring.plan import Plan
from ..measuring.running import run
from ..measuring.traffic import Traffic


@dataclass(slots=True)
class Rounds:
    """What came of it.

    Attributes:
        runs: By target and round, the folders of runs that are whole.
        failed: Targets that could not be measured, and why; they get no further round.
        is_interrupted: The user stopped it.
        not_saved: The disk was full or gone in one of the runs, which ended it.
    """

    runs: dict[str, dict[int, Path]]
    failed: dict[str, str] = field(default_factory=dict)
    is_interrupted: bool = False
    not_saved: NotSavedError | None = None

    def measurements(self) -> dict[str, Measurement]:
        """By target: the rounds that are common to all targets which did not fail.

        With fewer than two of those, the rounds that are common to all targets.
        """
        standing = [name for name in self.runs if name not in self.failed]
        if len(standing) < 2:
            standing = [name for name, runs in self.runs.items() if runs]
        common = set.intersection(*(set(self.runs[name]) for name in standing)) if standing else set()
        if not common:
            return {}
        return {
            name: Measurement([RunReader(self.runs[name][number]) for number in sorted(common)]) for name in standing
        }


def measure_in_turns(
    plans: Mapping[str, Plan],
    traffic_of: Callable[[int], Traffic],
    num_rounds: int,
    folder: Path,
    observer: Observer,
    on_ready: Callable[[], None] = lambda: None,
) -> Rounds:
    """Run every plan once a round.

    Args:
        plans: By target; folder and traffic are set here.
        traffic_of: The traffic of a round.
        num_rounds: How many.
        folder: Of all runs: one of each target, in it one of each round.
        observer: Is told which run it is, and how long the rest will take.
        on_ready: Called before each run, once its target is there.

    Raises:
        AbatchError: nothing at all could be measured.
        ConfigurationError: the first run shows that it cannot be done as asked.
    """
    rounds = Rounds({name: {} for name in plans})
    began_s, num_done = time.monotonic(), 0
    for number in range(1, num_rounds + 1):
        traffic = traffic_of(number - 1)
        names = list(plans) if number % 2 else list(plans)[::-1]
        for name in names:
            if name in rounds.failed:
                continue
            num_left = _num_left(rounds, num_rounds)
            observer.say(f"round {number} of {num_rounds}, {name}{_time_left(began_s, num_done, num_left)}")
            into = folder / name / f"{ROUND}{number}"
            try:
                own = traffic.salted_apart(f"{name}/{ROUND}{number}")
                summary = run(replace(plans[name], traffic=own, folder=into), observer, on_ready).summary
            except NotSavedError as error:
                rounds.not_saved = error
                return rounds
            except AbatchError as error:
                rounds.failed[name] = str(error)
                is_user_mistake = isinstance(error, ConfigurationError) and num_done == 0
                if is_user_mistake or len(rounds.failed) == len(plans):
                    raise
                observer.say(f"{name} failed: {error}")
                if len(plans) - len(rounds.failed) < 2:
                    return rounds
                continue
            except KeyboardInterrupt:
                rounds.is_interrupted = True
                return rounds
            if not summary.is_complete:
                rounds.is_interrupted = True
                return rounds
            if summary.succeeded == 0:
                reason = next(iter(summary.error_examples.values()), "nothing ended within the run")
                rounds.failed[name] = f"no request succeeded: {reason}"
                if len(plans) - len(rounds.failed) < 2:
                    return rounds
                continue
            rounds.runs[name][number] = into
            num_done += 1
    return rounds


def _num_left(rounds: Rounds, num_rounds: int) -> int:
    standing = [name for name in rounds.runs if name not in rounds.failed]
    return max(sum(num_rounds - len(rounds.runs[name]) for name in standing), 1)


def _time_left(began_s: float, num_done: int, num_left: int) -> str:
    if num_done == 0:
        return ""
    left_s = (time.monotonic() - began_s) / num_done * num_left
    return f" (about {left_s / 60:.0f} min left)" if left_s >= 90 else f" (about {left_s:.0f} s left)"

"""What a comparison is made of: targets measured now, in turns, or saved before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...reports.comparison.answer_agreement import AnswerAgreement
from ...reports.comparison.comparable import refuse_incomparable
from ...reports.run.folder import default_folder, make_empty
from ...reports.run.measurement import Measurement
from ..measuring.observer import Observer
from ..measuring.plan import Plan
from ..measuring.traffic import Traffic
from .answer_check import check_answers
from .rounds import Rounds, measure_in_turns
from .saved_targets import saved_targets


@dataclass(frozen=True, slots=True)
class Compared:
    """Targets side by side.

    Attributes:
        measurements: By target, the first first; those that came to nothing are left out.
        rounds: How measuring them went.
        agreements: By target, whether it gives the same answers as the first, where that was checked.
        folder: Where they were saved; None: they had been before.
    """

    measurements: Mapping[str, Measurement]
    rounds: Rounds
    agreements: Mapping[str, AnswerAgreement] = field(default_factory=dict)
    folder: Path | None = None


def load_compared(
    folders: Sequence[Path], traffic_class: str | None, goodput: str | None, observer: Observer
) -> Compared:
    """Saved runs, or the rounds of a saved comparison.

    Args:
        folders: Of runs, or one that `abatch compare` wrote.
        traffic_class: What the comparison is about; None: what the runs were about.
        goodput: Objectives that requests are counted by; None: those that the runs were measured with.
        observer: Is told what was left out.

    Raises:
        ConfigurationError: one of them is not a run, there are fewer than two, or they do not compare.
    """
    saved = saved_targets(folders, traffic_class, goodput)
    for note in saved.notes:
        observer.say(f"note: {note}")
    refuse_incomparable([one.config for one in saved.measurements.values()], list(saved.measurements))
    return Compared(saved.measurements, Rounds({}, failed=saved.failed), saved.agreements)


def measure_compared(
    plans: Mapping[str, Plan],
    traffic_of: Callable[[int], Traffic],
    num_rounds: int,
    output: Path | None,
    observer: Observer,
    *,
    has_answers_checked: bool,
    on_ready: Callable[[], None] = lambda: None,
) -> Compared:
    """Measure all targets in turns.

    Args:
        plans: By target.
        traffic_of: The traffic of a round.
        num_rounds: How many.
        output: A new folder; None: runs/DATE-TIME-compare-WORKLOAD.
        observer: Is told how it goes.
        has_answers_checked: Ask all of them the same prompts first.
        on_ready: Called before each run, once its target is there.

    Raises:
        AbatchError: nothing at all could be measured.
        ConfigurationError: the first run shows that it cannot be done as asked.
    """
    agreements: Mapping[str, AnswerAgreement] = {}
    if has_answers_checked:
        agreements = check_answers({name: plan.source for name, plan in plans.items()}, observer)
    workload = next(iter(plans.values())).traffic.workload.name
    folder = output or default_folder(f"compare-{workload}")
    make_empty(folder)
    try:
        rounds = measure_in_turns(plans, traffic_of, num_rounds, folder, observer, on_ready)
    finally:
        for empty in (*(folder / name for name in plans), folder):  # if no run began there
            with contextlib.suppress(OSError):
                empty.rmdir()
    return Compared(rounds.measurements(), rounds, agreements, folder)

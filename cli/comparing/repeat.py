"""The command that does a comparison again: same targets, traffic and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ...reports.gates.rule import Rule
from ...reports.run.command import Command
from ..measuring.plan import Plan
from ..measuring.traffic import Traffic
from ..options.compared import ComparedRules
from ..options.groups import OptionGroup
from ..options.repeating import repeating
from ..options.traffic import TrafficOptions

_Options = TypeVar("_Options", bound=TrafficOptions)


def with_salt(traffic: _Options, plans: Mapping[str, Plan]) -> _Options:
    """The same traffic with one salt for all of it, so that its texts can be sent again.

    Each run still has texts of its own. Servers that are new for each run need none.
    """
    if traffic.text_salt is not None or all(plan.source.is_new for plan in plans.values()):
        return traffic
    of_one = next(iter(plans.values())).traffic
    return replace(traffic, text_salt=of_one.salted(server_is_new=False).text_salt or None)


def repeat_command(
    traffic: Traffic, *groups: OptionGroup, rules: Sequence[Rule], rare_s: float | None, workers: int
) -> Command:
    """The words of `abatch compare` that ask for this again; no secrets.

    Args:
        traffic: Of the first round.
        groups: The options of all else.
        rules: That were judged, wherever they came from.
        rare_s: How rare the stalls are that rules must not miss.
        workers: Sender processes.

    Raises:
        ConfigurationError: the trace cannot be read any more.
    """
    judged_by = ComparedRules(require=[rule.text for rule in rules] or None, rare_s=rare_s)
    further = ("--workers", str(workers)) if workers > 1 else ()
    return traffic.asked_for_by(repeating("compare", *groups, judged_by, further=further))

"""Rules held against summaries."""

from __future__ import annotations

from abatch.reports.gates.judge import Judgement, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.run.measurement import Measurement
from abatch.reports.summary.summary import Summary


def judged(rule: str, summary: Summary) -> Judgement:
    """What becomes of a rule where a summary is all there is."""
    return judge(parse_rule(rule), Measurement((), summary))

"""A run that has been measured and saved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ...engine.errors import AbatchError, ConfigurationError
from ...reports.gates.judge import Judgement, judge_all
from ...reports.gates.parser import parse_rules
from ...reports.run.config import RunConfig
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...reports.summary.summary import Summary
from ...workloads.result import Result


class BrokenOffError(AbatchError):
    """A run ended at a row of its trace that cannot be read. Traces are read while they are sent.

    Attributes:
        summary: What was measured until then.
    """

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


class Run:
    """A saved run: its summary, its results, and what rules say of it.

    Attributes:
        folder: The run folder.
        reader: The same, opened.
    """

    def __init__(self, folder: Path, summary: Summary | None = None) -> None:
        """Open a run folder. `summary`: where it is known already.

        Raises:
            ConfigurationError: it is not a run folder, or it is damaged.
        """
        self.folder = folder
        self.reader = RunReader(folder)
        self._summary = summary

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def measurement(self) -> Measurement:
        """The run as rules, comparisons and renderings read it."""
        return Measurement([self.reader], self._summary)

    @property
    def summary(self) -> Summary:
        """What summary.json holds. Latencies are in milliseconds, rates per second.

        `summary.metrics["ttft"]["all"].p99_ms` is the p99 of the time to first token over all traffic classes.
        """
        return self.measurement.summary

    @property
    def config(self) -> RunConfig:
        """What config.json holds: what was asked for, of which software, on which machine."""
        return self.reader.config

    def results(self) -> Iterator[Result]:
        """The results of single requests in the order in which they ended. Times are in seconds since the run began.

        Raises:
            ConfigurationError: a line of results.jsonl is damaged.
        """
        return self.reader.results()

    def judge(self, *rules: str, baseline: Run | None = None) -> list[Judgement]:
        """Judge rules such as `ttft.p99/p50 <= 3` on the run: pass, fail or inconclusive, with the reason.

        Args:
            rules: See docs/gates.md for what they can say.
            baseline: The run that rules such as `ttft.p99 <= baseline + 10%` compare with.

        Raises:
            ConfigurationError: a rule is malformed, or one needs a baseline and there is none.
        """
        parsed = parse_rules(rules)
        if baseline is None and any(rule.needs_baseline for rule in parsed):
            raise ConfigurationError("a rule compares with a baseline: give judge a run as baseline=")
        return judge_all(parsed, self.measurement, None if baseline is None else baseline.measurement)

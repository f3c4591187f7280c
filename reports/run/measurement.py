"""What was measured of one target: a saved run or several rounds, read only as far as needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from hdrh.histogram import HdrHistogram

from ..recording.recorder import ALL, JUDGED, METRICS, Recorder
from ..statistics.coarsen import in_parts
from ..statistics.log_buckets import bucket_us
from ..statistics.time_blocks import TimeBlocks
from ..summary.client import ClientSummary
from ..summary.engine import EngineSummary
from ..summary.summary import Summary, fill_summary
from ..summary.torn import torn_notes
from .config import RunConfig
from .folder import RunReader
from .histogram_log import by_tag, tag
from .recorded_part import RecordedPart

_RATE_STRETCHES = 16
_MOST_RATE_BLOCKS = 2**16


class Measurement:
    """One or more runs of one target, as rules, comparisons and renderings need them.

    Attributes:
        rounds: The run folders, in the order in which they were measured; none where there is only a summary.
    """

    def __init__(self, rounds: Sequence[RunReader], summary: Summary | None = None) -> None:
        """`summary`: if it is known already, or is all there is.

        Raises:
            ConfigurationError: a run is damaged.
        """
        self.rounds = rounds
        self.summary = Summary() if summary is None else summary
        if summary is None:
            self.summary = self._pooled_summary()

    @property
    def config(self) -> RunConfig:
        """Of the first round."""
        return self.rounds[0].config if self.rounds else RunConfig()

    @property
    def has_results(self) -> bool:
        """Whether there is more than a summary."""
        return bool(self.rounds) and all(reader.has_results for reader in self.rounds)

    @cached_property
    def round_summaries(self) -> list[Summary]:
        """Of each round; where there are no rounds, the summary itself."""
        if len(self.rounds) < 2:
            return [self.summary]
        return [reader.summary() for reader in self.rounds]

    def time_blocks(self, metric: str, traffic_class: str) -> list[TimeBlocks]:
        """The values of a metric in each round, by time.

        Raises:
            ConfigurationError: a run is damaged.
        """
        parts = self._judged_parts if metric in JUDGED else self._all_parts
        return [part.recorder.time_blocks(metric, traffic_class) for part in parts]

    def slowdown_blocks(self, metric: str, traffic_class: str) -> list[TimeBlocks]:
        """Slowdowns of a metric in each round, in thousandths, by time; of rounds without an idle probe none.

        Raises:
            ConfigurationError: a run is damaged.
        """
        of_class = None if traffic_class == ALL else traffic_class
        found = [part.recorder.slowdowns for part in self._judged_parts]
        return [TimeBlocks() if one is None else one.time_blocks(metric, of_class) for one in found]

    def rates(self, *, of_tokens: bool) -> list[list[float]]:
        """Requests or output tokens that ended, per second, in equal stretches of each round's measured part."""
        return [
            _rates(part.recorder.finished, part.start_s, part.measured_s, of_tokens=of_tokens)
            for part in self._judged_parts
        ]

    def histogram(self, metric: str, traffic_class: str) -> HdrHistogram | None:
        """The values of a metric in all rounds, in microseconds; None if there are none.

        Raises:
            ConfigurationError: a run is damaged.
        """
        return self.histograms.get(tag(metric, traffic_class)) if self.rounds else None

    @cached_property
    def histograms(self) -> Mapping[str, HdrHistogram]:
        """All of them, by tag `metric.class`, metrics in reporting order."""
        if len(self.rounds) == 1:
            return self.rounds[0].histograms()
        return by_tag(self._pooled_recorder)

    @cached_property
    def _judged_parts(self) -> list[RecordedPart]:
        return self._recorded(JUDGED)

    @cached_property
    def _all_parts(self) -> list[RecordedPart]:
        return self._recorded(METRICS)

    def _recorded(self, timed: Sequence[str]) -> list[RecordedPart]:
        """The results of each round. Where lines are torn that were not when the summary was saved, it says so now."""
        parts = [reader.recorded(timed) for reader in self.rounds]
        torn = sum((reader.torn for reader in self.rounds), Counter[str]())
        if torn and torn != self.summary.torn_lines:
            self.summary.torn_lines = dict(sorted(torn.items()))
            self.summary.warnings += torn_notes(self.summary)
        return parts

    @cached_property
    def _pooled_recorder(self) -> Recorder:
        pooled = self.rounds[0].config.new_recorder()
        for part in self._judged_parts:
            pooled.merge(part.recorder)
        return pooled

    def _pooled_summary(self) -> Summary:
        if len(self.rounds) == 1:
            return self.rounds[0].summary()
        saved = self.round_summaries
        measured_s = sum(part.measured_s for part in self._judged_parts)
        pooled = fill_summary(self.rounds[0].config.new_summary(), self._pooled_recorder, measured_s)
        pooled.is_complete = all(summary.is_complete for summary in saved)
        pooled.warnings = list(dict.fromkeys(warning for summary in saved for warning in summary.warnings))
        pooled.torn_lines = dict(self.summary.torn_lines)
        pooled.abandoned_turns = sum(summary.abandoned_turns for summary in saved)
        pooled.attribution = saved[0].attribution
        if pooled.cache is not None:
            shares = [one.cache.server_hit_share for one in saved if one.cache is not None]
            pooled.cache.server_hit_share = max((share for share in shares if share is not None), default=None)
        clients = [summary.client for summary in saved if summary.client is not None]
        pooled.client = _worst_client(clients) if len(clients) == len(saved) else None
        pooled.engine = _pooled_engine([summary.engine for summary in saved if summary.engine is not None])
        return pooled


def _worst_client(parts: Sequence[ClientSummary]) -> ClientSummary:
    """Of each figure the worst: a round with a doubtful client makes the whole doubtful."""
    worst = max(parts, key=lambda client: client.lag_p99_ms)
    names = ("lag_p50_ms", "lag_p99_ms", "lag_p999_ms", "lag_max_ms", "gc_share", "gc_longest_ms", "cpu_share")
    highest = {name: max(getattr(part, name) for part in parts) for name in names}
    return msgspec.structs.replace(worst, gc_pauses=sum(part.gc_pauses for part in parts), **highest)


def _rates(finished: TimeBlocks, start_s: float, length_s: float, *, of_tokens: bool) -> list[float]:
    """In whole blocks only: the first and the last may be cut by the measured part."""
    block_s = finished.block_s
    while length_s > _MOST_RATE_BLOCKS * block_s:  # a run of hours, of which only the first seconds have anything
        block_s *= 2
    first = math.ceil(start_s / block_s)
    blocks = finished.aligned(block_s, first, int((start_s + length_s) / block_s) - first)
    return [
        sum(_amount(block, of_tokens=of_tokens) for block in part) / (len(part) * block_s)
        for part in in_parts(blocks, min(_RATE_STRETCHES, len(blocks)))
    ]


def _amount(block: Counter[int], *, of_tokens: bool) -> float:
    return sum(count * bucket_us(bucket) for bucket, count in block.items()) if of_tokens else block.total()


def _pooled_engine(parts: Sequence[EngineSummary]) -> EngineSummary | None:
    """Sums, and means weighted by steps or by time. What became of parked sessions is told run by run."""
    if len(parts) < 2:
        return parts[0] if parts else None
    num_steps = sum(part.num_steps for part in parts)
    busy_s = [part.num_steps * part.device_step_ms / 1e3 for part in parts]
    idle_s = sum(
        busy * part.device_idle / max(1 - part.device_idle, 1e-6) for busy, part in zip(busy_s, parts, strict=True)
    )
    return msgspec.structs.replace(
        parts[0],
        num_steps=num_steps,
        host_step_ms=round(sum(part.num_steps * part.host_step_ms for part in parts) / num_steps, 4),
        device_step_ms=round(sum(busy_s) / num_steps * 1e3, 4),
        device_idle=round(idle_s / (idle_s + sum(busy_s)), 6),
        num_prefill_tokens=sum(part.num_prefill_tokens for part in parts),
        num_decode_tokens=sum(part.num_decode_tokens for part in parts),
        num_preemptions=sum(part.num_preemptions for part in parts),
        parking=None,
    )

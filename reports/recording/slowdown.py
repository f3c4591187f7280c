"""How many times longer requests took than on an idle server, and what they spent that time on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...workloads.result import Result
from ..statistics.log_buckets import buckets_of
from ..statistics.time_blocks import TimeBlocks, merged
from .idle_model import IdleModel
from .request_sample import SampledRequest

SLOWED = ("ttft", "tpot", "e2e")
"""The metrics that have a slowdown: each is one number a request."""


@dataclass(slots=True)
class TimeSpent:
    """What requests spent their time on, in milliseconds, all of them together.

    Attributes:
        work_ms: What they would have taken on an idle server.
        waiting_ms: What the first token took longer than that.
        interference_ms: What the other tokens took longer.
    """

    requests: float = 0.0
    work_ms: float = 0.0
    waiting_ms: float = 0.0
    interference_ms: float = 0.0

    def add(self, other: TimeSpent, share: float = 1.0) -> None:
        """Add the time of other requests, or of a share of them."""
        self.requests += share * other.requests
        self.work_ms += share * other.work_ms
        self.waiting_ms += share * other.waiting_ms
        self.interference_ms += share * other.interference_ms


class Slowdowns:
    """Takes in requests one at a time and keeps none of them.

    Slowdowns are counted in thousandths, by block of time, so that intervals come the same way as those of latencies.
    """

    def __init__(self, idle: IdleModel) -> None:
        self.idle = idle
        self._blocks: dict[tuple[str, str], TimeBlocks] = {}
        self._spent: dict[str, dict[int, TimeSpent]] = {}
        """By class, then by logarithmic bucket of e2e: enough to tell the slowest from the rest."""

    def add(self, result: Result) -> None:
        """Count a request that did not fail, unless the server did not report its size, or thought before it without
        showing that: nobody knows when.

        One that was cut off is a lower bound: its size is unknown, so it counts as the largest there is.
        """
        idle, name, due_s = self.idle, result.traffic_class, result.due_s
        if result.censored:
            self._count("ttft", name, due_s, result.ttft_us, idle.ttft_ms(idle.largest_prompt))
            if idle.itl_base_ms:
                idle_ms = idle.ttft_ms(idle.largest_prompt) + idle.decode_ms(idle.largest_prompt, result.max_tokens)
                self._count("e2e", name, due_s, result.e2e_us, idle_ms)
        elif result.prompt_tokens is not None and result.output_tokens is not None and not result.hidden_tokens:
            prefill_tokens = max(0, result.prompt_tokens - (result.cached_tokens or 0))
            sizes = prefill_tokens, result.prompt_tokens, result.output_tokens
            self._add(name, due_s, sizes, result.ttft_us, result.tpot_us, result.e2e_us)

    def add_sample(self, requests: Iterable[SampledRequest]) -> None:
        """Count requests of a run that is over."""
        for request in requests:
            decode_ms, num_more = request.e2e_ms - request.ttft_ms, request.output_tokens - 1
            self._add(
                request.traffic_class,
                request.due_s,
                (request.prefill_tokens, request.prefill_tokens, request.output_tokens),
                request.ttft_ms * 1e3,
                decode_ms * 1e3 / num_more if num_more > 0 else None,
                request.e2e_ms * 1e3,
            )

    def _add(
        self,
        name: str,
        due_s: float,
        sizes: tuple[int, int, int],
        ttft_us: float,
        tpot_us: float | None,
        e2e_us: float,
    ) -> None:
        """`sizes`: tokens of the prompt that no cache had, of the whole prompt, and of the answer."""
        prefill_tokens, prompt_tokens, output_tokens = sizes
        prefill_ms = self.idle.ttft_ms(prefill_tokens)
        decode_ms = self.idle.decode_ms(prompt_tokens, output_tokens)
        self._count("ttft", name, due_s, ttft_us, prefill_ms)
        if output_tokens > 1 and not decode_ms:
            return  # the probe's answers came in one piece, so what a token takes is unknown
        if tpot_us is not None:
            self._count("tpot", name, due_s, tpot_us, decode_ms / (output_tokens - 1))
        self._count("e2e", name, due_s, e2e_us, prefill_ms + decode_ms)
        waiting_ms = max(0.0, ttft_us / 1e3 - prefill_ms)
        interference_ms = max(0.0, (e2e_us - ttft_us) / 1e3 - decode_ms)
        spent = TimeSpent(1, e2e_us / 1e3 - waiting_ms - interference_ms, waiting_ms, interference_ms)
        self._spent.setdefault(name, {}).setdefault(buckets_of([round(e2e_us)])[0], TimeSpent()).add(spent)

    def _count(self, metric: str, name: str, due_s: float, took_us: float, idle_ms: float) -> None:
        if idle_ms > 0:
            self._blocks.setdefault((metric, name), TimeBlocks()).add(due_s, (round(took_us / idle_ms),))

    @property
    def classes(self) -> list[str]:
        """The traffic classes that something was counted of, in alphabetical order."""
        return sorted({name for _, name in self._blocks})

    def time_blocks(self, metric: str, traffic_class: str | None) -> TimeBlocks:
        """Slowdowns in thousandths by block of time; None: of all classes. Nothing in it where there are none."""
        return merged(
            blocks
            for (of_metric, name), blocks in self._blocks.items()
            if of_metric == metric and traffic_class in (None, name)
        )

    def spent(self, traffic_class: str | None, slowest: float = 1.0) -> TimeSpent:
        """What requests of a class, or of all, spent their time on; `slowest`: only this share of them, by e2e."""
        buckets: dict[int, TimeSpent] = {}
        for name, of_class in self._spent.items():
            for bucket, spent in of_class.items() if traffic_class in (None, name) else ():
                buckets.setdefault(bucket, TimeSpent()).add(spent)
        wanted = slowest * sum(spent.requests for spent in buckets.values())
        total = TimeSpent()
        for _, spent in sorted(buckets.items(), reverse=True):
            total.add(spent, min(1.0, (wanted - total.requests) / spent.requests))
            if total.requests >= wanted:
                break
        return total

    def merge(self, other: Slowdowns) -> None:
        """Add what another process, or another round, counted."""
        for key, blocks in other._blocks.items():
            self._blocks.setdefault(key, TimeBlocks()).merge(blocks)
        for name, of_class in other._spent.items():
            mine = self._spent.setdefault(name, {})
            for bucket, spent in of_class.items():
                mine.setdefault(bucket, TimeSpent()).add(spent)

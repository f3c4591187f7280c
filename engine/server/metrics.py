"""What `/metrics` shows: the server's own view, for Prometheus. It explains; the verdict is the client's view."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ..loop.messages import Ready
from ..loop.stats import EngineStats
from ..request import FinishReason
from .generation import TextDelta

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, float("inf"))


class RequestObservation:
    """Times one request as the server sees it."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics
        self._started_s = self._last_s = time.perf_counter()
        self._has_token = False
        self.finish_reason: FinishReason | None = None

    def add(self, delta: TextDelta) -> None:
        """Count what its stream gained."""
        now_s = time.perf_counter()
        if delta.num_tokens:
            if self._has_token:
                for _ in range(delta.num_tokens):
                    self._metrics.inter_token.observe((now_s - self._last_s) / delta.num_tokens)
            else:
                self._metrics.first_token.observe(now_s - self._started_s)
            self._has_token = True
            self._last_s = now_s
            self._metrics.generation_tokens.inc(delta.num_tokens)
        self.finish_reason = delta.finish_reason

    def close(self, outcome: str) -> None:
        """The request is over."""
        self._metrics.requests.labels(outcome).inc()
        self._metrics.end_to_end.observe(time.perf_counter() - self._started_s)


class ServerMetrics:
    """Counters and histograms of the requests, and a live view of the engine's own statistics."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, ready: Ready, stats: Callable[[], EngineStats], is_alive: Callable[[], bool]) -> None:
        registry = self._registry = CollectorRegistry()
        registry.register(_EngineCollector(ready, stats, is_alive))

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"abatch_{name}_seconds", text, registry=registry, buckets=_LATENCY_BUCKETS_S)

        self.requests = Counter("abatch_requests", "Requests ended, by how.", ["outcome"], registry=registry)
        self.prompt_tokens = Counter("abatch_prompt_tokens", "Tokens of accepted prompts.", registry=registry)
        self.generation_tokens = Counter("abatch_generation_tokens", "Tokens generated.", registry=registry)
        self.first_token = histogram("time_to_first_token", "Acceptance to first token, inside the server.")
        self.inter_token = histogram("inter_token_latency", "Time between tokens of one stream, inside the server.")
        self.end_to_end = histogram("request_latency", "Acceptance to end, inside the server.")

    @contextmanager
    def request(self, num_prompt: int) -> Iterator[RequestObservation]:
        """Observe one request from acceptance to its end, whatever that is."""
        observation = RequestObservation(self)
        self.prompt_tokens.inc(num_prompt)
        outcome = "cancelled"
        try:
            yield observation
            outcome = observation.finish_reason or "cancelled"
        except Exception:
            outcome = "error"
            raise
        finally:
            # A consumer that has all it wants stops right behind the last delta: that is no cancellation.
            observation.close(observation.finish_reason or outcome)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    """The engine's latest statistics, read when Prometheus asks."""

    def __init__(self, ready: Ready, stats: Callable[[], EngineStats], is_alive: Callable[[], bool]) -> None:
        self._ready = ready
        self._stats = stats
        self._is_alive = is_alive

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        totals = stats.totals
        gauges = {
            "steps_ahead": ("Steps launched before an earlier one has ended.", self._ready.steps_ahead),
            "simulated": ("1 if no real device runs.", int(self._ready.simulated)),
            "engine_alive": ("1 while the engine process lives.", int(self._is_alive())),
            "requests_running": ("Requests in the running batch.", stats.num_running),
            "requests_waiting": ("Requests waiting to join.", stats.num_waiting),
            "kv_blocks": ("KV blocks in total.", self._ready.num_blocks),
            "kv_blocks_held": ("KV blocks held by requests and for parked sessions.", stats.num_blocks_held),
            "sessions_parked": ("Sessions between two requests.", stats.num_parked),
            "kv_blocks_pinned": ("KV blocks held for parked sessions.", stats.num_blocks_pinned),
            "host_kv_blocks": ("KV blocks of the host tier.", self._ready.num_host_blocks),
            "host_kv_blocks_held": ("Host KV blocks held for parked sessions.", stats.num_host_blocks_held),
            "kv_blocks_cached": ("KV blocks that can be found by prefix.", stats.num_blocks_cached),
        }
        counters: dict[str, tuple[str, float]] = {
            "steps": ("Steps the engine ran.", totals.num_steps),
            "host_seconds": ("Time the step loop spent planning, launching and committing.", totals.host_s),
            "device_busy_seconds": ("Time the device worked on a step.", totals.device_busy_s),
            "device_idle_seconds": ("Time it was idle although a request was waiting.", totals.device_idle_s),
            "prefill_tokens": ("Tokens computed for prompts and after preemption.", totals.num_prefill_tokens),
            "decode_tokens": ("Tokens computed one at a time.", totals.num_decode_tokens),
            "preemptions": ("Requests preempted because KV blocks ran out.", totals.num_preemptions),
            "prefix_cache_hit_tokens": ("Tokens the prefix cache saved computing.", stats.num_cached_tokens),
        }
        parking = totals.parking
        counters |= {
            "turns_parked": ("Turns that ended with their session parked.", parking.num_parked),
            "resumed_kept": ("Returns that found their context on the device.", parking.num_kept),
            "resumed_restored": ("Returns whose context came back from the host tier.", parking.num_restored),
            "resumed_recomputed": ("Returns whose context was computed again.", parking.num_recomputed),
            "pins_broken": ("Pins given up because a request needed the memory.", parking.num_broken),
            "sessions_prefetched": ("Sessions brought back before they returned.", parking.num_prefetched),
            "sessions_expired": ("Sessions that did not come back in time.", parking.num_expired),
            "parked_block_seconds": ("KV blocks times seconds held for parked sessions.", parking.parked_block_s),
            "recomputed_tokens": ("Tokens of parked contexts computed again.", parking.recomputed_tokens),
            "offloaded_bytes": ("Copied to the host tier.", parking.offloaded_bytes),
            "restored_bytes": ("Copied back from it.", parking.restored_bytes),
            "restore_wait_seconds": ("Time that returning turns waited for it.", parking.restore_wait_s),
        }
        about = {"device": self._ready.device, "dtype": self._ready.dtype, "batching": self._ready.batching}
        yield InfoMetricFamily("abatch_engine", "What the engine runs on, and how.", value=about)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"abatch_{name}", text, value=value)
        for name, (text, total) in counters.items():
            yield CounterMetricFamily(f"abatch_{name}", text, value=total)

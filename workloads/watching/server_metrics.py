"""The server's own metrics during a run: the few known series of a Prometheus page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import islice

import msgspec

from ..bounds import Amount, Count, Number
from ..http.limits import COUNT, METRICS_SERIES


class ServerSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One scrape of a server; None for what it does not report.

    Attributes:
        at_s: When it was asked, in seconds since the run began.
        took_s: How long it took to answer, or how long the client waited for an answer.
        unanswered: Whether it failed to answer in time, or hung up.
        unreadable: Whether it answered with nothing that is known, though it had before.
        left_out: Known series that say nothing: a value is no number from 0 to 2^53, or is there twice.
        kind: Which server it is: "vLLM", "SGLang", "TGI", "llama.cpp", "abatch".
        running: Requests in the batch. `waiting`: those in its queue.
        kv_used: Share of the KV memory in use.
        preemptions: Running total of requests preempted for lack of KV memory.
        prefix_hit_tokens: Running total of prompt tokens found in a cache, of `prefix_query_tokens`.
        gpu_power_w: Of all GPUs together, as is `gpu_memory_bytes`. `gpu_busy`: mean share of the time.
    """

    at_s: Number = 0.0
    took_s: Amount = 0.0
    unanswered: bool = False
    unreadable: bool = False
    left_out: tuple[str, ...] = ()
    kind: str | None = None
    running: Count | None = None
    waiting: Count | None = None
    kv_used: Amount | None = None
    preemptions: Count | None = None
    prefix_hit_tokens: Count | None = None
    prefix_query_tokens: Count | None = None
    gpu_power_w: Amount | None = None
    gpu_busy: Amount | None = None
    gpu_memory_bytes: Count | None = None

    @property
    def answered_s(self) -> float:
        """When the answer arrived."""
        return self.at_s + self.took_s


_Names = Mapping[str, tuple[str, ...]]
"""Names of series by field. The first one present counts; the others are its older names."""

KINDS: Mapping[str, _Names] = {
    # vllm/v1/metrics/loggers.py; the gpu_ names are of releases before 0.9.
    "vLLM": {
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "kv_used": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        "preemptions": ("vllm:num_preemptions_total",),
        "prefix_hit_tokens": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        "prefix_query_tokens": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    },
    # sglang/srt/metrics/collector.py. Neither num_retracted_reqs (a gauge, of the last batch alone) nor
    # cache_hit_rate (0 while it only decodes) adds up over a run: the totals do.
    "SGLang": {
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
        "kv_used": ("sglang:token_usage",),
        "preemptions": ("sglang:num_retracted_requests_total",),
        "prefix_hit_tokens": ("sglang:cached_tokens_total",),
        "prefix_query_tokens": ("sglang:prompt_tokens_total",),
    },
    # huggingface.co/docs/text-generation-inference/reference/metrics: nothing about KV memory.
    "TGI": {"running": ("tgi_batch_current_size",), "waiting": ("tgi_queue_size",)},
    # llama.cpp/tools/server, with --metrics; kv_cache_usage_ratio is of older builds.
    "llama.cpp": {
        "running": ("llamacpp:requests_processing",),
        "waiting": ("llamacpp:requests_deferred",),
        "kv_used": ("llamacpp:kv_cache_usage_ratio",),
    },
    # engine/server/metrics.py.
    "abatch": {
        "running": ("abatch_requests_running",),
        "waiting": ("abatch_requests_waiting",),
        "kv_held": ("abatch_kv_blocks_held",),
        "kv_blocks": ("abatch_kv_blocks",),
        "preemptions": ("abatch_preemptions_total",),
        "prefix_hit_tokens": ("abatch_prefix_cache_hit_tokens_total",),
        "prefix_query_tokens": ("abatch_prompt_tokens_total",),
    },
}
"""Series by kind of server. `transformers serve` is not among them: it has no page (5.23, cli/serving/server.py)."""

_SHARES = ("kv_used",)
"""Averaged over their label sets (engines, ranks). All others are counts and are summed."""
_LONGEST_NUMBER = 64
"""Characters: no server writes more, and the longest numbers take milliseconds to read."""

_ALL_NAMES = [name for names in KINDS.values() for of_one in names.values() for name in of_one]
# A page of vLLM has thousands of lines and is read between the arrivals of chunks, so the search is only for known
# names: 0.5 ms for 300 KB, where prometheus-client's parser (the server's dependency, not the client's) takes 50 ms.
# A literal newline, not ^, lets the search skip from line to line: a quarter of the time. Nothing backtracks (++, *+).
_SERIES = re.compile(
    rb"\n("
    + b"|".join(re.escape(name.encode()) for name in _ALL_NAMES)
    + rb')(\{[^"}\n]*+(?:"(?:[^"\\\n]++|\\.)*+"[^"}\n]*+)*+\})?+[ \t]++(\S++)'
)


def parse_server_metrics(page: bytes) -> ServerSample | None:
    """The metrics on a page in Prometheus' text format; None if it has none of a known server."""
    found: dict[str, dict[bytes, float]] = {}
    left_out: set[str] = set()
    for match in islice(_SERIES.finditer(b"\n" + page), METRICS_SERIES):
        name, labels, value = match[1].decode(), match[2] or b"", count(match[3])
        of_name = found.setdefault(name, {})
        if value is None or labels in of_name:
            left_out.add(name)
        else:
            of_name[labels] = value
    for kind, names in KINDS.items():
        of_kind = {name for of_one in names.values() for name in of_one}
        if of_kind & found.keys():
            values = _values(names, {name: [*found[name].values()] for name in found.keys() - left_out})
            return _sample(kind, values, tuple(sorted(of_kind & left_out)))
    return None


def count(text: bytes) -> float | None:
    """A number on a page of metrics; None if it is none that can be a count, a share or a time."""
    try:
        value = float(text) if len(text) <= _LONGEST_NUMBER else math.nan
    except ValueError:
        return None
    return value if 0 <= value <= COUNT else None  # neither NaN nor infinite, then


def _values(names: _Names, found: Mapping[str, list[float]]) -> dict[str, float]:
    values = {}
    for field, of_one in names.items():
        several = next((found[name] for name in of_one if name in found), None)
        if several is not None:
            values[field] = sum(several) / (len(several) if field in _SHARES else 1)
    return values


def _sample(kind: str, values: Mapping[str, float], left_out: tuple[str, ...]) -> ServerSample:
    def total(field: str) -> int | None:
        return round(min(values[field], COUNT)) if field in values else None

    kv_used = values.get("kv_used")
    if values.get("kv_blocks"):
        kv_used = values.get("kv_held", 0.0) / values["kv_blocks"]
    return ServerSample(
        kind=kind,
        left_out=left_out,
        running=total("running"),
        waiting=total("waiting"),
        kv_used=None if kv_used is None else round(min(kv_used, 1.0), 4),
        preemptions=total("preemptions"),
        prefix_hit_tokens=total("prefix_hit_tokens"),
        prefix_query_tokens=total("prefix_query_tokens"),
    )

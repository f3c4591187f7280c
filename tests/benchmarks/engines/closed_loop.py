"""Streams that each ask again as soon as they have their answer: a client that does as little as it can."""

from __future__ import annotations

import asyncio
import json
import math
import re
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from abatch.reports.statistics.percentile import rank_at
from tokenizers import Tokenizer

PROMPT_TOKENS, OUTPUT_TOKENS = 45, 64
_TEXT = re.compile(rb'"text":\s*"(?!")')
"""In an event of a completion: there is text in it."""
_USAGE = re.compile(rb'"completion_tokens":\s*(\d+)')
_COUNTER = re.compile(r"^abatch_(steps|host_seconds|device_busy_seconds)_total (\S+)$", re.MULTILINE)
_USAGE_BYTES = 2048
"""Usage is in the last event or the one before."""
_PATIENCE_S = 180.0
"""For every stream to have a first token."""


class Prompts:
    """Texts of words that are a token each, no two of which begin alike: no prefix of one is in a cache."""

    def __init__(self, model: Path, seed: str) -> None:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        texts = (tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size()))
        self._words = [text for text in texts if re.fullmatch(r" [a-z]{3,9}", text)]
        self._random = Random(seed)

    def next(self) -> str:
        """Another one, of `PROMPT_TOKENS` tokens or very nearly."""
        return "".join(self._random.choices(self._words, k=PROMPT_TOKENS)).lstrip()


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server.

    Attributes:
        url: Of its completions.
        fields: Of each request, beside prompt and length.
        num_streams: That ask at once.
        warmup_s: From when every stream has had a first token.
        window_s: What counts, after that.
        metrics_url: Of our server: its counters are looked at when the window begins and ends.
        is_together: All streams begin whole answers at once, and so end and begin at once ever after. Otherwise the
            first answers are of different lengths, which spreads the prompts evenly over the steps.
    """

    url: str
    fields: dict[str, Any]
    num_streams: int
    warmup_s: float
    window_s: float
    metrics_url: str | None
    is_together: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a window. NaN: nothing came of it.

    Attributes:
        tokens_per_s: By when they arrived, whole answers or not.
        ttft_p50_ms: Of answers whose first token came in the window; of gaps, those that ended in it.
        tokens_per_event: Of the answers that were whole, by the server's own count.
        answer_tokens: How long these were.
        client_share: Of one core, taken by this process.
        counters: By how much those of the server grew.
    """

    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    num_first: int
    num_gaps: int
    tokens_per_event: float
    answer_tokens: float
    client_share: float
    window_s: float
    counters: dict[str, float]


@dataclass(slots=True)
class _Arrivals:
    """What came, and when, on the clock of `time.perf_counter`."""

    first: list[tuple[float, float]] = field(default_factory=list)
    """When a first token came, and after how long."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """When a gap ended, and how long it was."""
    events: list[tuple[float, int]] = field(default_factory=list)
    """When events with text came, and how many."""
    whole: list[tuple[int, int]] = field(default_factory=list)
    """Of whole answers: events with text, and tokens by the server's count."""


async def measure(load: Load, prompts: Prompts) -> Measured:
    """Load the server, and count in the window. What is under way at its end is given up.

    Raises:
        RuntimeError: the server refused a request, ended an answer without saying how many tokens it has, or sent
            nothing in the window.
        TimeoutError: a stream has no first token after minutes.
    """
    arrivals = _Arrivals()
    begun = [asyncio.Event() for _ in range(load.num_streams)]
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        streams = [
            asyncio.create_task(_stream(load, http, prompts, arrivals, number, begun[number]))
            for number in range(load.num_streams)
        ]
        window = asyncio.create_task(_window(load, http, begun))
        try:
            await asyncio.wait([*streams, window], return_when=asyncio.FIRST_COMPLETED)
            for stream in streams:
                if stream.done():
                    stream.result()  # it never ends but by what went wrong
            found = await window
        finally:
            for task in (*streams, window):
                task.cancel()
            await asyncio.gather(*streams, window, return_exceptions=True)
    return _measured(arrivals, found)


@dataclass(frozen=True, slots=True)
class _Edge:
    """Of the window: when it was, what this process had taken until then, and the server's counters."""

    at_s: float
    cpu_s: float
    counters: dict[str, float]


async def _window(load: Load, http: aiohttp.ClientSession, begun: Sequence[asyncio.Event]) -> tuple[_Edge, _Edge]:
    """Its two edges, once it is over."""
    async with asyncio.timeout(_PATIENCE_S):
        for event in begun:
            await event.wait()
    await asyncio.sleep(load.warmup_s)
    start = await _edge(load, http)
    await asyncio.sleep(load.window_s)
    return start, await _edge(load, http)


async def _edge(load: Load, http: aiohttp.ClientSession) -> _Edge:
    counters: dict[str, float] = {}
    if load.metrics_url is not None:
        async with http.get(load.metrics_url) as response:
            counters = {name: float(value) for name, value in _COUNTER.findall(await response.text())}
    used = resource.getrusage(resource.RUSAGE_SELF)
    return _Edge(time.perf_counter(), used.ru_utime + used.ru_stime, counters)


async def _stream(
    load: Load, http: aiohttp.ClientSession, prompts: Prompts, arrivals: _Arrivals, number: int, begun: asyncio.Event
) -> None:
    num_tokens = OUTPUT_TOKENS
    if not load.is_together:
        num_tokens = max(2, OUTPUT_TOKENS * (number + 1) // load.num_streams)
    while True:
        fields = {**load.fields, "prompt": prompts.next(), "max_tokens": num_tokens, "stream": True}
        await _answer(load.url, http, json.dumps(fields).encode(), arrivals, begun)
        num_tokens = OUTPUT_TOKENS


async def _answer(
    url: str, http: aiohttp.ClientSession, body: bytes, arrivals: _Arrivals, begun: asyncio.Event
) -> None:
    """One request: note when its events came."""
    sent_s = time.perf_counter()
    last_s: float | None = None
    num_events = 0
    rest, end = b"", b""
    async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
        if response.status != 200:
            raise RuntimeError(f"{url} answers {response.status}: {(await response.text())[:500]}")
        async for data in response.content.iter_any():
            now_s = time.perf_counter()
            end = (end + data)[-_USAGE_BYTES:]
            whole, _, rest = (rest + data).rpartition(b"\n\n")
            if not (num_new := len(_TEXT.findall(whole))):
                continue
            if last_s is None:
                arrivals.first.append((now_s, now_s - sent_s))
                begun.set()
            else:
                arrivals.gaps.append((now_s, now_s - last_s))
            arrivals.events.append((now_s, num_new))
            num_events, last_s = num_events + num_new, now_s
    if (usage := _USAGE.search(end)) is None or not num_events:
        raise RuntimeError(f"an answer ended without text or usage: {end[-500:].decode(errors='replace')}")
    arrivals.whole.append((num_events, int(usage[1])))


def _measured(arrivals: _Arrivals, window: tuple[_Edge, _Edge]) -> Measured:
    start, end = window
    start_s, end_s = start.at_s, end.at_s

    def within(samples: list[tuple[float, float]]) -> list[float]:
        return sorted(value for at_s, value in samples if start_s <= at_s < end_s)

    num_events = sum(count for at_s, count in arrivals.events if start_s <= at_s < end_s)
    tokens_per_event = sum(tokens for _, tokens in arrivals.whole) / max(1, sum(events for events, _ in arrivals.whole))
    first_s, gaps_s = within(arrivals.first), within(arrivals.gaps)
    if not gaps_s:
        raise RuntimeError(f"no token came within {end_s - start_s:.0f} s")
    return Measured(
        tokens_per_s=num_events * (tokens_per_event or 1.0) / (end_s - start_s),
        ttft_p50_ms=_percentile_ms(first_s, 50),
        ttft_p99_ms=_percentile_ms(first_s, 99),
        itl_p50_ms=_percentile_ms(gaps_s, 50),
        itl_p99_ms=_percentile_ms(gaps_s, 99),
        num_first=len(first_s),
        num_gaps=len(gaps_s),
        tokens_per_event=tokens_per_event or math.nan,
        answer_tokens=statistics.fmean(tokens for _, tokens in arrivals.whole) if arrivals.whole else math.nan,
        client_share=(end.cpu_s - start.cpu_s) / (end_s - start_s),
        window_s=end_s - start_s,
        counters={name: value - start.counters[name] for name, value in end.counters.items()},
    )


def _percentile_ms(ordered_s: list[float], percent: float) -> float:
    return ordered_s[rank_at(percent, len(ordered_s)) - 1] * 1e3 if ordered_s else math.nan

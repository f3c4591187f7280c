"""A few requests to the idle server before a run, one at a time: what the work alone takes."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...engine.protocol.conversation import ChatMessage
from ...reports.formatting import counted
from ...reports.recording.idle_model import AS_FAST_AS, IdleModel, ProbedRequest, fit_idle
from ...reports.statistics.percentile import rank_at, value_at_rank
from ...reports.traffic.sample import sample
from ...reports.traffic.summary import TrafficSummary
from ...workloads.targets.prompts import PromptSizer
from ...workloads.targets.target import BenchTarget, Call, Reply, Target
from ...workloads.watching.server_metrics import ServerSample
from ...workloads.watching.server_watch import ServerWatch
from .traffic import Traffic

_SESSIONS = 100
"""Sessions of the traffic whose sizes are looked at."""
_MOST_SIZES = 4
_SMALLEST = 16
"""Tokens of a prompt: fewer take no server less time."""
_SIZE_RATIO = 1.5
"""Sizes that differ by less are not worth a request each."""
_OUTPUT_TOKENS = 5
"""Of an answer: four gaps are enough to know one."""
_MORE_OUTPUT = 4
"""A factor on these where an answer came in one piece, because a server or a proxy holds tokens back."""
_LEAST_REQUESTS = 3
_SHARE_OF_RUN = 0.1
_USUAL_LIMIT_S = 5.0
_LONGEST_S = 30.0
"""However slow the server is, the probe ends here, and what has ended by then counts."""
_METRICS_PATIENCE_S = 2.5
_LOOK_AGAIN_S = 0.3
"""A server's metrics may still show the request that ended just now."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a traffic's requests, in tokens: prompts to probe in ascending order, and the longest prompt and answer."""

    prompts: Sequence[int]
    largest_prompt: int
    largest_output: int


def sizes_of(traffic: Traffic) -> Sizes | None:
    """Sizes from the smallest prompt to the largest; None if the traffic has no session.

    A server with a prefix cache computes only what is new in a prompt, one without computes the whole, so both count.
    """
    summary = TrafficSummary()
    workload = traffic.recipe.make().workload  # a trace counts the rows that are read of it
    for session in sample(workload, traffic.seed, _SESSIONS):
        summary.add(session)
    classes = summary.classes.values()
    computed: Counter[int] = Counter()
    for of_class in classes:
        for tokens, count in (*of_class.new.items(), *of_class.prompt.items()):
            computed[max(tokens, _SMALLEST)] += count
    if not computed:
        return None
    ordered = sorted(computed.items())
    quantiles = {value_at_rank(ordered, rank_at(percentile, computed.total())) for percentile in (0, 50, 90, 100)}
    return Sizes(_spread(quantiles), max(computed), max(of_class.output.largest for of_class in classes))


def _spread(tokens: set[int]) -> list[int]:
    """Sizes that differ; where fewer are left than there may be, the widest gaps are halved."""
    found: list[int] = []
    for size in sorted(tokens, reverse=True):
        if not found or size * _SIZE_RATIO <= found[-1]:
            found.append(size)
    found.sort()
    while 1 < len(found) < _MOST_SIZES:
        ratio, place = max((found[place] / found[place - 1], place) for place in range(1, len(found)))
        if ratio < _SIZE_RATIO**2:
            break
        found.insert(place, round(math.sqrt(found[place] * found[place - 1])))
    return found


@dataclass(slots=True)
class IdleProbe:
    """Probes a server. Create, then `run` once.

    Attributes:
        num_requests: How many requests to send at most.
        limit_s: No request is begun that would end after this, once there are three.
        salt: Of the texts and names: what no cache may know has one that was never used before.
        problem: After `run`: why nothing is known, for people; empty where something is.
    """

    target: Target
    sizer: PromptSizer
    sizes: Sizes
    num_requests: int
    limit_s: float
    salt: str
    problem: str = ""
    _found: list[ProbedRequest] = field(default_factory=list)
    _took_s: dict[int, float] = field(default_factory=dict)
    """By size in tokens, the whole of the last answer."""

    async def run(self) -> IdleModel | None:
        """Send, each size once, then again. Failures are told in `problem`, never raised."""
        output_tokens = max(1, min(_OUTPUT_TOKENS, self.sizes.largest_output))
        begun_s = asyncio.get_running_loop().time()
        left = [*self.sizes.prompts]
        try:
            async with asyncio.timeout(_LONGEST_S):
                for number in range(self.num_requests):
                    if not left:
                        break
                    wanted = left[number % len(left)]
                    left_s = begun_s + self.limit_s - asyncio.get_running_loop().time()
                    size = self._affordable(wanted, left[0], left_s)
                    if size is None:
                        continue
                    reply = await self._send(size, output_tokens)
                    if reply.error is not None:
                        left.remove(wanted)  # it may be more than the server takes
                    elif not reply.gaps_us and output_tokens > 1:
                        output_tokens = min(output_tokens * _MORE_OUTPUT, self.sizes.largest_output)
        except TimeoutError:
            self.problem = f"no answer to the idle probe came within {_LONGEST_S:g} s"
        if self._found:
            self.problem = ""
        return fit_idle(self._found, largest_prompt=self.sizes.largest_prompt)

    def _affordable(self, wanted: int, smallest: int, left_s: float) -> int | None:
        """The size if there is time for it, else one that takes about half of the time and says more than is known.

        If there is none, the smallest one for the first few requests.
        """
        if not self._took_s:
            return smallest
        known = max(size for size in self._took_s if size <= wanted or size == min(self._took_s))
        per_token_s = self._took_s[known] / max(known, AS_FAST_AS)
        if max(self._took_s[known], per_token_s * wanted) <= left_s:
            return wanted
        smaller = int(left_s / 2 / per_token_s)
        if smaller > 2 * max(AS_FAST_AS, *self._took_s):
            return smaller
        return smallest if len(self._found) < _LEAST_REQUESTS else None

    async def _send(self, size: int, output_tokens: int) -> Reply:
        name = f"idle-probe/{self.salt}/{len(self._found)}"
        text = self.sizer.text(Random(name), size - self.sizer.overhead_tokens)
        call = Call([ChatMessage(role="user", content=text)], output_tokens, name, ends_session=True)
        reply, clock = Reply(), asyncio.get_running_loop().time
        begun_s = clock()
        await self.target.send(call, reply)
        if reply.error is None and reply.first_s is None:
            reply.fail("empty", "no token came")
        if reply.error is not None or reply.first_s is None or reply.last_s is None:
            self.problem = self.problem or (
                f"the idle probe failed at {size} prompt tokens ({reply.error}: {reply.error_message}), so slowdowns "
                "are over the run's own fastest requests"
            )
            return reply
        self._took_s[size] = clock() - begun_s
        num_more = (reply.output_tokens or len(reply.gaps_us) + 1) - 1
        self._found.append(
            ProbedRequest(
                prompt_tokens=max(1, (reply.prompt_tokens or size) - (reply.cached_tokens or 0)),
                ttft_ms=max((reply.first_s - begun_s) * 1e3, 1e-3),
                itl_ms=(reply.last_s - reply.first_s) * 1e3 / num_more if reply.gaps_us and num_more else None,
            )
        )
        return reply


def time_limit_s(duration_s: float | None) -> float:
    """How long a probe should take before a run of this length."""
    return _USUAL_LIMIT_S if duration_s is None else min(_USUAL_LIMIT_S, _SHARE_OF_RUN * duration_s)


async def idle_model(
    target: BenchTarget,
    sizer: PromptSizer,
    traffic: Traffic,
    num_requests: int,
    metrics_url: str | None = None,
    *,
    is_virtual: bool = False,
    asks_server: bool = True,
) -> tuple[IdleModel | None, str]:
    """What requests of the traffic's sizes take on the idle server; None with the reason, a note for people.

    Args:
        target: The server, before anything is sent to it.
        sizer: How it counts tokens.
        traffic: What will be sent.
        num_requests: How many requests to send at most; 0: none.
        metrics_url: Of the server's metrics, if they are not at the target's own /metrics.
        is_virtual: It has no cache that outlives the run, and is to do the same each time.
        asks_server: Look there whether it is idle.
    """
    if num_requests == 0:
        return None, ""
    sizes = sizes_of(traffic)
    if sizes is None:
        return None, ""
    if asks_server and not is_virtual and (num_busy := await busy_with(target, metrics_url)):
        return None, (
            f"no idle probe: the server had {counted(num_busy, 'request')} before the run began, so slowdowns are over "
            "the run's own fastest requests"
        )
    salt = "" if is_virtual else uuid.uuid4().hex
    probe = IdleProbe(target, sizer, sizes, num_requests, time_limit_s(traffic.limits.duration_s), salt)
    return await probe.run(), probe.problem


async def busy_with(target: BenchTarget, metrics_url: str | None) -> int:
    """Requests that the server says it is busy with, though we sent none; 0 where it says nothing."""
    num_busy = await _num_busy(target, metrics_url)
    if num_busy:
        await asyncio.sleep(_LOOK_AGAIN_S)
        num_busy = await _num_busy(target, metrics_url)
    return num_busy


async def _num_busy(target: BenchTarget, metrics_url: str | None) -> int:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[ServerSample] = loop.create_future()

    def note(sample: ServerSample) -> None:
        if not first.done():
            first.set_result(sample)

    watching = asyncio.create_task(target.watch_server(ServerWatch(note, url=metrics_url), loop.time()))
    either: set[asyncio.Future[Any]] = {watching, first}
    await asyncio.wait(either, timeout=_METRICS_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return (first.result().running or 0) + (first.result().waiting or 0) if first.done() else 0

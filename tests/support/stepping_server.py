"""A target in virtual time: replicas that make a token for each running stream in every step, with faults to order."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from abatch.workloads.targets.target import Call, Reply

_READ_S = 2e-4
"""Between chunks that arrive together, each in a read of its own."""


def _steady(_: float) -> float:
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a server is like. Times in seconds, at virtual times since the run began.

    Attributes:
        step_s: One token for every running stream; prompts make a step longer.
        jitter: Standard deviation of the logarithm of a step's length.
        prefill_tokens_per_s: Of prompts that no cache has.
        chunk_tokens: Most prompt tokens of a step.
        slots: Most streams at once, by replica.
        replicas: Factor on the steps of each. Requests go round.
        pace: Factor on steps that begin then.
        freezes: (start, length): nothing is done.
        is_static: The next batch begins when the last has ended.
        pause_every: One in so many requests pauses alone for `pause_s` in the middle of its answer.
        held_every: One in so many chunks is held up on its way for up to `held_s`, and those behind it, too.
        burst: This many chunks are held back and delivered together.
        tokens_per_s: All streams together get no more tokens than this.
        cache_tokens: Contexts of sessions that are kept, the latest; `cache_s`: for how long.
        kv_tokens: With more than this in running contexts, the last to join is evicted and computed again.
        connect_every: One in so many requests needs a new connection, which takes about `connect_s`.
        refuse_above: More requests in flight are tried again after `retry_s`, twice as long each time, and refused with
            status 429 after three tries; at once if it is 0.
    """

    step_s: float = 0.01
    jitter: float = 0.05
    prefill_tokens_per_s: float = 60_000.0
    chunk_tokens: float = math.inf
    slots: int = 10_000
    replicas: tuple[float, ...] = (1.0,)
    pace: Callable[[float], float] = _steady
    freezes: tuple[tuple[float, float], ...] = ()
    is_static: bool = False
    pause_every: int = 0
    pause_s: float = 0.0
    held_every: int = 0
    held_s: float = 0.0
    burst: int = 1
    tokens_per_s: float = math.inf
    cache_tokens: float = math.inf
    cache_s: float = math.inf
    kv_tokens: float = math.inf
    connect_every: int = 0
    connect_s: float = 0.0
    refuse_above: float = math.inf
    retry_s: float = 0.5
    seed: int = 0


@dataclass(slots=True, eq=False)
class _Stream:
    """A request on a replica."""

    reply: Reply
    ended: asyncio.Future[None]
    prompt_tokens: int
    max_tokens: int
    to_compute: float
    pause_at: int = -1
    made: int = 0
    paused_until_s: float = 0.0
    read_s: float = 0.0
    held: list[float] = field(default_factory=list)

    @property
    def context_tokens(self) -> int:
        """What it holds in memory."""
        return self.prompt_tokens + self.made


class SteppingServer:
    """See `Target`. Its clock's zero is the event loop's."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._random = Random(f"machine/{machine.seed}")
        self._replicas = [_Replica(self, factor) for factor in machine.replicas]
        self._num_requests = 0
        self._num_in_flight = 0
        self._contexts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """By session: tokens, and when they were last used."""
        self._tokens, self._refilled_s = 0.0, 0.0

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        machine, loop = self._machine, asyncio.get_running_loop()
        number, self._num_requests = self._num_requests, self._num_requests + 1
        reply.sent_s = loop.time()
        if machine.connect_every and number % machine.connect_every == 0:
            connect_s = machine.connect_s * self._random.uniform(0.7, 1.3)
            await asyncio.sleep(connect_s)
            reply.connect_s = loop.time() - reply.sent_s
        for attempt in range(4):
            if self._num_in_flight < machine.refuse_above:
                break
            if attempt == 3 or not machine.retry_s:
                return reply.fail("http_429", "too many requests")
            await asyncio.sleep(machine.retry_s * 2**attempt)
        self._num_in_flight += 1
        try:
            await self._serve(number, call, reply)
        finally:
            self._num_in_flight -= 1
        return None

    async def _serve(self, number: int, call: Call, reply: Reply) -> None:
        machine, loop = self._machine, asyncio.get_running_loop()
        prompt_tokens = sum(len(str(message.content).split()) for message in call.messages)
        cached = self._cached(call.session_id, loop.time())
        stream = _Stream(reply, loop.create_future(), prompt_tokens, call.max_tokens, max(1, prompt_tokens - cached))
        if machine.pause_every and number % machine.pause_every == machine.pause_every - 1:
            stream.pause_at = call.max_tokens // 2
        self._replicas[number % len(self._replicas)].submit(stream)
        await stream.ended
        reply.finish_reason, reply.output_tokens = "length", call.max_tokens
        reply.prompt_tokens, reply.cached_tokens = prompt_tokens, prompt_tokens - max(1, prompt_tokens - cached)
        reply.text.append(" ".join(["t"] * call.max_tokens))
        self._keep(call, prompt_tokens + call.max_tokens, loop.time())

    def _cached(self, session_id: str, now_s: float) -> int:
        tokens, used_s = self._contexts.pop(session_id, (0, now_s))
        return tokens if now_s - used_s <= self._machine.cache_s else 0

    def _keep(self, call: Call, tokens: int, now_s: float) -> None:
        if call.ends_session:
            return
        self._contexts[call.session_id] = tokens, now_s
        held = sum(tokens for tokens, _ in self._contexts.values())
        while held > self._machine.cache_tokens:
            _, (tokens, _) = self._contexts.popitem(last=False)
            held -= tokens

    def step_s(self, now_s: float, factor: float, prompt_tokens: float) -> float:
        """How long a step takes that begins now."""
        machine = self._machine
        length_s = machine.step_s * self._random.lognormvariate(0, machine.jitter)
        length_s = (length_s + prompt_tokens / machine.prefill_tokens_per_s) * factor * machine.pace(now_s)
        for start_s, frozen_s in machine.freezes:
            if now_s < start_s + frozen_s and now_s + length_s > start_s:
                length_s += start_s + frozen_s - max(start_s, now_s)
        return length_s

    def may_send(self, now_s: float) -> bool:
        """Whether there is a token to spend, which it does."""
        rate = self._machine.tokens_per_s
        if rate == math.inf:
            return True
        self._tokens = min(rate, self._tokens + (now_s - self._refilled_s) * rate)
        self._refilled_s = now_s
        has_one = self._tokens >= 1
        self._tokens -= has_one
        return has_one

    def deliver(self, stream: _Stream, now_s: float) -> None:
        """A token on its way to the client, in order and perhaps late."""
        machine = self._machine
        stream.held.append(now_s)
        is_last = stream.made == stream.max_tokens
        if len(stream.held) < machine.burst and not is_last:
            return
        for _ in stream.held:
            at_s = now_s
            if machine.held_every and self._random.random() < 1 / machine.held_every:
                at_s += machine.held_s * self._random.uniform(0.3, 1.0)
            stream.read_s = max(at_s, stream.read_s + _READ_S)
            stream.reply.saw_content(stream.read_s)
        stream.held.clear()
        if is_last:
            stream.reply.finished_s = stream.read_s
            asyncio.get_running_loop().call_at(stream.read_s, stream.ended.set_result, None)


class _Replica:
    """Waiting and running streams, and the step that is under way."""

    def __init__(self, server: SteppingServer, factor: float) -> None:
        self._server, self._factor = server, factor
        self._machine = server._machine
        self._waiting: deque[_Stream] = deque()
        self._running: list[_Stream] = []
        self._is_stepping = False

    def submit(self, stream: _Stream) -> None:
        """Queue a stream."""
        self._waiting.append(stream)
        if not self._is_stepping:
            self._is_stepping = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        loop, machine = asyncio.get_running_loop(), self._machine
        if not machine.is_static or not self._running:
            while self._waiting and len(self._running) < machine.slots:
                self._running.append(self._waiting.popleft())
        self._evict()
        if not self._running:
            self._is_stepping = False
            return
        budget = machine.chunk_tokens
        computed = 0.0
        for stream in self._running:
            part = min(stream.to_compute, budget - computed)
            stream.to_compute -= part
            computed += part
        length_s = self._server.step_s(loop.time(), self._factor, computed)
        loop.call_later(length_s, self._end)

    def _evict(self) -> None:
        """Take the last to join out of memory while there is too little of it; it is the next to come back."""
        while len(self._running) > 1 and sum(each.context_tokens for each in self._running) > self._machine.kv_tokens:
            evicted = self._running.pop()
            evicted.to_compute = evicted.context_tokens
            self._waiting.appendleft(evicted)

    def _end(self) -> None:
        now_s, machine = asyncio.get_running_loop().time(), self._machine
        for stream in self._server_order():
            if stream.to_compute > 0 or now_s < stream.paused_until_s:
                continue
            if not self._server.may_send(now_s):
                continue
            if stream.made == stream.pause_at and stream.paused_until_s == 0:
                stream.paused_until_s = now_s + machine.pause_s
                continue
            stream.made += 1
            self._server.deliver(stream, now_s)
        self._running = [stream for stream in self._running if stream.made < stream.max_tokens]
        self._begin()

    def _server_order(self) -> list[_Stream]:
        """The running streams; where tokens are rationed, those with the fewest first."""
        if self._machine.tokens_per_s == math.inf:
            return list(self._running)
        return sorted(self._running, key=lambda stream: stream.read_s)

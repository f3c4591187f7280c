"""Machines that answer: one that decodes a batch and stops for prompts, and one where every request is alone."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from .link import Delivery


@dataclass(slots=True, eq=False)
class Job:
    """A request at a machine. `extra_s`: what it alone takes besides before its first token."""

    delivery: Delivery
    prompt_tokens: int
    max_tokens: int
    to_compute: int
    extra_s: float = 0.0
    made: int = 0

    @property
    def context_tokens(self) -> int:
        return self.prompt_tokens + self.made

    @property
    def is_done(self) -> bool:
        return self.made >= self.max_tokens

    def emit(self) -> None:
        """The next token."""
        self.made += 1
        self.delivery.write(is_last=self.is_done)


class Worker(Protocol):
    """A machine of a site."""

    preemptions: int

    def submit(self, job: Job) -> None:
        """Take on a request."""

    def load(self) -> tuple[int, int, float]:
        """Requests that run, that wait, and the share of memory in use."""


def _level(_: float) -> float:
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A machine that makes a token for each of its streams in every pass, and computes new prompts before it goes on.

    Attributes:
        decode_s: Length of a pass; `streams_at_pace`: with more streams than this it is longer in proportion.
        jitter: Standard deviation of its logarithm.
        prompt_tokens_per_s: Of prompts; `prompts_together`: so many share a pass.
        slots: Most streams at once.
        memory_tokens: Of all running contexts; the last to join makes room, and is computed again.
        pace: Factor on passes that begin then.
        pauses: (start, length): nothing is done.
        compile_s: A pass takes so much longer when the number of streams first exceeds a power of two above 4.
    """

    decode_s: float = 0.012
    streams_at_pace: float = math.inf
    jitter: float = 0.06
    prompt_tokens_per_s: float = 50_000.0
    prompts_together: int = 8
    slots: int = 256
    memory_tokens: float = math.inf
    pace: Callable[[float], float] = _level
    pauses: tuple[tuple[float, float], ...] = ()
    compile_s: float = 0.0

    def start(self, random: Random) -> Worker:
        return _Batch(self, random)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A machine that gives every request the same share, as if it had it to itself.

    Attributes:
        first_s: Until the first token, besides the prompt; `spread`: standard deviation of its logarithm.
        token_s: Between tokens, and `context_token_s` more for each token of the context.
        whole: The answer is written when it is complete.
    """

    first_s: float = 0.04
    spread: float = 0.1
    token_s: float = 0.015
    token_spread: float = 0.08
    context_token_s: float = 0.0
    prompt_tokens_per_s: float = 50_000.0
    whole: bool = False

    def start(self, random: Random) -> Worker:
        return _Alone(self, random)


Rig = Batch | Alone


@dataclass(slots=True)
class _Alone(Worker):
    rig: Alone
    random: Random
    preemptions: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def submit(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(job))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def load(self) -> tuple[int, int, float]:
        return len(self.tasks), 0, 0.1

    async def _answer(self, job: Job) -> None:
        rig, vary = self.rig, self.random.lognormvariate
        await asyncio.sleep(rig.first_s * vary(0, rig.spread) + job.extra_s + job.to_compute / rig.prompt_tokens_per_s)
        token_s = rig.token_s + rig.context_token_s * job.context_tokens
        if rig.whole:
            await asyncio.sleep(token_s * (job.max_tokens - 1) * vary(0, rig.token_spread))
            job.made = job.max_tokens - 1
        job.emit()
        while not job.is_done:
            await asyncio.sleep(token_s * vary(0, rig.token_spread))
            job.emit()


class _Batch(Worker):
    def __init__(self, rig: Batch, random: Random) -> None:
        self.preemptions = 0
        self._rig, self._random = rig, random
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._has_work = asyncio.Event()
        self._largest = 4
        self._task: asyncio.Task[None] | None = None

    def submit(self, job: Job) -> None:
        self._waiting.append(job)
        self._has_work.set()
        self._task = self._task or asyncio.get_running_loop().create_task(self._work())

    def load(self) -> tuple[int, int, float]:
        used = sum(job.context_tokens for job in self._running)
        return len(self._running), len(self._waiting), min(1.0, used / self._rig.memory_tokens)

    async def _work(self) -> None:
        while True:
            if not self._running and not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
            self._admit()
            new = [job for job in self._running if job.to_compute or job.extra_s][: self._rig.prompts_together]
            await asyncio.sleep(self._pass_s(new))
            for job in new or self._running:
                job.to_compute, job.extra_s = 0, 0.0
                job.emit()
            self._running = [job for job in self._running if not job.is_done]

    def _admit(self) -> None:
        rig = self._rig
        while self._waiting and len(self._running) < rig.slots:
            used = sum(job.context_tokens for job in self._running)
            if self._running and used + self._waiting[0].context_tokens > rig.memory_tokens:
                break
            self._running.append(self._waiting.popleft())
        while len(self._running) > 1 and sum(job.context_tokens for job in self._running) > rig.memory_tokens:
            evicted = self._running.pop()
            evicted.to_compute = evicted.context_tokens
            self._waiting.appendleft(evicted)
            self.preemptions += 1

    def _pass_s(self, new: list[Job]) -> float:
        rig, now_s = self._rig, asyncio.get_running_loop().time()
        length_s = rig.decode_s * self._random.lognormvariate(0, rig.jitter)
        if new:
            length_s = 0.25 * length_s + sum(job.to_compute / rig.prompt_tokens_per_s + job.extra_s for job in new)
        else:
            length_s *= max(1.0, len(self._running) / rig.streams_at_pace)
        length_s *= rig.pace(now_s)
        if rig.compile_s and len(self._running) > self._largest:
            self._largest *= 2
            length_s += rig.compile_s
        for start_s, paused_s in rig.pauses:
            if now_s < start_s + paused_s and now_s + length_s > start_s:
                length_s += start_s + paused_s - max(start_s, now_s)
        return length_s

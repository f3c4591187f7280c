"""Replays a workload against a target: who sends what when, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from ..engine.errors import ConfigurationError
from ..engine.protocol import ChatMessage
from .arrivals import arrival_times
from .prompts import PromptSizer
from .result import Result
from .session import ClosedLoop, OpenLoop, Session, Stream, Turn, Workload
from .target import Call, Reply, Target

_CLOSED_LOOP_RAMP_S = 1.0
"""Closed-loop sessions start spread over this time: all at once would measure a burst no user makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """When a run begins to count, stops sending, and ends.

    Attributes:
        duration_s: No turn that is due later is sent. Includes the warm-up. None: until `num_sessions` have ended.
        num_sessions: Sessions started over all streams. None: no limit.
        warmup_s: Turns due before this are sent and recorded but do not count.
        drain_s: How long turns in flight at the end may take before they are cut off as lower bounds.
        max_in_flight: Requests at once; a turn that waits for its place is late, and counted as such.
    """

    duration_s: float | None = 60.0
    num_sessions: int | None = None
    warmup_s: float = 0.0
    drain_s: float = 30.0
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        if self.duration_s is None and self.num_sessions is None:
            raise ConfigurationError("give --duration or --num-sessions, or the run would never end")
        for name, value in (("--duration", self.duration_s), ("--num-sessions", self.num_sessions)):
            if value is not None and value <= 0:
                raise ConfigurationError(f"{name} must be above 0, not {value:g}")
        if self.warmup_s < 0 or self.drain_s < 0:
            raise ConfigurationError("--warmup and --drain must not be negative")
        if self.duration_s is not None and self.warmup_s >= self.duration_s:
            raise ConfigurationError(
                f"--warmup {self.warmup_s:g} leaves nothing to measure of --duration {self.duration_s:g}"
            )
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise ConfigurationError(f"--max-in-flight must be at least 1, not {self.max_in_flight}")


@dataclass(slots=True)
class RunCounts:
    """How far a run has got; what a progress display shows."""

    live_sessions: int = 0
    in_flight: int = 0
    sessions_started: int = 0
    sessions_ended: int = 0
    turns_abandoned: int = 0
    """Turns never due, because their session had failed."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    sending_s: float
    """From the start to the last moment at which turns could be due."""
    total_s: float


class LoadGenerator:
    """One replay of a workload. Create, then `run` once."""

    def __init__(
        self,
        workload: Workload,
        target: Target,
        limits: RunLimits,
        *,
        seed: int,
        sizer: PromptSizer,
        on_result: Callable[[Result], None],
    ) -> None:
        self.counts = RunCounts()
        self._workload = workload
        self._target = target
        self._limits = limits
        self._seed = seed
        self._sizer = sizer
        self._on_result = on_result
        self._places = asyncio.Semaphore(limits.max_in_flight) if limits.max_in_flight else None
        self._sessions_left = (
            itertools.repeat(None) if limits.num_sessions is None else iter(range(limits.num_sessions))
        )
        self._prefixes: dict[tuple[str, int], str] = {}
        self._sessions: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._origin_s = 0.0
        self._bug: BaseException | None = None
        self._drain_s = limits.drain_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return asyncio.get_running_loop().time() - self._origin_s

    async def run(self) -> RunOutcome:
        """Replay until a limit is reached or `stop` is called, then drain. Every turn sent ends in a result.

        Failures of the target are results. Anything else that goes wrong in a session is a bug: it ends the run and
        is raised.
        """
        self._origin_s = asyncio.get_running_loop().time()
        starters = [asyncio.create_task(self._start_sessions(stream)) for stream in self._workload.streams]
        try:
            await self._until_over(starters)
            sending_s = self.elapsed_s
            if self._limits.duration_s is not None:
                sending_s = min(sending_s, self._limits.duration_s)
            self._stopping.set()
            await _cancel(starters)
            if self._sessions:
                await asyncio.wait(self._sessions, timeout=self._drain_s)
        finally:
            self._stopping.set()
            await _cancel([*starters, *self._sessions])
        if self._bug is not None:
            raise self._bug
        return RunOutcome(sending_s, self.elapsed_s)

    def stop(self) -> None:
        """End the run early: nothing more is sent, and what is in flight is cut off."""
        self._drain_s = 0.0
        self._stopping.set()

    async def _until_over(self, starters: list[asyncio.Task[None]]) -> None:
        """Until the duration is over, all sessions that may start have ended, or the run is stopped."""
        stop = asyncio.create_task(self._stopping.wait())
        all_sessions = asyncio.create_task(self._wait_for_sessions(starters))
        await asyncio.wait({stop, all_sessions}, timeout=self._limits.duration_s, return_when=asyncio.FIRST_COMPLETED)
        if all_sessions.done():
            all_sessions.result()  # an exception in there is a bug and must surface
        await _cancel([stop, all_sessions])

    async def _wait_for_sessions(self, starters: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*starters)
        while self._sessions:
            await asyncio.wait(self._sessions)

    async def _start_sessions(self, stream: Stream) -> None:
        match stream.pacing:
            case OpenLoop(rate, arrival):
                times = arrival_times(arrival, rate, Random(f"{self._seed}/{stream.name}/arrivals"))
                for index, due_s in enumerate(times):
                    if not await self._wait_until_due(due_s) or not self._take_session():
                        return
                    self._spawn(self._play(stream.session(self._seed, index), due_s))
            case ClosedLoop(concurrency):
                indices = itertools.count()
                slots = [
                    self._keep_busy(stream, indices, _CLOSED_LOOP_RAMP_S * slot / concurrency)
                    for slot in range(concurrency)
                ]
                await asyncio.gather(*slots)

    async def _keep_busy(self, stream: Stream, indices: itertools.count[int], first_due_s: float) -> None:
        """One slot of a closed loop: a session at a time, the next due the moment the last one ended."""
        due_s = first_due_s
        while await self._wait_until_due(due_s) and self._take_session():
            await asyncio.wait({self._spawn(self._play(stream.session(self._seed, next(indices)), due_s))})
            due_s = self.elapsed_s

    def _take_session(self) -> bool:
        return next(self._sessions_left, False) is not False

    def _spawn(self, playing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(playing)
        self._sessions.add(task)
        task.add_done_callback(self._session_ended)
        return task

    def _session_ended(self, task: asyncio.Task[None]) -> None:
        self._sessions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bug = self._bug or error
            self.stop()

    async def _play(self, session: Session, due_s: float) -> None:
        """A session's turns, one after the other, for as long as they succeed and fall into the run."""
        self.counts.sessions_started += 1
        self.counts.live_sessions += 1
        random = Random(f"{self._seed}/{session.session_id}/text")
        messages: list[ChatMessage] = []
        try:
            for index, turn in enumerate(session.turns):
                if not await self._wait_until_due(due_s):
                    return
                messages.append(ChatMessage(role="user", content=self._text(random, session, turn, index)))
                call = Call(messages, turn.output_tokens, session.session_id)
                result, text = await self._send(call, session, index, due_s)
                if result.error is not None or result.censored:
                    self.counts.turns_abandoned += len(session.turns) - index - 1
                    return
                messages.append(ChatMessage(role="assistant", content=text))
                if index + 1 < len(session.turns):
                    due_s = result.end_s + session.turns[index + 1].pause_s
        finally:
            self.counts.live_sessions -= 1
            self.counts.sessions_ended += 1

    async def _wait_until_due(self, due_s: float) -> bool:
        """Sleep until then; False if the run stops sending before, or right then."""
        if self._limits.duration_s is not None and due_s >= self._limits.duration_s:
            await self._stopping.wait()
        delay_s = due_s - self.elapsed_s
        if delay_s > 0 and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()
        return not self._stopping.is_set()

    async def _send(self, call: Call, session: Session, index: int, due_s: float) -> tuple[Result, str]:
        """One turn, to its result. Cut off at the end of the drain, it is a lower bound, or was dropped unsent."""
        reply = Reply()
        is_cut = False
        self.counts.in_flight += 1
        try:
            async with self._places or contextlib.nullcontext():
                if not (self._places and self._stopping.is_set()):
                    await self._target.send(call, reply)
        except asyncio.CancelledError:
            is_cut = True
            raise
        finally:
            self.counts.in_flight -= 1
            result = self._result(session, index, due_s, reply, is_cut=is_cut)
            self._on_result(result)
        return result, "".join(reply.text)

    def _result(self, session: Session, index: int, due_s: float, reply: Reply, *, is_cut: bool) -> Result:
        turn = session.turns[index]

        def since_origin(at_s: float | None) -> float | None:
            return None if at_s is None else round(at_s - self._origin_s, 6)

        has_ended = reply.error is None and not is_cut and reply.finished_s is not None

        return Result(
            session_id=session.session_id,
            turn_index=index,
            traffic_class=session.traffic_class,
            due_s=round(due_s, 6),
            sent_s=since_origin(reply.sent_s),
            first_s=since_origin(reply.first_s),
            end_s=since_origin(reply.finished_s if has_ended else None) or round(self.elapsed_s, 6),
            gaps_us=reply.gaps_us,
            pause=turn.pause,
            pause_s=turn.pause_s,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            max_tokens=turn.output_tokens,
            finish_reason=reply.finish_reason,
            error=reply.error,
            error_message=reply.error_message,
            censored=is_cut and reply.sent_s is not None,
            warmup=due_s < self._limits.warmup_s,
        )

    def _text(self, random: Random, session: Session, turn: Turn, index: int) -> str:
        """What the turn adds, behind the shared prefix if it is the first."""
        text = self._sizer.text(random, turn.new_tokens, is_first=index == 0)
        if index or session.prefix is None:
            return text
        key = (session.prefix.name, session.prefix.tokens)
        if key not in self._prefixes:
            prefix_random = Random(f"{self._seed}/prefix/{session.prefix.name}")
            self._prefixes[key] = self._sizer.text(prefix_random, session.prefix.tokens, is_first=True)
        return f"{self._prefixes[key]}\n\n{text}"


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone; a bug that one of them died of surfaces here."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome

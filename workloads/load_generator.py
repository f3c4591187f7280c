"""Replays a workload against a target: sends each turn when it is due and records the result."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from .conversation import Conversation, PromptWriter
from .places import Places
from .result import Result
from .run_limits import RunLimits
from .session import Session, Turn
from .share import WHOLE, Share, Slots, parts
from .targets.prompts import PromptSizer
from .targets.target import Call, Reply, Target
from .turn_result import turn_result
from .workload import Workload

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.1, 1.0


@dataclass(slots=True)
class RunCounts:
    """How far a run has got, for a progress display."""

    live_sessions: int = 0
    """Sub-agents, too."""
    in_flight: int = 0
    sessions_started: int = 0
    sessions_ended: int = 0
    sessions_dropped: int = 0
    """That were due and never began."""
    turns_succeeded: int = 0
    turns_failed: int = 0
    turns_abandoned: int = 0
    """Turns that never became due because their session failed."""

    @classmethod
    def total(cls, parts: Iterable[RunCounts]) -> RunCounts:
        """The sum over several processes."""
        parts = list(parts)
        return cls(**{count.name: sum(getattr(part, count.name) for part in parts) for count in fields(cls)})


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    sending_s: float
    """From the start of the run to the last moment at which a turn could be due."""
    total_s: float


class LoadGenerator:
    """One replay of a workload, or of a process's share of it. Create, then `run` once."""

    def __init__(
        self,
        workload: Workload,
        target: Target,
        limits: RunLimits,
        *,
        seed: int,
        sizer: PromptSizer,
        on_result: Callable[[Result], None],
        share: Share = WHOLE,
        text_salt: str = "",
    ) -> None:
        self.counts = RunCounts()
        self._workload = workload
        self._target = target
        self._limits = limits
        self._seed = seed
        self._writer = PromptWriter(seed, sizer, text_salt)
        self._on_result = on_result
        self._share = share
        self._places = Places(None if limits.max_in_flight is None else share.part(limits.max_in_flight))
        self._sessions_left = (
            itertools.repeat(None)
            if limits.num_sessions is None
            else iter(range(share.num_sessions(workload, limits.num_sessions)))
        )
        self._requests_left = (
            math.inf if limits.num_requests is None else share.num_sessions(workload, limits.num_requests)
        )
        """Dealt as sessions are, so that no process has some that it has no session for."""
        self._sessions: dict[asyncio.Task[bool], None] = {}
        """The live ones. Not a set, because a repeatable run cuts them off in a fixed order."""
        self._nothing_more = asyncio.Event()
        """Set once nothing more is sent: the run is over, or all requests have been."""
        self._stopping = asyncio.Event()
        """Set once nothing more becomes due."""
        self._cutting = asyncio.Event()
        """Set once requests in flight are not waited for either."""
        self._sending_s = math.inf
        self._origin_s = 0.0
        self._bug: BaseException | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return asyncio.get_running_loop().time() - self._origin_s

    async def run(self, origin_s: float | None = None) -> RunOutcome:
        """Replay until a limit is reached or `stop` is called, then drain. Every turn that was due ends in a result.

        The run begins at `origin_s` on the event loop's clock, by default now.

        A failure of the target is a result. Any other error in a session is a bug: it ends the run and is raised.
        """
        now_s = asyncio.get_running_loop().time()
        self._origin_s = now_s if origin_s is None else origin_s
        await asyncio.sleep(self._origin_s - now_s)
        starters = [asyncio.create_task(starting) for starting in self._starting()]
        try:
            await self._first_of(self._limits.duration_s, self._stopping.wait(), self._until_all_ended(starters))
            self._end_sending()
            await self._first_of(self._limits.drain_s, self._cutting.wait(), self._until_all_ended(starters))
        finally:
            self._end_sending()
            await _cancel([*starters, *self._sessions])
        for starter in starters:
            if not starter.cancelled() and (error := starter.exception()) is not None:
                raise error
        if self._bug is not None:
            raise self._bug
        return RunOutcome(self._sending_s, self.elapsed_s)

    def stop(self) -> None:
        """End the run now, even while it drains: send nothing more and cut off requests in flight."""
        self._end_sending()
        self._cutting.set()

    def _end_sending(self) -> None:
        if self._sending_s == math.inf:
            self._sending_s = min(self.elapsed_s, self._limits.duration_s or math.inf)
        self._stopping.set()
        self._nothing_more.set()

    async def _first_of(self, timeout_s: float | None, *conditions: Coroutine[Any, Any, Any]) -> None:
        tasks = [asyncio.create_task(condition) for condition in conditions]
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(tasks)

    async def _until_all_ended(self, starters: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(starters, return_when=asyncio.FIRST_EXCEPTION)
        while self._sessions:
            await asyncio.wait(self._sessions)

    def _starting(self) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that start the sessions, stream by stream."""
        for part in parts(self._workload, self._seed, self._share, self._limits.num_sessions):
            yield self._keep_all_busy(part) if isinstance(part, Slots) else self._start_at(part.timed)

    async def _keep_all_busy(self, slots: Slots) -> None:
        await asyncio.gather(*(self._keep_busy(slots.sessions, start_s) for start_s in slots.starts_s))

    async def _start_at(self, timed: Iterator[tuple[float, Session]]) -> None:
        """Start sessions at given times, in order."""
        for due_s, session in timed:
            if not self._take_session():
                return
            # Write the text before the session is due: long prompts take milliseconds, which would count as latency.
            conversation = self._open(session)
            if await self._wait_until_due(due_s):
                self._spawn(self._play(session, conversation, due_s))
            elif due_s < self._sending_s:
                self.counts.sessions_dropped += 1
                self._drop(session, 0, due_s)
            else:
                return

    def _open(self, session: Session) -> Conversation:
        """A session's conversation, with its first question asked."""
        conversation = Conversation(session, self._writer)
        conversation.ask(session.turns[0])
        return conversation

    async def _keep_busy(self, sessions: Iterator[Session], due_s: float) -> None:
        """One slot of a closed loop: one session at a time, the next due as soon as the last one ended.

        After a failure the slot backs off, longer each time: retrying at once would bury a recovering server, and the
        results of the sessions that work.
        """
        backoff_s = 0.0
        while await self._wait_until_due(due_s) and self._take_session():
            session = next(sessions, None)
            if session is None:
                return
            playing = self._spawn(self._play(session, self._open(session), due_s))
            await asyncio.wait({playing})
            has_succeeded = not playing.cancelled() and playing.exception() is None and playing.result()
            backoff_s = 0.0 if has_succeeded else min(max(2 * backoff_s, _FIRST_BACKOFF_S), _LONGEST_BACKOFF_S)
            due_s = self.elapsed_s + backoff_s

    def _take_session(self) -> bool:
        return self._requests_left > 0 and next(self._sessions_left, False) is not False

    def _take_request(self) -> bool:
        """Whether one more may be sent; with the last of them, nobody waits for a later turn any more."""
        if not self._requests_left:
            return False
        self._requests_left -= 1
        if not self._requests_left:
            self._nothing_more.set()
        return True

    def _spawn(self, playing: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.create_task(playing)
        self._sessions[task] = None
        self.counts.sessions_started += 1
        task.add_done_callback(self._session_ended)
        return task

    def _session_ended(self, task: asyncio.Task[bool]) -> None:
        del self._sessions[task]
        self.counts.sessions_ended += 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bug = self._bug or error
            self.stop()

    async def _play(self, session: Session, conversation: Conversation, start_s: float) -> bool:
        """Play a session's turns in order until the run ends; False if one fails.

        The first turn has been asked already.
        """
        self.counts.live_sessions += 1
        due_s = ended_s = start_s
        try:
            for index, turn in enumerate(session.turns):
                if index:
                    conversation.ask(turn)  # before it is due, see _start_at
                if turn.children:
                    await self._play_children(turn.children, ended_s)
                due_s = _due_s(turn, due_s, ended_s, self.elapsed_s)
                if due_s > start_s and not await self._wait_until_due(due_s):
                    if due_s < self._sending_s:
                        self._drop(session, index, due_s)
                    return True
                if not self._take_request():
                    return True
                result, text = await self._send(conversation, session, index, due_s, due_s - ended_s)
                if result.error is not None or result.censored:
                    self.counts.turns_abandoned += replace(session, turns=session.turns[index + 1 :]).num_requests
                    return False
                conversation.answer(text)
                ended_s = result.end_s
            return True
        finally:
            self.counts.live_sessions -= 1

    async def _play_children(self, children: Iterable[Session], start_s: float) -> None:
        """Play sub-agents side by side. A failed one still counts as an answer, as a tool's error does."""
        async with asyncio.TaskGroup() as tasks:
            for child in children:
                tasks.create_task(self._play(child, self._open(child), start_s))

    async def _wait_until_due(self, due_s: float) -> bool:
        """Sleep until a turn is due; False if the run stops sending by then."""
        if self._limits.duration_s is not None and due_s >= self._limits.duration_s:
            await self._nothing_more.wait()
            return False
        delay_s = due_s - self.elapsed_s
        if delay_s <= 0:
            await asyncio.sleep(0)  # a generator that has fallen behind must still let other tasks run
        elif not self._nothing_more.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._nothing_more.wait()
        return not self._nothing_more.is_set()

    async def _send(
        self, conversation: Conversation, session: Session, index: int, due_s: float, pause_s: float
    ) -> tuple[Result, str]:
        """Send one turn and record its result. A turn cut off at the end of the drain is a lower bound, sent or not."""
        turn, rest = session.turns[index], session.turns[index + 1 :]
        call = Call(
            conversation.messages,
            turn.output_tokens,
            session.session_id,
            next_tool=rest[0].tool if rest else None,
            ends_session=not rest,
            model=session.model,
        )
        reply = Reply(least_prompt_tokens=conversation.least_tokens)
        is_cut = False
        self.counts.in_flight += 1
        try:
            async with self._places.one(reply):
                await self._target.send(call, reply)
        except asyncio.CancelledError:
            is_cut = True
            raise
        except Exception as error:
            reply.fail("internal", f"{type(error).__name__}: {error}")
            raise
        finally:
            self.counts.in_flight -= 1
            result = self._result(session, index, due_s, reply, pause_s, is_cut=is_cut)
            self.counts.turns_failed += result.error is not None
            self.counts.turns_succeeded += result.error is None and not result.censored
            self._on_result(result)
        return result, "".join(reply.text)

    def _drop(self, session: Session, index: int, due_s: float) -> None:
        """Record a turn that was due but could not be sent before the end, unless enough had been."""
        if self._requests_left:
            self._on_result(self._result(session, index, due_s, Reply(), session.turns[index].pause_s, is_cut=True))

    def _result(
        self, session: Session, index: int, due_s: float, reply: Reply, pause_s: float, *, is_cut: bool
    ) -> Result:
        return turn_result(
            session,
            index,
            reply,
            due_s=due_s,
            pause_s=pause_s,
            now_s=self.elapsed_s,
            origin_s=self._origin_s,
            shared_tokens=self._writer.shared_tokens(session) if index == 0 else None,
            is_cut=is_cut,
            is_warmup=due_s < self._limits.warmup_s,
        )


def _due_s(turn: Turn, previous_due_s: float, previous_end_s: float, now_s: float) -> float:
    """When a turn is due (see `Turn`). Its children have just ended."""
    due_s = max(previous_end_s + turn.pause_s, previous_due_s + turn.gap_s, now_s if turn.children else 0.0)
    return due_s if turn.tick_s is None else math.ceil(due_s / turn.tick_s) * turn.tick_s


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for them to end. A session's error is kept elsewhere and raised at the end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

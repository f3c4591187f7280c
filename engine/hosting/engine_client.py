"""The server's side of the engine process: starts it, talks to it, and survives its death."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator

from ..config import EngineConfig
from ..errors import ConfigurationError, EngineDeadError, RequestError
from ..loop.engine import TokenOutput
from ..loop.messages import (
    Cancel,
    EndSession,
    Failed,
    FromEngine,
    Outputs,
    Ping,
    Ready,
    Refused,
    SessionEnded,
    Start,
    Starting,
    Submit,
    Tell,
    ToEngine,
    Vocabulary,
    VocabularyLearnt,
    from_engine_decoder,
)
from ..loop.stats import EngineStats
from ..request import SamplingParams
from ..session import SessionUse
from .child_process import Child, frame, receive, start_child
from .pending import PendingRequests

_log = logging.getLogger("abatch.server")

_EXIT_GRACE_S = 5.0
_LAST_WORDS_S = 1.0
_MOST_OUTPUTS = 64
"""Taken together: a client that did not read for a minute has thousands waiting, and text takes 10 us each."""

_HEARTBEAT_S = 1.0
_MOST_UNANSWERED = 5
"""Heartbeats without a word from the engine. A process that has a processor to run on answers within milliseconds."""

_Event = TokenOutput | Exception


class EngineClient:
    """An engine in a child process. Make one with `start`.

    When the process dies, for whatever reason, every pending `generate` raises `EngineDeadError`, later ones raise it
    at once, and `is_alive` turns false. While it is stopped (SIGSTOP, a machine out of memory), `is_responding` is
    false. A long step or prefill is neither: whether the step loop makes progress, only its requests show.
    """

    def __init__(self, config: EngineConfig, child: Child, ready: Ready, *, heartbeat_s: float = _HEARTBEAT_S) -> None:
        self.ready = ready
        self.stats = EngineStats()
        self._child = child
        self._pending = PendingRequests(ready, max_queue=config.max_queue)
        self._events: dict[str, asyncio.Queue[_Event]] = {}
        """By the id of the pending request."""
        self._endings: dict[str, deque[asyncio.Future[bool]]] = {}
        self._learning: asyncio.Future[None] | None = None
        self._numbers = itertools.count()
        self._death: str | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._num_unanswered = 0
        """Heartbeats since the engine's last word."""
        self._watching = asyncio.create_task(self._watch(), name="engine-client")
        self._beating = asyncio.create_task(self._beat(heartbeat_s), name="engine-heartbeat")

    @classmethod
    async def start(cls, config: EngineConfig, *, heartbeat_s: float = _HEARTBEAT_S) -> EngineClient:
        """Start the engine process and wait until the model is loaded; then look every `heartbeat_s` if it runs.

        Raises:
            ConfigurationError: the configuration cannot work; the text says what to change.
            EngineDeadError: the process ended without a word (its traceback is on stderr).
        """
        child = await start_child("abatch.engine.hosting.engine_process")
        try:
            child.send(Start(config))
            while isinstance(first := await receive(child.reader, from_engine_decoder), Starting):
                _log.info("engine: %s", first.what)
        except BaseException:
            child.process.kill()
            await child.end(_EXIT_GRACE_S)
            raise
        if isinstance(first, Ready):
            return cls(config, child, first, heartbeat_s=heartbeat_s)
        child.writer.close()
        code = await child.process.wait()
        if isinstance(first, Failed):
            raise ConfigurationError(first.message)
        raise EngineDeadError(f"the engine process ended while starting (exit code {code}); see its output above")

    @property
    def is_alive(self) -> bool:
        """False once the engine process has ended."""
        return self._death is None

    @property
    def is_responding(self) -> bool:
        """False while the engine process gives no answer, as it does when it is stopped."""
        return self._num_unanswered <= _MOST_UNANSWERED

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._child.process.pid

    @property
    def num_pending(self) -> int:
        """Requests accepted and not ended."""
        return len(self._pending)

    async def generate(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        session: SessionUse | None = None,
    ) -> AsyncGenerator[list[TokenOutput]]:
        """Run a request; yields its tokens as they come, several at once when the reader was slower than the engine.

        Leaving the iteration early cancels the request.

        Args:
            prompt_ids: The prompt.
            sampling: How tokens are chosen.
            session: The session it is a turn of.

        Raises:
            ContextLengthError: it does not fit the context.
            QueueFullError: too many requests are pending.
            SessionBusyError: another request of the session is pending.
            EngineDeadError: the engine process ended before the request did.
        """
        request_id, events = self._submit(prompt_ids, sampling, session)
        has_ended = False
        try:
            while not has_ended:
                outputs = [_checked(await events.get())]
                while not events.empty() and outputs[-1].finish_reason is None and len(outputs) < _MOST_OUTPUTS:
                    event = events.get_nowait()
                    if isinstance(event, Exception):
                        yield outputs  # what came before the failure still counts
                        raise event
                    outputs.append(event)
                has_ended = outputs[-1].finish_reason is not None
                if has_ended:
                    self._pending.free_session(request_id)  # a client that has the last token may go on at once
                yield outputs
                if not (has_ended or events.empty()):
                    await asyncio.sleep(0)  # a reader that catches up lets other streams come in between
        finally:
            self._forget(request_id)
            if not has_ended:
                self._send(Cancel(request_id))

    def tell(self, session_id: str, *, tool: str | None = None, expected_pause_s: float | None = None) -> None:
        """Say what a parked session waits for. Nothing happens if the session is gone."""
        self._send(Tell(session_id, tool, expected_pause_s))

    async def learn_vocabulary(self, tokenizer: str, end_token_ids: list[int]) -> None:
        """Make the engine ready for grammars (see `Vocabulary`). It does nothing else meanwhile: half a second for each
        50,000 tokens.

        Raises:
            EngineDeadError: the engine process has ended.
        """
        if self._death is not None:
            raise EngineDeadError(self._death)
        self._learning = asyncio.get_running_loop().create_future()
        self._send(Vocabulary(tokenizer, end_token_ids))
        await self._learning

    async def end_session(self, session_id: str) -> bool:
        """Keep nothing for a session any more; False if there is none.

        Raises:
            EngineDeadError: the engine process has ended.
        """
        if self._death is not None:
            raise EngineDeadError(self._death)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._endings.setdefault(session_id, deque()).append(answer)
        self._send(EndSession(session_id))
        return await answer

    def check(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        session: SessionUse | None = None,
        *,
        num_requests: int = 1,
    ) -> None:
        """Raise what `generate` would raise for these requests now, before any output has been promised."""
        if self._death is not None:
            raise EngineDeadError(self._death)
        self._pending.check(len(prompt_ids), sampling, session, num_requests=num_requests)
        if max(prompt_ids) >= self.ready.vocab_size or min(prompt_ids) < 0:
            raise RequestError(
                f"the prompt has token ids outside the vocabulary of {self.ready.vocab_size}", param="prompt"
            )

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is pending; False if that took longer than `timeout_s`."""
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the engine process."""
        for task in (self._beating, self._watching):
            task.cancel()
        await asyncio.gather(self._beating, self._watching, return_exceptions=True)
        self._die("the server was stopped before the request was finished")
        await self._child.end(_EXIT_GRACE_S)

    def _submit(
        self, prompt_ids: list[int], sampling: SamplingParams, session: SessionUse | None
    ) -> tuple[str, asyncio.Queue[_Event]]:
        self.check(prompt_ids, sampling, session)
        request_id = str(next(self._numbers))
        message = frame(Submit(request_id, prompt_ids, sampling, session))  # first: it may fail
        self._pending.add(request_id, session)
        events = self._events[request_id] = asyncio.Queue()
        self._drained.clear()
        self._child.writer.write(message)
        return request_id, events

    def _forget(self, request_id: str) -> None:
        self._pending.remove(request_id)
        self._events.pop(request_id, None)
        if not self._events:
            self._drained.set()

    def _send(self, message: ToEngine) -> None:
        if self._death is None:
            self._child.send(message)

    async def _watch(self) -> None:
        """Read what the engine sends until its connection closes or its process ends."""
        reading, exited = asyncio.create_task(self._read()), asyncio.create_task(self._child.process.wait())
        try:
            await asyncio.wait({reading, exited}, return_when=asyncio.FIRST_COMPLETED)
            # Its last words may still be on the way, or its exit may follow them; neither is waited for long.
            await asyncio.wait({reading, exited}, timeout=_LAST_WORDS_S)
            code = exited.result() if exited.done() else None
            how = "its connection is closed" if code is None else f"exit code {code}"
            self._die(f"the engine process ended unexpectedly ({how})")
        finally:
            exited.cancel()
            reading.cancel()
        if reading.done() and not reading.cancelled() and (error := reading.exception()) is not None:
            raise error

    async def _read(self) -> None:
        while (message := await receive(self._child.reader, from_engine_decoder)) is not None:
            self._num_unanswered = 0
            self._dispatch(message)

    async def _beat(self, interval_s: float) -> None:
        """Count own heartbeats, not seconds: where this process did not run either, the engine is not to blame."""
        while self._death is None:
            if self._num_unanswered == 0:
                self._send(Ping())
            self._num_unanswered += 1
            await asyncio.sleep(interval_s)

    def _dispatch(self, message: FromEngine) -> None:
        match message:
            case Outputs(tokens, stats):
                self.stats = stats
                for output in tokens:
                    if (events := self._events.get(output.request_id)) is not None:
                        events.put_nowait(output)
            case Refused(request_id, text, param, status, code):
                if (events := self._events.get(request_id)) is not None:
                    events.put_nowait(RequestError(text, param=param, status=status, code=code))
            case VocabularyLearnt() if self._learning is not None and not self._learning.done():
                self._learning.set_result(None)
            case SessionEnded(session_id, is_found):
                answers = self._endings[session_id]
                if not (answer := answers.popleft()).done():
                    answer.set_result(is_found)
                if not answers:
                    del self._endings[session_id]

    def _die(self, reason: str) -> None:
        if self._death is None:
            self._death = reason
            self.stats = EngineStats(totals=self.stats.totals)
            for events in self._events.values():
                # One for each: an exception raised in a thousand tasks would collect a thousand tracebacks.
                events.put_nowait(EngineDeadError(reason))
            if self._learning is not None and not self._learning.done():
                self._learning.set_exception(EngineDeadError(reason))
            for answer in (answer for answers in self._endings.values() for answer in answers if not answer.done()):
                answer.set_exception(EngineDeadError(reason))


def _checked(event: _Event) -> TokenOutput:
    if isinstance(event, Exception):
        raise event
    return event

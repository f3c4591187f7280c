"""The built-in engine on a simulated device, in this process and in virtual time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import count

from ...engine.errors import ContextLengthError, QueueFullError, SessionBusyError
from ...engine.hosting.virtual_engine import VirtualEngine
from ...engine.loop.engine import TokenOutput
from ...engine.loop.stats import EngineStats
from ...engine.loop.step_account import EngineTotals
from ...engine.request import SamplingParams
from ...engine.session import SessionUse
from ..watching.server_metrics import ServerSample
from ..watching.server_watch import ServerWatch
from .prompts import PromptSizer
from .target import Call, Reply

_FIRST_WORD_ID = 1000
"""Ids of the words in prompts begin here, above the ids that a simulated model generates."""


class EngineTarget:
    """See `Target`. Every word is one token."""

    def __init__(
        self, engine: VirtualEngine, model: str, *, timeout_s: float = 600.0, tells_sessions: bool = True
    ) -> None:
        """`tells_sessions`: pass the session of each call and the tool it will wait for to the engine."""
        self._tells_sessions = tells_sessions
        self.model = model
        self._timeout_s = timeout_s
        self.takes_ignore_eos = True
        self.warnings: list[str] = []
        self._engine = engine
        ids = count(_FIRST_WORD_ID)
        self._id_of: defaultdict[str, int] = defaultdict(ids.__next__)
        self._word_of: dict[int, str] = {}
        self._num_prompt_tokens = 0
        """Over all accepted prompts."""

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        loop = asyncio.get_running_loop()
        reply.sent_s = loop.time()
        prompt_ids = self._prompt_ids(call)
        num_prompt = len(prompt_ids)
        said: list[int] = []
        ended: asyncio.Future[None] = loop.create_future()

        def on_output(output: TokenOutput, now_s: float) -> None:
            if output.token_id is not None:
                said.append(output.token_id)
                reply.saw_content(now_s)
            if output.finish_reason is not None:
                reply.cached_tokens = output.num_cached_tokens
                reply.finish_reason = output.finish_reason
                reply.finished_s = now_s
                if not ended.done():  # it is done when the call is cut off at this very moment
                    ended.set_result(None)

        sampling = SamplingParams(max_tokens=call.max_tokens, temperature=0.0)
        try:
            request_id = self._engine.submit(prompt_ids, sampling, on_output, self._session(call))
        except ContextLengthError as error:
            return reply.fail("context_length", str(error))
        except QueueFullError as error:
            return reply.fail("queue_full", str(error))
        except SessionBusyError as error:
            return reply.fail("session_busy", str(error))
        self._num_prompt_tokens += num_prompt
        try:
            async with asyncio.timeout(self._timeout_s):
                await ended
        except TimeoutError:
            return reply.fail("timeout", f"no complete answer within {self._timeout_s:g} s (--timeout)")
        finally:
            self._engine.cancel(request_id)
        reply.prompt_tokens, reply.output_tokens = num_prompt, len(said)
        reply.text.append(self._text(said))
        return None

    async def calibrate(self) -> PromptSizer:
        """Nothing to measure: a word is a token, and there is no chat template."""
        return PromptSizer(is_measured=True)

    async def engine_totals(self) -> EngineTotals:
        """See `Target.engine_totals`."""
        return self._engine.totals

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """See `BenchTarget.watch_server`. The engine reports its state as virtual time passes."""

        def note(stats: EngineStats, now_s: float) -> None:
            sample = ServerSample(
                at_s=round(now_s - origin_s, 4),
                kind="abatch",
                running=stats.num_running,
                waiting=stats.num_waiting,
                kv_used=round(stats.num_blocks_held / self._engine.ready.num_blocks, 4),
                preemptions=stats.totals.num_preemptions,
                prefix_hit_tokens=stats.num_cached_tokens,
                prefix_query_tokens=self._num_prompt_tokens,
            )
            watch.add(sample)

        self._engine.observe(note, origin_s, watch.interval_s)
        try:
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            self._engine.end_observation()

    def _session(self, call: Call) -> SessionUse | None:
        if not self._tells_sessions:
            return None
        return SessionUse(
            session_id=call.session_id,
            next_tool=call.next_tool,
            ends_session=call.ends_session,
        )

    def _prompt_ids(self, call: Call) -> list[int]:
        id_of = self._id_of
        return [id_of[word] for message in call.messages for word in str(message.content).split()]

    def _text(self, token_ids: list[int]) -> str:
        """The output as words that become the same tokens when the next turn repeats them."""
        for token_id in set(token_ids) - self._word_of.keys():
            word = self._word_of[token_id] = f"t{token_id}"
            self._id_of[word] = token_id
        return " ".join([self._word_of[token_id] for token_id in token_ids])

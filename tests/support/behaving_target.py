"""A target in this process that behaves as a null server would, on whatever clock the event loop has."""

from __future__ import annotations

import asyncio

from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.prefill import PrefillQueue, PrefixCache
from abatch.workloads.targets.target import Call, Reply


class BehavingTarget:
    """See `Target`. Its clock's zero is the event loop's, not the first request."""

    def __init__(self, behaviour: Behaviour, cache: PrefixCache | None = None) -> None:
        """`cache`: what it remembers of earlier prompts; None: nothing."""
        self._behaviour = behaviour
        self._queue = PrefillQueue(behaviour, cache)
        self._num_requests = 0

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        loop = asyncio.get_running_loop()
        reply.sent_s = loop.time()
        number, self._num_requests = self._num_requests, self._num_requests + 1
        words = [word for message in call.messages for word in str(message.content).split()]
        prefill = self._queue.admit(reply.sent_s, words)
        answer = self._behaviour.answer(number, reply.sent_s, len(words), call.max_tokens, prefill)
        assert answer.fault is None, "not made for faults"
        for at_s in answer.chunk_s:
            await asyncio.sleep(at_s - loop.time())
            reply.saw_content(loop.time())
        reply.finish_reason, reply.finished_s = answer.finish_reason, loop.time()
        reply.prompt_tokens, reply.cached_tokens = answer.prompt_tokens, prefill.cached_tokens
        reply.output_tokens = sum(answer.tokens)

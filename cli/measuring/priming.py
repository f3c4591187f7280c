"""Sending a run's texts once before it begins, so that it measures a server that knows them (--cache warm)."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from itertools import islice

from ...reports.summary.cache import Priming
from ...workloads.conversation import Conversation, PromptWriter
from ...workloads.session import Session
from ...workloads.share import WHOLE, Slots, parts
from ...workloads.targets.prompts import PromptSizer
from ...workloads.targets.target import Call, Reply, Target
from .traffic import Traffic

MOST_S = 60.0
MOST_SESSIONS = 1000
_AT_ONCE = 8


async def prime(traffic: Traffic, target: Target, sizer: PromptSizer) -> Priming:
    """Send the first prompt of each session, eight at a time, for one token of answer.

    What a session says later depends on the server's answers, so it cannot be known to the server beforehand. It ends
    after a minute or a thousand sessions: the sessions that start first are sent first.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    writer = PromptWriter(traffic.seed, sizer, traffic.text_salt)
    sessions = opening_sessions(traffic.recipe.make())  # a trace counts the rows that it reads
    chosen = islice(sessions, MOST_SESSIONS)
    answered = failed = 0

    async def send_in_turn() -> None:
        nonlocal answered, failed
        for session in chosen:
            conversation = Conversation(session, writer)
            conversation.ask(session.turns[0])
            reply = Reply()
            call = Call(
                conversation.messages, 1, f"priming/{session.session_id}", ends_session=True, model=session.model
            )
            await target.send(call, reply)
            answered += reply.finished_s is not None
            failed += reply.finished_s is None

    try:
        async with asyncio.timeout(MOST_S):
            await asyncio.gather(*(send_in_turn() for _ in range(_AT_ONCE)))
        is_whole = next(sessions, None) is None
    except TimeoutError:
        is_whole = False
    return Priming(sessions=answered, failed=failed, took_s=round(loop.time() - began_s, 3), is_whole=is_whole)


def opening_sessions(traffic: Traffic) -> Iterator[Session]:
    """The sessions that a run may start, in the order in which it does.

    In a closed loop a session starts when another ends: no earlier than after that one's pauses.
    """
    limits = traffic.limits
    streams = [
        _of_slots(part) if isinstance(part, Slots) else part.timed
        for part in parts(traffic.workload, traffic.seed, WHOLE, limits.most_sessions)
    ]
    for start_s, session in islice(heapq.merge(*streams, key=lambda item: item[0]), limits.most_sessions):
        if limits.duration_s is not None and start_s >= limits.duration_s:
            return
        yield session


def _of_slots(slots: Slots) -> Iterator[tuple[float, Session]]:
    free_s = [*slots.starts_s]
    heapq.heapify(free_s)
    for session in slots.sessions if free_s else ():
        yield free_s[0], session
        heapq.heapreplace(free_s, free_s[0] + sum(max(turn.pause_s, turn.gap_s) for turn in session.turns))

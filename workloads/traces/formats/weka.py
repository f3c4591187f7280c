"""Weka's traces of coding agents (kv-cache-tester): a whole session a line, with block hashes and sub-agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Union

import msgspec

from ....engine.integers import ceil_div
from ...session import BlockPrompt, Session, Turn
from ..parsing.block_chain import TRACE_SCOPE, BlockChain
from ..parsing.bounds import MOST_TOKENS, InputTokens, Milliseconds, Seconds
from ..parsing.format import TraceFormat, has_keys
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import UniqueIds
from ..parsing.trace_error import BadRow
from ..parsing.weka_pauses import RecordedCall, WekaPauses

_BlockTokens = Annotated[int, msgspec.Meta(ge=1, le=65536)]
# Zero is in the traces: requests that were answered with nothing.
_AnyOutput = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class _Request(msgspec.Struct, tag_field="type", tag="n"):
    t: Seconds
    num_input: InputTokens = msgspec.field(name="in")
    num_output: _AnyOutput = msgspec.field(name="out")
    hash_ids: list[int] = []
    input_types: list[str] = []
    stop: str | None = None
    api_time: Seconds | None = None
    think_time: Seconds | None = None


class _StreamedRequest(_Request, tag_field="type", tag="s"):
    """The same, but for how its answer was sent."""


class _SubAgent(msgspec.Struct, tag_field="type", tag="subagent"):
    t: Seconds
    agent_id: str
    requests: list[Union[_Request, _StreamedRequest, _SubAgent]]  # noqa: UP007 - msgspec resolves it at run time
    duration_ms: Milliseconds | None = None


class _Trace(msgspec.Struct):
    id: str
    block_size: _BlockTokens
    requests: list[Union[_Request, _StreamedRequest, _SubAgent]]  # noqa: UP007
    hash_id_scope: str = "local"


_Entry = _Request | _StreamedRequest | _SubAgent


class _AgentBuilder:
    """Makes the session of an agent, and those of its sub-agents."""

    def __init__(self, session_id: str, traffic_class: str, scope: str, block_tokens: int) -> None:
        self.children: list[Session] = []
        self._children_end_s: float | None = None
        self._session_id = session_id
        self._traffic_class = traffic_class
        self._scope = scope
        self._block_tokens = block_tokens
        self._blocks = BlockChain(scope, block_tokens)
        self._pauses = WekaPauses()
        self._num_tails = 0
        self._child_ids: set[str] = set()

    def session(self, entries: Sequence[_Entry]) -> Session | None:
        """The session; None if it sends nothing itself, its sub-agents then being in `children`.

        Sub-agents run before the request that follows them. Those that come after the last request run before that
        one: no other is left that could wait for them.
        """
        requests = [entry for entry in entries if not isinstance(entry, _SubAgent)]
        turns = []
        for entry in entries:
            if isinstance(entry, _SubAgent):
                self._add_child(entry)
            elif entry is not requests[-1]:
                turns.append(self._turn(entry))
        if not requests:
            return None
        return Session(self._session_id, self._traffic_class, (*turns, self._turn(requests[-1])))

    def _add_child(self, agent: _SubAgent) -> None:
        child_id = f"{self._session_id}/{'_'.join(agent.agent_id.split()) or 'agent'}"
        while child_id in self._child_ids:
            child_id += "~"
        self._child_ids.add(child_id)
        builder = _AgentBuilder(child_id, "sub-agent", self._scope, self._block_tokens)
        child = builder.session(agent.requests)
        self.children += builder.children if child is None else [child]
        self._children_end_s = max(self._children_end_s or 0.0, agent.t + _duration_s(agent))

    def _turn(self, request: _Request) -> Turn:
        call = RecordedCall(
            request.t,
            request.api_time,
            request.think_time,
            "tool_result" in request.input_types if request.input_types else None,
            request.stop == "tool_use",
        )
        children = tuple(self.children)
        pause, pause_s, gap_s = self._pauses.next(call, self._children_end_s if children else None)
        self.children, self._children_end_s = [], None
        prompt, new_tokens = self._prompt(request)
        return Turn(
            new_tokens,
            max(1, request.num_output),
            pause=pause,
            pause_s=pause_s,
            gap_s=gap_s,
            children=children,
            prompt=prompt,
        )

    def _prompt(self, request: _Request) -> tuple[BlockPrompt, int]:
        """The prompt, as long as recorded. Only whole blocks have ids: what is left over gets ids of its own, which
        count down from -1.
        """
        tokens = max(1, request.num_input)
        num_blocks = ceil_div(tokens, self._block_tokens)
        ids = request.hash_ids[:num_blocks]
        num_missing = num_blocks - len(ids)
        ids.extend(range(-self._num_tails - 1, -self._num_tails - 1 - num_missing, -1))
        self._num_tails += num_missing
        return self._blocks.prompt(ids, tokens)


def _duration_s(agent: _SubAgent) -> float:
    """How long a sub-agent ran; where nobody wrote that down, from its first request to the end of its last."""
    if agent.duration_ms is not None:
        return agent.duration_ms / 1000
    ends_s = [_end_s(entry) for entry in agent.requests]
    return max(ends_s, default=0.0) - min((entry.t for entry in agent.requests), default=0.0)


def _end_s(entry: _Entry) -> float:
    return entry.t + (_duration_s(entry) if isinstance(entry, _SubAgent) else entry.api_time or 0.0)


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Trace)
    ids = UniqueIds("weka")

    def parse(row: Row) -> Session:
        trace = decoder.decode(row.data)
        session_id = ids.take(trace.id, row.number)
        scope = session_id if trace.hash_id_scope == "local" else TRACE_SCOPE
        session = _AgentBuilder(session_id, "agent", scope, trace.block_size).session(trace.requests)
        if session is None:
            raise BadRow("requests", "expected at least one request by the agent itself")
        return session

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "Weka: JSONL of Claude Code sessions with block_size and requests with hash_ids",
    has_keys("id", "requests"),
    _sessions,
    has_timestamps=False,
)

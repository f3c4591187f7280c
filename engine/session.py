"""A session between two turns, and what its engine may do with its KV meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import msgspec


class Turn(Protocol):
    """What a session knows about the request that is its turn."""

    session: SessionUse | None


class ParkState(StrEnum):
    """Where a parked session's KV is held for it.

    RESIDENT: its blocks on the device are pinned. HOST: a copy in the host tier is. DROPPED: nothing is; what the
    prefix cache still has when it comes back is luck.
    """

    RESIDENT = "resident"
    HOST = "host"
    DROPPED = "dropped"


@dataclass(slots=True, eq=False)
class EngineSession:
    """A conversation whose requests come one after another, each continuing where the last one ended.

    Its KV is known by the hashes of its blocks, so nothing is assumed about the next request: an edited or compacted
    history finds what it still shares, and a shared prefix is held once for all its sessions.
    """

    session_id: str
    hashes: list[bytes] = field(default_factory=list)
    """Of the full blocks computed by the last turn's end."""
    state: ParkState = ParkState.DROPPED
    request: Turn | None = None
    """The turn under way; None while the session is parked."""
    block_ids: list[int] = field(default_factory=list)
    """Pinned on the device."""
    host_ids: list[int] = field(default_factory=list)
    """Pinned in the host tier."""
    is_copying: bool = False
    tool: str | None = None
    hint_s: float | None = None
    """How long the client said the pause would be."""
    parked_s: float = 0.0
    wakes_s: float | None = None
    """When its parking is to be looked at again."""
    num_parks: int = 0
    attained_tokens: int = 0
    """Computed for it so far."""

    @property
    def holds_kv(self) -> bool:
        """Whether its context is held for it somewhere."""
        return self.state is not ParkState.DROPPED

    def tell(self, tool: str | None, hint_s: float | None) -> None:
        """What it waits for, or will once the request under way has ended; None is nothing new."""
        if self.request is not None and (use := self.request.session) is not None:
            tool, hint_s = tool or use.next_tool, use.expected_pause_s if hint_s is None else hint_s
            self.request.session = replace(use, next_tool=tool, expected_pause_s=hint_s)
        else:
            self.tool, self.hint_s = tool or self.tool, self.hint_s if hint_s is None else hint_s

    def elapsed_s(self, now_s: float) -> float:
        """How long it has been parked."""
        return max(0.0, now_s - self.parked_s)


class ParkEvent(msgspec.Struct, gc=False, omit_defaults=True):
    """A decision about a parked session, for the step log.

    Attributes:
        action: keep, offload, drop, break (a pin given up as a request needed the memory), prefetch, expire; and at
            the session's return kept, restored, recomputed.
        num_blocks: KV blocks it is about.
        remaining_s: Expected rest of the pause.
        keep_cost: KV blocks times seconds that keeping them is expected to take; likewise offload_cost and drop_cost.
    """

    session_id: str
    action: str
    num_blocks: int
    tool: str | None = None
    remaining_s: float | None = None
    keep_cost: float | None = None
    offload_cost: float | None = None
    drop_cost: float | None = None


@dataclass(slots=True)
class ParkingTotals:
    """Running totals.

    Attributes:
        num_parked: Turns that ended with their session parked.
        num_kept: Returns that found all of their context on the device.
        num_restored: Returns for which some of it was copied back from the host tier.
        num_recomputed: Returns that had to compute more of it again than what an open last block holds.
        num_broken: Pins given up because a request needed the memory.
        num_prefetched: Sessions brought back to the device before they returned.
        num_expired: Sessions forgotten because they did not come back.
        parked_block_s: KV blocks times seconds pinned on the device.
        recomputed_tokens: Tokens of parked contexts that were computed again.
        offloaded_bytes: Copied from the device to the host tier.
        restored_bytes: Copied back.
        restore_wait_s: Time in which returned turns waited for that.
    """

    num_parked: int = 0
    num_kept: int = 0
    num_restored: int = 0
    num_recomputed: int = 0
    num_broken: int = 0
    num_prefetched: int = 0
    num_expired: int = 0
    parked_block_s: float = 0.0
    recomputed_tokens: int = 0
    offloaded_bytes: int = 0
    restored_bytes: int = 0
    restore_wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUse:
    """A request's place in a session.

    Attributes:
        session_id: Requests with the same one continue each other, one at a time.
        next_tool: Tool that the session will wait for once the request has ended, where that is known beforehand.
        expected_pause_s: How long, if the client knows.
        ends_session: Nothing will come behind this request: keep nothing for it.
    """

    session_id: str
    next_tool: str | None = None
    expected_pause_s: float | None = None
    ends_session: bool = False

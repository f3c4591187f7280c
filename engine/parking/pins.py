"""Blocks on the device that are held for parked sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

from ..kv.block_manager import BlockManager
from ..session import EngineSession


class Pins:
    """References to blocks on behalf of sessions, and how long how many blocks were held by them."""

    def __init__(self, blocks: BlockManager) -> None:
        self._blocks = blocks
        self._sessions: dict[EngineSession, None] = {}
        self._counts: Counter[int] = Counter()
        self._block_s = 0.0
        self._counted_s = self._latest_s = 0.0

    def __iter__(self) -> Iterator[EngineSession]:
        """Sessions with pinned blocks, the first to be pinned first."""
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session: EngineSession) -> bool:
        return session in self._sessions

    @property
    def num_blocks(self) -> int:
        """Blocks pinned; one that several sessions share counts once."""
        return len(self._counts)

    def block_s(self, now_s: float) -> float:
        """Blocks times seconds pinned until now."""
        self._latest_s = max(self._latest_s, now_s)
        return self._block_s + len(self._counts) * (self._latest_s - self._counted_s)

    def _count(self, now_s: float) -> None:
        """Add up until now, before the number of blocks changes."""
        self._block_s = self.block_s(now_s)
        self._counted_s = self._latest_s

    def pin(self, session: EngineSession, block_ids: list[int], now_s: float) -> None:
        """Take over references that the caller acquired."""
        self._count(now_s)
        session.block_ids = block_ids
        self._counts.update(block_ids)
        self._sessions[session] = None

    def trim(self, session: EngineSession, wanted: Sequence[int], now_s: float) -> bool:
        """Give up a session's blocks behind those it has in common with `wanted`; False if there are none."""
        pairs = zip(session.block_ids, wanted, strict=False)
        num_kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        kept, others = session.block_ids[:num_kept], session.block_ids[num_kept:]
        if not others:
            return False
        self._blocks.acquire(kept)
        self.unpin(session, now_s)
        self.pin(session, kept, now_s)
        return True

    def unpin(self, session: EngineSession, now_s: float) -> None:
        """Give them up; nothing happens to a session that has none."""
        if session not in self._sessions:
            return
        self._count(now_s)
        del self._sessions[session]
        for block_id in session.block_ids:
            if self._counts[block_id] == 1:
                del self._counts[block_id]
            else:
                self._counts[block_id] -= 1
        self._blocks.release(session.block_ids)
        session.block_ids = []

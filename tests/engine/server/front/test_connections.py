"""Who gets a place, who has to go, and when."""

from __future__ import annotations

import logging
import resource

import pytest
from abatch.engine.hosting.descriptors import most_descriptors
from abatch.engine.server.front.connections import ConnectionLimits, Connections, Phase
from abatch.engine.server.front.descriptors import connection_limit
from abatch.engine.server.front.repeated_log import RepeatedLog


class _Member:
    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.is_spare = False
        self.is_cut = False

    def cut(self, *, is_asking: bool) -> None:
        self.is_cut = True


class _Room:
    """Two ordinary places and one spare."""

    def __init__(self) -> None:
        self.connections = Connections(
            ConnectionLimits(most=2, most_spare=1), RepeatedLog(logging.getLogger("abatch.test"))
        )

    def joined(self, phase: Phase = Phase.HEAD) -> _Member:
        member = _Member()
        self.connections.join(member)
        if not member.is_spare:
            self.connections.move(member, phase)
        return member


@pytest.fixture
async def room() -> _Room:
    return _Room()


async def test_the_connection_that_is_idle_for_longest_makes_room(room: _Room) -> None:
    second, first = room.joined(Phase.REQUEST), room.joined(Phase.IDLE)
    room.connections.move(second, Phase.IDLE)
    newcomer = room.joined()
    assert (first.is_cut, second.is_cut, newcomer.is_spare) == (True, False, False)
    room.connections.move(first, Phase.REQUEST)  # it has been cut off, and does not come back
    assert (first.phase, room.connections.num_open) == (None, 2)


async def test_unfinished_headers_make_room_once_they_are_late(room: _Room) -> None:
    room.joined(Phase.REQUEST)
    slow = room.joined(Phase.HEAD)
    room.connections.advance(0.9)
    assert room.joined().is_spare
    room.connections.advance(0.1)
    assert not room.joined().is_spare
    assert slow.is_cut


async def test_requests_under_way_are_never_cut_off_for_others(room: _Room) -> None:
    busy = [room.joined(Phase.REQUEST) for _ in range(2)]
    spare = room.joined()
    assert spare.phase is Phase.SPARE_HEAD
    assert not room.connections.can_join()
    can_join = []
    for _ in range(5):
        room.connections.begin_turn()
        can_join.append(room.connections.can_join())
    assert can_join == [False] * 4 + [True]  # now the spare one makes room for the next
    assert room.joined().is_spare
    assert spare.is_cut
    assert not any(member.is_cut for member in busy)
    assert room.connections.num_open == 3


async def test_a_spare_connection_that_is_answered_keeps_its_place(room: _Room) -> None:
    for _ in range(2):
        room.joined(Phase.REQUEST)
    spare = room.joined()
    room.connections.move(spare, Phase.REQUEST)
    for _ in range(9):
        room.connections.begin_turn()
    assert not room.connections.can_join()
    room.connections.leave(spare)
    assert room.connections.can_join()


def test_connections_get_what_the_descriptor_limit_leaves() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = []
    try:
        for most in (100, 1024, soft):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            limits.append(connection_limit())
        with most_descriptors():
            limits.append(connection_limit())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    few, usual, *own = limits
    assert few == 8
    assert 512 < usual < 1024 - 192
    assert sorted(own) == own


@pytest.mark.parametrize(
    ("phase", "longest_s"), [(Phase.HEAD, 20.0), (Phase.STALLED, 60.0), (Phase.CLOSING, 15.0)], ids=str
)
async def test_whoever_takes_too_long_is_cut_off(room: _Room, phase: Phase, longest_s: float) -> None:
    member, busy = room.joined(phase), room.joined(Phase.REQUEST)
    num_open = [room.connections.num_open]
    for elapsed_s in (longest_s - 0.1, 0.2, 1e6):
        room.connections.advance(elapsed_s)
        num_open.append(room.connections.num_open)
    assert num_open == [2, 2, 1, 1]
    assert (member.is_cut, busy.is_cut) == (True, False)


async def test_trouble_that_repeats_is_one_line_and_then_a_number(caplog: pytest.LogCaptureFixture) -> None:
    log = RepeatedLog(logging.getLogger("abatch.test"))
    for number in range(5):
        log.warning("slow clients", f"number {number}")
    log.exception("GET / failed", ValueError("told once"))
    log.exception("GET / failed", ValueError("told once"))
    log.say_unsaid("slow clients")
    log.warning("slow clients", "again")
    log.say_unsaid("slow clients")
    log.say_unsaid("slow clients")
    log.warning("slow clients", "much later")
    assert [record.getMessage() for record in caplog.records] == [
        "slow clients: number 0",
        "GET / failed",
        "slow clients: 4 more in the last minute",
        "slow clients: 1 more in the last minute",
        "slow clients: much later",
    ]

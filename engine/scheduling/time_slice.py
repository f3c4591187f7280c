"""Which turn has held its place for long enough, when others find none."""

from __future__ import annotations

from collections.abc import Iterable

from ..request import Request


def longest_turn(running: Iterable[Request], slice_tokens: int) -> Request | None:
    """Of the requests that are turns of sessions, the one that has generated most since it joined; None below a slice.

    Only committed tokens count: each time it joins it gets on by a slice at least, whatever is in flight when it goes.
    """
    turns = [request for request in running if request.parked_session is not None]
    longest = max(turns, key=_num_generated, default=None)
    return longest if longest is not None and _num_generated(longest) >= slice_tokens else None


def _num_generated(request: Request) -> int:
    return len(request.token_ids) - request.slice_start

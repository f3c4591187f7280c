"""Asking a server again that does not answer yet: it may be starting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

LONGEST_S = 10.0
"""A server that starts is waited for this long."""
_PAUSE_S = 0.5
_SLOW_S = 5.0
"""After this long a person wonders what is being waited for."""
_STARTING = ("connect", "disconnected", "http_503")
_REFUSED = "Connection refused"
_TIMEOUT = "timeout"
_SHORT_S = 30.0
"""Timeouts that last longer are not worth a second one."""


def silently(_: str) -> None:
    """Says nothing."""


class Patience:
    """Of getting to know one server.

    A refused or dropped connection and a 503 are what a server looks like while it starts. One timeout may be a model
    that is just being loaded.
    """

    def __init__(self, shown_url: str, timeout_s: float, say: Callable[[str], object]) -> None:
        """Make one for a server. `timeout_s`: of a request. `say`: is told once what is waited for."""
        self._shown_url = shown_url
        self._timeout_s = timeout_s
        self._say = say
        self._ends_s: float | None = None
        self._has_timed_out = False

    async def asks_again(self, error: str | None, message: str, retry_after_s: float | None = None) -> bool:
        """Whether to ask again, after a pause, when a request has failed.

        Args:
            error: The class of the failure; None: there is none.
            message: What is said about it.
            retry_after_s: How long the server itself wants to be left alone.
        """
        if error == _TIMEOUT:
            if self._has_timed_out or self._timeout_s > _SHORT_S or LONGEST_S == 0:
                return False
            self._has_timed_out = True
            self._say(
                f"{self._shown_url} did not answer within {self._timeout_s:g} s (--timeout): it is asked once more"
            )
            return True
        if error not in _STARTING or (error == "connect" and message != _REFUSED):
            return False  # a name that is unknown stays unknown
        now_s = asyncio.get_running_loop().time()
        is_first = self._ends_s is None
        ends_s = self._ends_s = now_s + LONGEST_S if self._ends_s is None else self._ends_s
        pause_s = max(_PAUSE_S, retry_after_s or 0.0)
        if now_s + pause_s > ends_s:
            return False
        if is_first:
            self._say(f"waiting for {self._shown_url}, {LONGEST_S:g} s at most: {message}")
        await asyncio.sleep(pause_s)
        return True

    @asynccontextmanager
    async def told_if_slow(self, what: str) -> AsyncIterator[None]:
        """Say what is being waited for, once it takes long. `what`: such as `its list of models`."""
        text = f"still waiting for {what} from {self._shown_url} (--timeout {self._timeout_s:g})"
        timer = asyncio.get_running_loop().call_later(_SLOW_S, self._say, text)
        try:
            yield
        finally:
            timer.cancel()


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What a server's Retry-After says, in seconds; None where it says nothing that is a number."""
    with suppress(ValueError):
        return max(0.0, float(headers.get("Retry-After", "")))
    return None

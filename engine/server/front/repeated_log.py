"""A log that strangers cannot fill."""

from __future__ import annotations

import asyncio
import logging

_QUIET_S = 60.0
"""A line a minute shows that trouble goes on, and is 1,440 lines a day."""


class RepeatedLog:
    """Says each kind of trouble at once, and then at most once a minute how many more there were.

    There must be few kinds, none of them made from what a client sends.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._num_unsaid: dict[str, int] = {}
        """By the kinds that were said less than a minute ago."""

    def warning(self, kind: str, detail: str) -> None:
        """One line, where it is not too soon for another of its kind."""
        if self._is_due(kind):
            self._logger.warning("%s: %s", kind, detail)

    def exception(self, kind: str, error: BaseException) -> None:
        """As `warning`, with a traceback."""
        if self._is_due(kind):
            self._logger.error("%s", kind, exc_info=error)

    def say_unsaid(self, kind: str) -> None:
        """How many of a kind were not said. A kind that has stopped may be said at once when it comes again."""
        if num_unsaid := self._num_unsaid.pop(kind):
            self._logger.warning("%s: %d more in the last minute", kind, num_unsaid)
            self._keep_quiet(kind)

    def _is_due(self, kind: str) -> bool:
        if kind in self._num_unsaid:
            self._num_unsaid[kind] += 1
            return False
        self._keep_quiet(kind)
        return True

    def _keep_quiet(self, kind: str) -> None:
        self._num_unsaid[kind] = 0
        asyncio.get_running_loop().call_later(_QUIET_S, self.say_unsaid, kind)

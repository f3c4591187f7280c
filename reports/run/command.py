"""The command that repeats a run, a sweep or a comparison: what config.json and its like keep of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Words of a command line.

    Attributes:
        words: Those after `abatch`.
        secrets: Options that were given and are not in `words`, or only in part, because their values may be secret,
            such as `--api-key` or `--header X-Team`.
        trace_digest: Of the content of the trace that they name (see `content_digest`); empty without one.
    """

    words: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    trace_digest: str = ""

    def __str__(self) -> str:
        """As one would type it."""
        return shlex.join(["abatch", *self.words])

    def with_words(self, words: Iterable[str]) -> Command:
        """The same with further words."""
        return msgspec.structs.replace(self, words=(*self.words, *words))

"""Fields of a request that a server refuses, found by asking it, and left out from then on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from .target import Reply
from .wire.api import RequestSettings

_REFUSALS = ("http_400", "http_422")
_NEEDED = frozenset(("model", "messages", "system", "prompt", "input", "instructions", "stream"))
"""Without these it would be another request."""
_MAX_TOKENS, _NEWER_MAX_TOKENS = "max_tokens", "max_completion_tokens"
_LENGTH = ("ignore_eos", "min_tokens")
"""They come and go together: with one of them alone, answers have no certain length."""
_MOST_TRIES = 12
_MOST_REASON_CHARS = 120
_EFFECTS = {
    "ignore_eos": "outputs may be shorter than requested",
    "stream_options": "token counts may be missing",
    "temperature": "answers are sampled at the server's own temperature",
    "seed": "answers may differ from one time to the next",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of asking: the settings that the server takes, its reply with them, and what was changed, in words.

    If nothing helps, the settings are those of the first try, and the reply is the one to the last change that the
    server itself had asked for: what stands in the way is said there.
    """

    settings: RequestSettings
    reply: Reply
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Change:
    settings: RequestSettings
    fields: tuple[str, ...]
    new_name: str | None = None

    def note(self, refusal: str) -> str:
        """One line that says what was changed and why."""
        names = " and ".join(self.fields)
        if self.new_name is not None:
            return f"the server rejects {names}: it is sent as {self.new_name}"
        reason = " ".join(refusal.split())
        if len(reason) > _MOST_REASON_CHARS:
            reason = f"{reason[:_MOST_REASON_CHARS]} ..."
        effect = next((f", so {_EFFECTS[field]}" for field in self.fields if field in _EFFECTS), "")
        return f"the server rejects {names}{effect} ({reason})"


Ask = Callable[[RequestSettings], Awaitable[Reply]]


async def find_accepted(
    ask: Ask, settings: RequestSettings, sent: Callable[[RequestSettings], Collection[str]]
) -> Accepted:
    """Ask a server, and leave out or rename what it refuses, until it answers.

    A refusal (400 or 422) that names fields is believed. After one that names none, each field that can be left out is
    left out by itself, and at last all together. There are `_MOST_TRIES` tries at most.

    Args:
        ask: Makes a small request with these settings.
        settings: To begin with.
        sent: The names of a request's fields with these settings.
    """
    telling = reply = await ask(settings)
    begun, notes, num_tries = settings, list[str](), 1
    while reply.error in _REFUSALS:
        refusal = reply.error_message or ""
        named = _named(settings, sent(settings), refusal)
        for change in [named] if named is not None else _guesses(settings, sent(settings)):
            if num_tries == _MOST_TRIES:
                return Accepted(begun, telling, ())
            num_tries += 1
            reply = await ask(change.settings)
            if named is not None:
                telling = reply
            if named is not None or reply.error not in _REFUSALS:
                settings = change.settings
                notes.append(change.note(refusal))
                break
        else:
            return Accepted(begun, telling, ())
    return (
        Accepted(settings, reply, notes)
        if reply.error in (None, "empty") or not notes
        else Accepted(begun, telling, ())
    )


def _named(settings: RequestSettings, sent: Collection[str], refusal: str) -> _Change | None:
    """What a refusal asks for; None if it names no field that can be left out."""
    words = set(re.findall(r"\w+", refusal))
    if _MAX_TOKENS in words and (change := _renamed(settings, sent)) is not None:
        return change
    fields = tuple(field for field in _optional(settings, sent) if field in words)
    return _without(settings, fields) if fields else None


def _guesses(settings: RequestSettings, sent: Collection[str]) -> Iterator[_Change]:
    """What may help where a refusal does not say what is wrong."""
    fields = _optional(settings, sent)
    if together := tuple(field for field in fields if field in _LENGTH):
        yield _without(settings, together)
    for field in fields:
        if field not in _LENGTH:
            yield _without(settings, (field,))
    if (change := _renamed(settings, sent)) is not None:
        yield change
    if len(fields) > 1:
        yield _without(settings, fields)


def _optional(settings: RequestSettings, sent: Collection[str]) -> tuple[str, ...]:
    """The fields that can be left out. Those that the user asked for are not among them."""
    kept = {*_NEEDED, *settings.extra, _MAX_TOKENS, _NEWER_MAX_TOKENS, settings.max_tokens_field}
    return tuple(field for field in sent if field not in kept and not field.startswith("max_"))


def _without(settings: RequestSettings, fields: tuple[str, ...]) -> _Change:
    takes_ignore_eos = settings.takes_ignore_eos and "ignore_eos" not in fields
    left_out = settings.left_out | set(fields)
    return _Change(replace(settings, takes_ignore_eos=takes_ignore_eos, left_out=left_out), fields)


def _renamed(settings: RequestSettings, sent: Collection[str]) -> _Change | None:
    if settings.max_tokens_field is not None or _MAX_TOKENS not in sent or "messages" not in sent:
        return None
    return _Change(replace(settings, max_tokens_field=_NEWER_MAX_TOKENS), (_MAX_TOKENS,), _NEWER_MAX_TOKENS)

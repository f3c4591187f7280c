"""Thoughts and answer of a reply, told apart: what is thought counts as content, but does not begin the answer."""

from __future__ import annotations

from enum import Enum, auto

from ..target import Reply

_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<thought>", "</thought>"))
"""Around thoughts, at the start of the text of a server without a reasoning parser: of most models, Mistral, Google."""
_PIECES_OF_A_TAG = 10


class _Place(Enum):
    """Where in the text the next character is."""

    START = auto()
    THOUGHTS = auto()
    ANSWER = auto()


class Thinking:
    """Fills in what a reply thought and answered, and when its answer began.

    Text in tags at the very start is thought. So is all that comes before a closing tag without an opening one: the
    templates of some models put that into the prompt. Tags are not looked for where the server tells thoughts by a
    field of their own, nor behind the first closing one. Blank text behind thoughts does not begin the answer.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._place = _Place.START
        self._pending = ""
        """Text that may become an opening tag, or what of the thoughts may begin a closing one."""
        self._pending_s = 0.0
        self._closing = ""

    def take_reasoning(self, text: str) -> None:
        """Take what the server says are thoughts."""
        self._reply.reasoning.append(text)
        if self._place is _Place.START and not self._pending:
            self._place = _Place.ANSWER

    def take_other(self, now_s: float) -> None:
        """Take a tool call or the like, which is part of the answer."""
        if self._reply.first_answer_s is None:
            self._reply.first_answer_s = now_s

    def take_text(self, text: str, now_s: float) -> None:
        """Take text that the server does not call thoughts."""
        if self._place is _Place.ANSWER:
            if not self._reply.reasoning and (">" in text or "]" in text):
                text = self._without_thoughts(text)
            self._answer(text, now_s)
        elif self._place is _Place.START:
            self._begin(text, now_s)
        else:
            self._think(text, now_s)

    def finish(self) -> None:
        """Nothing more comes: what looked like the beginning of a tag is none."""
        if self._place is _Place.START and self._pending:
            self._answer(self._pending, self._pending_s)
            self._pending = ""

    def _begin(self, text: str, now_s: float) -> None:
        if not self._pending:
            self._pending_s = now_s
        text = self._pending + text
        start = text.lstrip()
        for opening, closing in _TAGS:
            if start.startswith(opening):
                self._pending, self._closing, self._place = "", closing, _Place.THOUGHTS
                self._think(start[len(opening) :], now_s)
                return
        if any(opening.startswith(start) for opening, _ in _TAGS):
            self._pending = text
            return
        self._pending, self._place = "", _Place.ANSWER
        self._answer(text, self._pending_s)

    def _think(self, text: str, now_s: float) -> None:
        whole = self._pending + text
        _, tag, answer = whole.partition(self._closing)
        self._reply.reasoning.append(text[: len(text) - len(answer)] if tag else text)
        if tag:
            self._place, self._pending = _Place.ANSWER, ""
            self._answer(answer, now_s)
        else:
            self._pending = whole[1 - len(self._closing) :]

    def _without_thoughts(self, text: str) -> str:
        """What of the text is answer, if it has a closing tag whose opening one nobody saw."""
        reply = self._reply
        whole = "".join(reply.text[-_PIECES_OF_A_TAG:]) + text
        for _, closing in _TAGS:
            _, tag, answer = whole.partition(closing)
            if tag:
                reply.reasoning.extend((*reply.text, text[: len(text) - len(answer)]))
                reply.text.clear()
                reply.first_answer_s = None
                return answer
        return text

    def _answer(self, text: str, now_s: float) -> None:
        reply = self._reply
        if not text:
            return
        reply.text.append(text)
        if reply.first_answer_s is None and (not reply.reasoning or not text.isspace()):
            reply.first_answer_s = now_s

"""The text of prompts: what a session says, turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from ..engine.protocol.conversation import ChatMessage, ContentPart
from .session import BlockPrompt, MessagePrompt, Session, SharedPrefix, Turn
from .targets.prompts import PromptSizer, salted_vocabulary, words

_MAX_PREFIXES = 256
"""Shared prefixes kept as text. Always-on agents have one each, and they come and go."""
_MARK_WORDS = 4
"""Enough that no two runs begin recorded text with the same words: there are 240 to choose from."""


class PromptWriter:
    """Writes text of a wanted number of tokens. The same seed and salt write the same text.

    Another salt writes other text of the same lengths, with the same prefixes shared: a server whose prefix cache has
    seen the one has not seen the other.
    """

    def __init__(self, seed: int, sizer: PromptSizer, salt: str = "") -> None:
        self._seed = seed
        self._vocabulary = salted_vocabulary(salt)
        self._sizer = sizer
        self._mark = words(Random("mark"), _MARK_WORDS, self._vocabulary) if salt else ""
        self._prefixes: dict[SharedPrefix, str] = {}
        """Least recently used first."""

    @property
    def knows_tokens(self) -> bool:
        """Whether noise has as many tokens as the server will count, and not only by guess."""
        return self._sizer.is_measured

    @property
    def overhead_tokens(self) -> float:
        """Tokens that the server's chat template adds to a conversation."""
        return self._sizer.overhead_tokens

    def random(self, name: str) -> Random:
        """The source of randomness for the text with this name."""
        return Random(f"{self._seed}/{name}/text")

    def noise(self, random: Random, tokens: float) -> str:
        """Noise of `tokens` tokens."""
        return self._sizer.text(random, tokens, self._vocabulary)

    def prefix(self, prefix: SharedPrefix) -> str:
        """The text that all sessions with this prefix begin with."""
        text = self._prefixes.pop(prefix, None)
        if text is None:
            random = Random(f"{self._seed}/prefix/{prefix.name}")
            text = self.noise(random, prefix.tokens - self.overhead_tokens)
            if len(self._prefixes) >= _MAX_PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
        self._prefixes[prefix] = text
        return text

    def shared_tokens(self, session: Session) -> int | None:
        """Tokens that the session's first prompt shares with other sessions, at most; None if recorded text decides.

        What a chat template adds is shared by all.
        """
        first = session.turns[0]
        if first.prompt is not None or first.text is not None:
            return None
        return round(self.overhead_tokens if session.prefix is None else session.prefix.tokens)

    def block(self, scope: str, block_id: int, start: float, end: float) -> str:
        """The text of a trace's block, which covers tokens `start` to `end` of the prompt."""
        random = Random(f"{self._seed}/{scope}/{block_id}")
        return self._sizer.text_between(random, start, end, self._vocabulary)

    def marked(self, text: str) -> str:
        """Recorded text, begun with words of the salt: caches know a prompt by how it begins."""
        return f"{self._mark}\n\n{text}" if self._mark else text

    def marked_messages(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Recorded messages, the first of them begun with words of the salt."""
        if not self._mark or not messages:
            return list(messages)
        first, *rest = messages
        if isinstance(first.content, list):
            mark = ContentPart(type="text", text=self._mark)
            return [msgspec.structs.replace(first, content=[mark, *first.content]), *rest]
        return [msgspec.structs.replace(first, content=self.marked(first.content or "")), *rest]


class Conversation:
    """A session's messages. For each turn: `ask`, send `messages`, `answer`."""

    def __init__(self, session: Session, writer: PromptWriter) -> None:
        self.messages: Sequence[ChatMessage] = []
        self._session = session
        self._writer = writer
        self._random = writer.random(session.session_id)
        self._blocks: list[str] = []
        self._least_tokens = 0.0

    @property
    def least_tokens(self) -> int | None:
        """Of the messages, what was made to measure: recorded texts and answers come on top. None if unknown."""
        return round(self._least_tokens) if self._writer.knows_tokens else None

    def ask(self, turn: Turn) -> None:
        """Add the turn's message, or replace the conversation with its prompt."""
        self._least_tokens = self._tokens_to_measure(turn)
        match turn.prompt:
            case MessagePrompt(messages):
                self.messages = self._writer.marked_messages(messages)
            case BlockPrompt():
                self.messages = [_user(self._block_text(turn.prompt))]
            case None if turn.compacts or not self.messages:
                self.messages = [_user(self._opening(turn))]
            case None:
                text = self._writer.noise(self._random, turn.new_tokens) if turn.text is None else turn.text
                self.messages = [*self.messages, _user(text)]

    def answer(self, text: str) -> None:
        """Add the server's answer."""
        self.messages = [*self.messages, ChatMessage(role="assistant", content=text)]

    def _tokens_to_measure(self, turn: Turn) -> float:
        match turn.prompt:
            case MessagePrompt():
                return 0.0
            case BlockPrompt() as prompt:  # a trace may have fewer blocks than it says it has tokens
                return min(prompt.tokens, (prompt.kept + len(prompt.ids)) * prompt.block_tokens)
        new_tokens = turn.new_tokens if turn.text is None else 0
        if self.messages and not turn.compacts:
            return self._least_tokens + new_tokens
        return new_tokens + (0 if self._session.prefix is None else self._session.prefix.tokens)

    def _opening(self, turn: Turn) -> str:
        """The first message of a conversation: the shared prefix and the new text."""
        prefix, writer = self._session.prefix, self._writer
        overhead = writer.overhead_tokens if prefix is None else 0.0
        text = writer.noise(self._random, turn.new_tokens - overhead) if turn.text is None else turn.text
        if prefix is not None:
            return f"{writer.prefix(prefix)}\n\n{text}"
        return text if turn.text is None else writer.marked(text)

    def _block_text(self, prompt: BlockPrompt) -> str:
        """The text of all blocks of a prompt. A partial last block is the beginning of the whole one."""
        del self._blocks[prompt.kept :]
        for block_id in prompt.ids:
            start = len(self._blocks) * prompt.block_tokens
            end = max(start, min(start + prompt.block_tokens, prompt.tokens))
            self._blocks.append(self._writer.block(prompt.scope, block_id, start, end))
        return " ".join(self._blocks)


def _user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)

"""The text of prompts: what a session says, turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..engine.protocol import ChatMessage
from .session import BlockPrompt, MessagePrompt, Session, SharedPrefix, Turn
from .targets.prompts import PromptSizer

_MAX_PREFIXES = 256
"""Shared prefixes kept as text. Always-on agents have one each, and they come and go."""


class PromptWriter:
    """Writes text of a wanted number of tokens. The same seed writes the same text."""

    def __init__(self, seed: int, sizer: PromptSizer) -> None:
        self._seed = seed
        self._sizer = sizer
        self._prefixes: dict[SharedPrefix, str] = {}
        """Least recently used first."""

    @property
    def overhead_tokens(self) -> float:
        """Tokens that the server's chat template adds to a conversation."""
        return self._sizer.overhead_tokens

    def random(self, name: str) -> Random:
        """The source of randomness for the text with this name."""
        return Random(f"{self._seed}/{name}/text")

    def noise(self, random: Random, tokens: float) -> str:
        """Noise of `tokens` tokens."""
        return self._sizer.text(random, tokens)

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

    def block(self, scope: str, block_id: int, start: float, end: float) -> str:
        """The text of a trace's block, which covers tokens `start` to `end` of the prompt."""
        return self._sizer.text_between(Random(f"{self._seed}/{scope}/{block_id}"), start, end)


class Conversation:
    """A session's messages. For each turn: `ask`, send `messages`, `answer`."""

    def __init__(self, session: Session, writer: PromptWriter) -> None:
        self.messages: Sequence[ChatMessage] = []
        self._session = session
        self._writer = writer
        self._random = writer.random(session.session_id)
        self._blocks: list[str] = []

    def ask(self, turn: Turn) -> None:
        """Add the turn's message, or replace the conversation with its prompt."""
        match turn.prompt:
            case MessagePrompt(messages):
                self.messages = list(messages)
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

    def _opening(self, turn: Turn) -> str:
        """The first message of a conversation: the shared prefix and the new text."""
        prefix, writer = self._session.prefix, self._writer
        overhead = writer.overhead_tokens if prefix is None else 0.0
        text = writer.noise(self._random, turn.new_tokens - overhead) if turn.text is None else turn.text
        return text if prefix is None else f"{writer.prefix(prefix)}\n\n{text}"

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

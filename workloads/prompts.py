"""Prompts of a wanted number of tokens, for servers whose tokenizer the client does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

# Short common words: most tokenizers of language models have each as one token, with its space.
_WORDS = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than
into them can only other time new some could these two may first then do any like my now over such our man me even
most made after also well did many before must years back through much where your way down should because long each
just state those people too mr how little good world make very year still see own work men day get here old life
both between being under three never know same last another while us off might great go come since against right
came take used himself few house use place during high without again home around small however found part school
every part once general upon always war until water number set next
""".split()

_PROBE_WORDS = (16, 96)


def words(random: Random, count: int) -> str:
    """`count` words of noise."""
    return " ".join(random.choices(_WORDS, k=max(count, 1)))


@dataclass(frozen=True, slots=True)
class PromptSizer:
    """How many words make how many tokens on a certain server.

    Attributes:
        tokens_per_word: Slope, measured.
        overhead_tokens: What the chat template adds to a first message (it may add a system prompt).
        is_measured: False if the server reports no usage and these are guesses.
    """

    tokens_per_word: float = 1.0
    overhead_tokens: float = 0.0
    is_measured: bool = False

    def text(self, random: Random, tokens: float) -> str:
        """Noise of about `tokens` tokens as the server will count them, the chat template not included."""
        return words(random, round(tokens / self.tokens_per_word))

    def text_between(self, random: Random, start: float, end: float) -> str:
        """Noise for tokens `start` to `end` of a longer text: what rounding cuts off one part is in the next."""
        return words(random, round(end / self.tokens_per_word) - round(start / self.tokens_per_word))

    @classmethod
    async def measure(cls, count_tokens: Callable[[str], Awaitable[int | None]]) -> PromptSizer:
        """Fit slope and overhead from two messages. `count_tokens` sends one and returns the server's own count."""
        random = Random("calibration")
        counts = [await count_tokens(words(random, num_words)) for num_words in _PROBE_WORDS]
        few, many = counts
        if few is None or many is None or many <= few:
            return cls()
        slope = (many - few) / (_PROBE_WORDS[1] - _PROBE_WORDS[0])
        return cls(slope, max(0.0, few - slope * _PROBE_WORDS[0]), is_measured=True)

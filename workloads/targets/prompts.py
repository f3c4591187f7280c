"""Prompts of a wanted number of tokens, also for servers whose tokenizer the client lacks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from .exact_text import exact_text, load_text_tokenizer, num_tokens

# Short common words: with its space, each is one token in most language models' tokenizers.
WORDS = tuple(
    """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than
into them can only other time new some could these two may first then do any like my now over such our man me even
most made after also well did many before must years back through much where your way down should because long each
just state those people too mr how little good world make very year still see own work men day get here old life
both between being under three never know same last another while us off might great go come since against right
came take used himself few house use place during high without again home around small however found part school
every part once general upon always war until water number set next
""".split()
)

_PROBE_WORDS = (16, 96)
_LEAST_SLOPE, _MOST_SLOPE = 0.25, 32.0
"""Tokens of a common word: tokenizers of bytes have six, and none joins more than a few words. A server that counts
otherwise would have prompts of megabytes."""


def words(random: Random, count: int, vocabulary: Sequence[str] = WORDS) -> str:
    """`count` words of noise."""
    return " ".join(random.choices(vocabulary, k=max(count, 1)))


def salted_vocabulary(salt: str) -> Sequence[str]:
    """The words in another order, each in the place of one as long; without a salt, as they are.

    Noise of them has the same length in bytes and in words, whatever the salt, and says something else throughout.
    """
    if not salt:
        return WORDS
    random = Random(f"{salt}/vocabulary")
    places: dict[int, list[str]] = {}
    for word in WORDS:
        places.setdefault(len(word), []).append(word)
    for of_length in places.values():
        random.shuffle(of_length)
    return tuple(places[len(word)].pop() for word in WORDS)


@dataclass(frozen=True, slots=True)
class PromptSizer:
    """Converts between words and tokens for one server.

    Attributes:
        tokens_per_word: Slope, measured.
        overhead_tokens: Tokens that the chat template adds to a first message, perhaps a system prompt.
        is_measured: False if the server reports no usage and these are guesses.
        tokenizer: The server's own, by name. Texts then have exact lengths; only the joints between them do not.
    """

    tokens_per_word: float = 1.0
    overhead_tokens: float = 0.0
    is_measured: bool = False
    tokenizer: str | None = None

    def text(self, random: Random, tokens: float, vocabulary: Sequence[str] = WORDS) -> str:
        """Noise of about `tokens` tokens as the server counts them, without the chat template."""
        if self.tokenizer is not None:
            return self._exact(random, round(tokens), self.tokenizer, vocabulary)
        return words(random, round(tokens / self.tokens_per_word), vocabulary)

    def text_between(self, random: Random, start: float, end: float, vocabulary: Sequence[str] = WORDS) -> str:
        """Noise for tokens `start` to `end` of a longer text: what rounding cuts from one part goes to the next."""
        if self.tokenizer is not None:
            return self._exact(random, round(end) - round(start), self.tokenizer, vocabulary)
        return words(random, round(end / self.tokens_per_word) - round(start / self.tokens_per_word), vocabulary)

    def _exact(self, random: Random, tokens: int, name: str, vocabulary: Sequence[str]) -> str:
        """Text of exactly `tokens` tokens (at least one). A longer text begins with the shorter one."""
        tokenizer, tokens = load_text_tokenizer(name), max(tokens, 1)
        state = random.getstate()
        spare = 1.1
        while True:
            random.setstate(state)
            num_words = int(spare * tokens / self.tokens_per_word) + 2
            text = exact_text(tokenizer, words(random, num_words, vocabulary), tokens)
            if text is not None:
                return text
            spare *= 1.5

    @classmethod
    async def measure(
        cls, count_tokens: Callable[[str], Awaitable[int | None]], tokenizer: str | None = None
    ) -> PromptSizer:
        """Fit slope and overhead to two messages. With a tokenizer, only the overhead comes from the messages.

        Args:
            count_tokens: Sends a message and returns the server's own count.
            tokenizer: The server's, by name.
        """
        random = Random("calibration")
        probes = [words(random, num_words) for num_words in _PROBE_WORDS]
        counts = [await count_tokens(probe) for probe in probes]
        few, many = counts
        if tokenizer is not None:
            by_itself = [num_tokens(load_text_tokenizer(tokenizer), probe) for probe in probes]
            overhead = 0.0 if few is None else max(0.0, float(few - by_itself[0]))
            return cls(by_itself[1] / _PROBE_WORDS[1], overhead, is_measured=few is not None, tokenizer=tokenizer)
        if few is None or many is None:
            return cls()
        slope = (many - few) / (_PROBE_WORDS[1] - _PROBE_WORDS[0])
        if not _LEAST_SLOPE <= slope <= _MOST_SLOPE:
            return cls()
        return cls(slope, max(0.0, few - slope * _PROBE_WORDS[0]), is_measured=True)

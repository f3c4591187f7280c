"""Grammars over the tiny model's tokens, and texts drawn under them."""

from __future__ import annotations

from functools import cache
from random import Random

from abatch.engine.models.grammars.compiler import Constraint, GrammarCompiler
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer

TOKENIZER = ChatTokenizer(tiny_tokenizer())
END = next(iter(TOKENIZER.eos_token_ids))
VOCAB_SIZE = 300
"""More than the tokenizer knows."""
_MOST_TOKENS = 500


@cache
def tiny_compiler() -> GrammarCompiler:
    """One is enough for all tests: compiled grammars do not change."""
    vocabulary = TOKENIZER.vocabulary()
    assert vocabulary is not None
    return GrammarCompiler(vocabulary, VOCAB_SIZE, [END])


def allowed(constraint: Constraint) -> list[int]:
    """Tokens that may come next."""
    mask = constraint.mask()
    assert len(mask) * 8 >= VOCAB_SIZE
    return [token for token in range(VOCAB_SIZE) if mask[token // 8] >> token % 8 & 1]


def drawn(constraint: Constraint, random: Random) -> str:
    """A text that ends by itself."""
    ids: list[int] = []
    while len(ids) < _MOST_TOKENS and END not in ids:
        ids.append(random.choice(allowed(constraint)))
        constraint.accept(ids[-1])
    assert ids.pop() == END
    return TOKENIZER.decode(ids)

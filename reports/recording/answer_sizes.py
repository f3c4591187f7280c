"""Whether answers, and prompts as the server took them in, have the size that was asked for: part of summary.json."""

from __future__ import annotations

import math

import msgspec

from ...workloads.bounds import Amount, Count
from ...workloads.result import Result
from .sums import summed_fields

_TOLERATED_TOKENS = 1
"""Servers count the end-of-sequence token, or they do not."""
_TOLERATED_SHARE = 0.02
_CUT_SHARE = 0.8
_CUT_TOKENS = 16
"""A prompt is cut short if the server counted fewer than 80% of what was sent, and at least this many less: how many
tokens a word has was measured on few words."""


class AnswerSizes(msgspec.Struct, kw_only=True):
    """Sizes of answers that ended well, as the server counts tokens.

    Attributes:
        answers: Those with a known length. `asked_tokens`: how many tokens they were asked for; `tokens`: how many they
            have.
        unknown: Those without a known length.
        odd: Those of which the server counted tokens in a way that cannot be right.
        shorter: They have fewer tokens than asked for, by more than one and by more than 2%; `longer`: they have more.
        filtered: The server's filter ended them.
        ratios: Tokens over tokens asked for, added up; `squares`: the squares of these.
        prompts: Those whose prompt is known to have at least so many tokens, as the server counts them too.
        cut_prompts: Of these, prompts of which the server took in less. `cut_sent_tokens`: what they had at least;
            `cut_counted_tokens`: what the server counted.
    """

    answers: Count = 0
    unknown: Count = 0
    odd: Count = 0
    asked_tokens: Count = 0
    tokens: Count = 0
    shorter: Count = 0
    longer: Count = 0
    filtered: Count = 0
    ratios: Amount = 0.0
    squares: Amount = 0.0
    prompts: Count = 0
    cut_prompts: Count = 0
    cut_sent_tokens: Count = 0
    cut_counted_tokens: Count = 0

    def add(self, result: Result) -> None:
        """Count an answer that ended well."""
        self.filtered += result.finish_reason == "content_filter"
        self.odd += result.has_odd_usage
        if result.output_tokens is None:
            self.unknown += 1
        elif result.max_tokens > 0:
            self._add_answer(result.output_tokens, result.max_tokens)
        if result.prompt_tokens is not None and result.least_prompt_tokens is not None:
            self._add_prompt(result.prompt_tokens, result.least_prompt_tokens)

    def __add__(self, other: AnswerSizes) -> AnswerSizes:
        """Of both."""
        return AnswerSizes(**summed_fields(self, other))

    @property
    def mean_tokens(self) -> float:
        """Of an answer with a known length; there must be one. `mean_asked_tokens`: what was asked for."""
        return self.tokens / self.answers

    @property
    def mean_asked_tokens(self) -> float:
        return self.asked_tokens / self.answers

    @property
    def mean_ratio(self) -> float:
        """Of an answer: its tokens over those asked for. There must be one."""
        return self.ratios / self.answers

    @property
    def ratio_error(self) -> float:
        """Standard error of that mean."""
        return math.sqrt(max(self.squares / self.answers - self.mean_ratio**2, 0.0) / self.answers)

    def _add_answer(self, tokens: int, asked: int) -> None:
        self.answers += 1
        self.tokens += tokens
        self.asked_tokens += asked
        self.ratios += tokens / asked
        self.squares += (tokens / asked) ** 2
        tolerated = max(_TOLERATED_TOKENS, _TOLERATED_SHARE * asked)
        self.shorter += asked - tokens > tolerated
        self.longer += tokens - asked > tolerated

    def _add_prompt(self, counted: int, sent: int) -> None:
        self.prompts += 1
        if counted < _CUT_SHARE * sent and sent - counted >= _CUT_TOKENS:
            self.cut_prompts += 1
            self.cut_sent_tokens += sent
            self.cut_counted_tokens += counted

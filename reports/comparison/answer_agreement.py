"""Whether two servers give the same answers to the same greedy prompts: a faster one may answer something else."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import takewhile

import msgspec

Answers = Sequence[Sequence[str | None]]
"""By prompt, the answer of each time it was asked; None where it failed."""


class AnswerAgreement(msgspec.Struct, kw_only=True):
    """How the first target's answers compare with another's.

    Servers compute sums in an order that depends on what else is in a batch, so that one may answer a prompt in two
    ways. A prompt tells two servers apart only if each answers it alike every time.

    Attributes:
        prompts: Those that both answered every time.
        equal: Of these, prompts that both answered alike the first time.
        first_repeats: Those that the first target answered alike every time; `other_repeats`: the other.
        stable: Those that both did; `stable_differ`: of these, those with another answer at each.
        median_difference: Characters before the first one that differs, of prompts that differ the first time: the
            median; `earliest_difference`: the fewest. None if none differs.
    """

    prompts: int
    equal: int
    first_repeats: int
    other_repeats: int
    stable: int
    stable_differ: int
    median_difference: float | None = None
    earliest_difference: int | None = None

    def in_words(self, name: str, first: str) -> str:
        """What `name` does, without the name in front and without a full stop."""
        if not self.prompts:
            return f"answers no greedy prompt that {first} answers too: whether they agree is unknown"
        details = []
        if self.stable_differ and self.median_difference is not None:
            details.append(f"the median first difference is after {self.median_difference:.0f} characters")
        if min(self.first_repeats, self.other_repeats) < self.prompts:
            details.append(
                f"asked twice, {first} repeats itself on {self.first_repeats}, {name} on {self.other_repeats}"
            )
        in_brackets = f" ({'; '.join(details)})" if details else ""
        if self.stable_differ:
            share = f"{self.stable_differ} of {self.prompts}"
            return f"answers {share} greedy prompts differently from {first}{in_brackets}"
        share = f"all {self.prompts}" if self.equal == self.prompts else f"{self.equal} of {self.prompts}"
        return f"answers {share} greedy prompts exactly as {first} does{in_brackets}"


def agreement(first: Answers, other: Answers) -> AnswerAgreement:
    """Compare the answers of two targets to the same prompts, each asked as often."""
    pairs = [
        (one, two) for one, two in zip(first, other, strict=True) if all(text is not None for text in (*one, *two))
    ]
    repeats = [(len(set(one)) == 1, len(set(two)) == 1) for one, two in pairs]
    differing = [(one[0] or "", two[0] or "") for one, two in pairs if one[0] != two[0]]
    positions = [_common_characters(one, two) for one, two in differing]
    stable = [pair for pair, both in zip(pairs, repeats, strict=True) if all(both)]
    return AnswerAgreement(
        prompts=len(pairs),
        equal=len(pairs) - len(differing),
        first_repeats=sum(first for first, _ in repeats),
        other_repeats=sum(other for _, other in repeats),
        stable=len(stable),
        stable_differ=sum(one[0] != two[0] for one, two in stable),
        median_difference=statistics.median(positions) if positions else None,
        earliest_difference=min(positions, default=None),
    )


def _common_characters(one: str, two: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))

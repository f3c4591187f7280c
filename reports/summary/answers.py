"""Whether the server answered what was asked for: answers of another size make latencies of another work."""

from __future__ import annotations

from collections.abc import Iterator

from ..formatting import counted
from ..recording.answer_sizes import AnswerSizes
from .finding import Finding, not_trusted
from .summary import Summary

MAX_SHARE = 0.01
"""Of the answers: with more of them cut short, latencies are those of other work."""
_APART = 0.02
_ERRORS_APART = 3.0
"""Standard errors: lengths that the models choose differ by chance."""


def answer_doubts(summary: Summary) -> list[Finding]:
    """Why latencies are not those of the work that was asked for; empty if nothing speaks against it."""
    found, sizes = [], summary.answers
    other = (sizes.shorter + sizes.longer) / max(sizes.answers, 1)
    if other > MAX_SHARE and not summary.has_own_lengths:
        words = (
            f"{other:.1%} of the answers have another length than was asked for ({sizes.mean_tokens:.1f} tokens on "
            f"average, {sizes.mean_asked_tokens:.1f} asked for): the server does not obey ignore_eos; with "
            "--no-ignore-eos answers end where the model ends them"
        )
        found.append(not_trusted(words, share_of_other_length=other))
    if (cut := sizes.cut_prompts / max(sizes.prompts, 1)) > MAX_SHARE:
        words = (
            f"{cut:.1%} of the prompts were cut short by the server: it counted "
            f"{sizes.cut_counted_tokens / sizes.cut_prompts:.0f} of at least "
            f"{sizes.cut_sent_tokens / sizes.cut_prompts:.0f} tokens on average; raise its context limit"
        )
        found.append(not_trusted(words, share_of_cut_prompts=cut))
    if (filtered := sizes.filtered / max(sizes.answers + sizes.unknown, 1)) > MAX_SHARE:
        words = f"{filtered:.1%} of the answers were ended by the server's content filter: turn it off to measure"
        found.append(not_trusted(words, share_filtered=filtered))
    return found


def answer_notes(summary: Summary) -> Iterator[str]:
    """What to know of the answers' sizes where it is no reason for doubt."""
    sizes = summary.answers
    if summary.has_own_lengths and sizes.answers:
        yield (
            f"answers end where the model ends them: {sizes.mean_tokens:.1f} tokens on average, at most "
            f"{sizes.mean_asked_tokens:.1f} were asked for"
        )
    elif 0 < (other := sizes.shorter + sizes.longer) <= MAX_SHARE * sizes.answers:
        yield f"{counted(other, 'answer')} of {sizes.answers:,} had another length than was asked for"
    if 0 < sizes.cut_prompts <= MAX_SHARE * sizes.prompts:
        yield f"{counted(sizes.cut_prompts, 'prompt')} of {sizes.prompts:,} cut short by the server"
    if 0 < sizes.filtered <= MAX_SHARE * (sizes.answers + sizes.unknown):
        yield f"{counted(sizes.filtered, 'answer')} ended by the server's content filter"
    if sizes.odd:
        yield f"{counted(sizes.odd, 'answer')} with token counts that cannot be right: they count as unknown"
    elif not summary.has_own_lengths and sizes.unknown > MAX_SHARE * (sizes.answers + sizes.unknown):
        yield "whether the answers have the length that was asked for is unknown: the server reports no usage"


def unknown_sizes(summary: Summary) -> str | None:
    """Why nothing made of token counts can be judged: the answers that have none may be the ones that matter."""
    sizes = summary.answers
    if not sizes.unknown:
        return None
    return f"the tokens of {sizes.unknown:,} of {sizes.unknown + sizes.answers:,} answers are not known"


def why_answers_differ(first: Summary, other: Summary) -> str | None:
    """Why the answers of two sides are not the same work; None if they are, or if nobody knows."""
    one, two = first.answers, other.answers
    if not one.answers or not two.answers:
        return None
    apart = abs(one.mean_ratio - two.mean_ratio)
    error = (one.ratio_error**2 + two.ratio_error**2) ** 0.5
    if apart <= max(_APART * max(one.mean_ratio, two.mean_ratio), _ERRORS_APART * error):
        return None
    return f"their answers differ in length, {_length(one)} against {_length(two)}"


def _length(sizes: AnswerSizes) -> str:
    return f"{sizes.mean_tokens:.1f} tokens on average ({sizes.mean_ratio:.0%} of what was asked for)"

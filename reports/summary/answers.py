"""Whether the server answered what was asked for, and as a stream: other answers make latencies of other work."""

from __future__ import annotations

from collections.abc import Iterator

from ..formatting import counted
from ..recording.answer_sizes import AnswerSizes
from ..recording.recorder import ALL, TTFA
from .finding import Finding, Label, Tone, not_trusted
from .summary import MAX_SHARE_NOT_STREAMED, Summary

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
    delivery = summary.delivery
    if (malformed := delivery.malformed_answers / max(delivery.num_answers(), 1)) > MAX_SHARE:
        words = (
            f"{malformed:.1%} of the answers have events that could not be read ({delivery.malformed_events:,} in "
            f"{counted(delivery.malformed_answers, 'answer')}): what they may have held was not timed"
        )
        found.append(not_trusted(words, share_malformed=malformed))
    return found


def streaming_doubt(summary: Summary, traffic_class: str, most: float = MAX_SHARE_NOT_STREAMED) -> Finding | None:
    """Why nothing can be said of first tokens and gaps: too many answers of a class came all at once.

    Their ends are as they were measured. `most`: the share that may be so.
    """
    delivery = summary.delivery
    share = delivery.share_not_streamed(traffic_class)
    if share <= most:
        return None
    whole, answers = delivery.num_not_streamed(traffic_class), delivery.num_answers(traffic_class)
    which = f" of class {traffic_class}" if traffic_class != ALL else ""
    words = (
        f"{whole:,} of {answers:,} answers{which} were not streamed. They came as one JSON, or all in one burst, so "
        "that their first token has the time of their last and there are no gaps between tokens: only e2e can be "
        "judged. Look for what buffers between server and client"
    )
    return Finding(
        label=Label.NOT_STREAMED,
        tone=Tone.BAD,
        words=words,
        traffic_class=traffic_class,
        numbers={"share_not_streamed": share},
    )


def answer_token_doubt(summary: Summary, traffic_class: str) -> Finding | None:
    """Why percentiles of ttfa are lower bounds: too many answers never got to an answer token."""
    measured = summary.metrics.get(TTFA, {}).get(traffic_class)
    if measured is None or measured.cut_off <= MAX_SHARE * measured.count:
        return None
    words = (
        f"{TTFA}: {measured.cut_off:,} of {measured.count:,} requests ended without an answer token, inside their "
        "reasoning: they count as lower bounds. Ask for more output tokens, or judge ttft and e2e"
    )
    return not_trusted(
        words,
        metric=TTFA,
        traffic_class=traffic_class,
        share_without_answer=measured.cut_off / measured.count,
    )


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
    yield from _delivery_notes(summary)
    if sizes.odd:
        yield f"{counted(sizes.odd, 'answer')} with token counts that cannot be right: they count as unknown"
    elif not summary.has_own_lengths and sizes.unknown > MAX_SHARE * (sizes.answers + sizes.unknown):
        yield "whether the answers have the length that was asked for is unknown: the server reports no usage"


def _delivery_notes(summary: Summary) -> Iterator[str]:
    """Of a few answers that came otherwise than they should, and of reasoning."""
    delivery = summary.delivery
    answers = delivery.num_answers()
    if 0 < (whole := delivery.num_not_streamed()) <= MAX_SHARE_NOT_STREAMED * answers:
        yield f"{counted(whole, 'answer')} of {answers:,} not streamed: as one JSON, or all in one burst"
    if 0 < delivery.malformed_answers <= MAX_SHARE * answers:
        yield (
            f"{counted(delivery.malformed_events, 'event')} could not be read, in "
            f"{counted(delivery.malformed_answers, 'answer')} of {answers:,}: what they may have held was not timed"
        )
    if delivery.reasoned:
        words = (
            f"{counted(delivery.reasoned, 'answer')} of {answers:,} began with reasoning: ttft is to its first token"
        )
        words += f", {TTFA} to the first of the answer"
        yield f"{words}; {delivery.unanswered:,} ended inside of it" if delivery.unanswered else words
    if delivery.hidden_reasoning:
        yield (
            f"before {delivery.hidden_reasoning:,} of {answers:,} answers the model thought without showing it: ttft "
            "contains that, and tpot counts only the tokens that were shown"
        )


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

"""Failed requests in words: how many, how, and since when."""

from __future__ import annotations

from ...workloads.targets.client_limit import CLIENT_LIMIT
from ..formatting import counted
from .finding import Finding, Label, Tone
from .summary import Summary, server_errors, share_client_limited, share_failed, share_unknown

MAX_ERROR_SHARE = 0.05
"""Above this share there is no verdict: failures are often the slow ones. `bench` then exits with 1."""
_MUCH_MORE = 2
"""Times the share of all requests: such a class is named."""
_AT_ONCE_S = 1.0
"""Requests already under way may still succeed after the first of the others has failed."""
_NAMES = {
    "connect": "no connection to the server",
    "disconnected": "the server closed the connection",
}


def error_findings(summary: Summary) -> list[Finding]:
    """One finding on all failures; none if nothing failed."""
    errors = server_errors(summary)
    if not errors:
        return []
    share, failed = share_failed(summary), sum(errors.values())
    kind, count = max(errors.items(), key=lambda item: item[1])
    words = f"{_percent(share)} of the requests failed ({failed:,} of {summary.requests:,}): {_what(summary, kind)}"
    if count < failed:
        words += f" ({count:,} of them)"
    words += _when(summary, kind)
    worst, worst_share = max(summary.failed_by_class.items(), key=lambda item: item[1], default=("", 0.0))
    if worst_share > MAX_ERROR_SHARE and worst_share >= _MUCH_MORE * share:
        words += f". Of class {worst}, {_percent(worst_share)} failed"
    tone = Tone.BAD if max(share, worst_share) > MAX_ERROR_SHARE else Tone.CAUTION
    return [Finding(label=Label.ERRORS, tone=tone, words=words, numbers={"share_failed": share, "failed": failed})]


def has_failed(summary: Summary) -> bool:
    """Whether so many requests failed, of all or of the verdict's class, that those that succeeded show too little."""
    return max(share_failed(summary), summary.failed_by_class.get(summary.verdict_class, 0.0)) > MAX_ERROR_SHARE


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def _what(summary: Summary, kind: str) -> str:
    if kind.startswith("http_"):
        name = f"HTTP {kind.removeprefix('http_')}"
    else:
        name = _NAMES.get(kind, kind)
    example = summary.error_examples.get(kind, "")
    if kind == "timeout" and example:
        return example  # names the limit that was exceeded
    return f"{name} ({example})" if example and len(example) <= 80 else name


def _when(summary: Summary, kind: str) -> str:
    """When they came, where that was not all through the run."""
    span = summary.error_spans_s.get(kind)
    if span is None or len(span) != 2:
        return ""
    first_s, last_s = span
    last_success_s = summary.last_success_s
    if last_success_s is None:
        return ""
    if last_success_s <= first_s + _AT_ONCE_S:
        return f", since {first_s:.1f} s; nothing succeeded after that"
    if last_s - first_s <= 0.5 * summary.measured_s and sum(server_errors(summary).values()) > 1:
        return f", from {first_s:.1f} s to {last_s:.1f} s into the run"
    return ""


def limit_in_words(summary: Summary) -> str:
    """How many requests met a limit of the client, and which."""
    limited, example = share_client_limited(summary), summary.error_examples.get(CLIENT_LIMIT, "")
    return f"{_percent(limited)} of the requests met a limit of the client, not of the server: {example}"


def unknown_in_words(summary: Summary) -> str:
    """Of how many requests nobody knows whether they would have succeeded."""
    if share_client_limited(summary):
        return limit_in_words(summary)
    return f"{share_unknown(summary):.1%} of the requests never ended"


def no_success(summary: Summary) -> str:
    """Why there is nothing to judge in a run without a measured success."""
    if summary.requests == 0 and summary.warmup_requests:
        count = summary.warmup_requests
        which = "the only request" if count == 1 else f"all {count:,} requests"
        return f"{which} fell into the warm-up: run longer (--duration), or shorten the warm-up (--warmup)"
    if summary.requests == 0:
        return "no request was due: run longer, or raise the rate"
    if summary.censored + summary.dropped_arrivals >= summary.requests:
        return (
            f"none of {counted(summary.requests, 'request')} ended before the run did: run longer (--duration, --drain)"
        )
    if CLIENT_LIMIT in summary.errors:
        return f"no request succeeded; {limit_in_words(summary)}"
    return "no request succeeded"

"""From what a target saw of a turn to the result that is kept."""

from __future__ import annotations

from .result import Result
from .session import Session
from .targets.target import Reply


def turn_result(
    session: Session,
    index: int,
    reply: Reply,
    *,
    due_s: float,
    pause_s: float,
    now_s: float,
    origin_s: float,
    shared_tokens: int | None,
    is_cut: bool,
    is_warmup: bool,
) -> Result:
    """The result of one turn of a session, which ends now or ended when the server gave its finish reason.

    `due_s` and `now_s` are seconds since the run began, which was at `origin_s` on the clock of `reply`. A turn that
    `is_cut` off at the end of the run is a lower bound, sent or not.
    """
    turn = session.turns[index]

    def since_origin(at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s - origin_s, 6)

    has_ended = reply.error is None and reply.finished_s is not None
    had_reasoning = bool(reply.reasoning)
    return Result(
        session_id=session.session_id,
        turn_index=index,
        traffic_class=session.traffic_class,
        due_s=round(due_s, 6),
        request_id=reply.request_id,
        waited_s=round(reply.waited_s, 6),
        sent_s=since_origin(reply.sent_s),
        first_s=since_origin(reply.first_s),
        first_answer_s=since_origin(reply.first_answer_s) if had_reasoning else None,
        end_s=since_origin(reply.finished_s if has_ended else None) or round(now_s, 6),
        gaps_us=reply.gaps_us,
        had_reasoning=had_reasoning,
        was_streamed=reply.was_streamed,
        malformed_events=reply.malformed_events,
        pause=turn.pause,
        pause_s=round(pause_s, 6),
        pause_was_capped=turn.pause_was_capped,
        tool=turn.tool,
        is_last=index == len(session.turns) - 1,
        prompt_tokens=reply.prompt_tokens,
        least_prompt_tokens=reply.least_prompt_tokens,
        cached_tokens=reply.cached_tokens,
        shared_tokens=shared_tokens,
        output_tokens=reply.output_tokens,
        reasoning_tokens=reply.reasoning_tokens,
        has_odd_usage=reply.has_odd_usage,
        max_tokens=turn.output_tokens,
        retries=reply.retries,
        connect_s=round(reply.connect_s, 6),
        dns_s=round(reply.dns_s, 6),
        tls_s=round(reply.tls_s, 6),
        finish_reason=reply.finish_reason,
        error=reply.error,
        error_message=reply.error_message,
        censored=is_cut and not has_ended,
        warmup=is_warmup,
    )

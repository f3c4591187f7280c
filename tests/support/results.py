"""Results out of thin air."""

from __future__ import annotations

from typing import Any

from abatch.workloads.result import Result


def make_result(
    ttft_ms: float = 10.0, *, gaps_ms: tuple[float, ...] = (5.0,), due_s: float = 0.0, **fields: Any
) -> Result:
    """A success, unless the fields say otherwise."""
    first_s = due_s + ttft_ms / 1e3
    values: dict[str, Any] = {
        "session_id": "s-0",
        "turn_index": 0,
        "traffic_class": "chat",
        "due_s": due_s,
        "sent_s": due_s,
        "first_s": first_s,
        "end_s": first_s + sum(gaps_ms) / 1e3,
        "gaps_us": [round(gap * 1e3) for gap in gaps_ms],
        "prompt_tokens": 20,
        "output_tokens": len(gaps_ms) + 1,
        "finish_reason": "length",
    }
    return Result(**(values | fields))

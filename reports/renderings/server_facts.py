"""What the server said of itself, in words."""

from __future__ import annotations

from ..summary.causes import ServerThen
from ..summary.server import ServerSummary


def server_facts(server: ServerSummary) -> str:
    """Load, memory and GPUs over the measured part, in one line; only what is known."""
    parts = []
    for name, mean, most in (
        ("running", server.running_mean, server.running_max),
        ("waiting", server.waiting_mean, server.waiting_max),
    ):
        if mean is not None and most is not None:
            parts.append(f"{name} {mean:.1f} (max {most})")
    if server.kv_used_mean is not None and server.kv_used_max is not None:
        parts.append(f"KV {server.kv_used_mean:.0%} (max {server.kv_used_max:.0%})")
    if server.preemptions is not None:
        parts.append(_counted(server.preemptions, "preemption"))
    if server.prefix_hit_share is not None:
        parts.append(f"prefix hits {server.prefix_hit_share:.0%}")
    if server.gpu_power_w is not None:
        energy = server.gpu_energy_j_per_output_token
        parts.append(f"GPU {server.gpu_power_w:.0f} W" + (f" ({energy:.3g} J a token)" if energy is not None else ""))
    if server.gpu_busy is not None:
        parts.append(f"{'' if server.gpu_power_w is not None else 'GPU '}{server.gpu_busy:.0%} busy")
    if server.unanswered:
        parts.append(f"{_counted(server.unanswered, 'look')} at its metrics unanswered")
    return ": ".join([*([server.kind] if server.kind else []), ", ".join(parts)])


def stall_facts(then: ServerThen) -> str:
    """What the server said around a moment at which it stood still; empty if it said nothing of use."""
    parts = []
    for name, before, after in (
        ("running", then.running_before, then.running_after),
        ("waiting", then.waiting_before, then.waiting_after),
    ):
        known = dict.fromkeys(str(value) for value in (before, after) if value is not None)
        if known:
            parts.append(f"{' -> '.join(known)} {name}")
    if then.silent_s is not None:
        parts.insert(0, f"no answer for {then.silent_s:.1f} s")
    return f"its /metrics: {', '.join(parts)}" if parts else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

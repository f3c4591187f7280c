"""A run's rates and errors, and what the client, the engine and the server say about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..formatting import counted, milliseconds
from ..recording.expectation import FittedSizes
from ..recording.recorder import ALL
from ..run.command import Command
from ..summary.cache import cache_facts
from ..summary.client import ClientFloor, ClientSummary
from ..summary.engine import EngineSummary, ParkingSummary
from ..summary.finding import Finding, Tone
from ..summary.findings import note
from ..summary.server import ServerSummary
from ..summary.summary import Summary
from .pause_words import pauses_in_words
from .slowdown_rows import idle_facts


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of numbers, with what they are about as its label."""

    label: str
    words: str
    tone: Tone = Tone.PLAIN


def facts(summary: Summary) -> Iterator[Fact | Finding]:
    """Rates and errors, how far the client itself can be trusted, and notes."""
    yield Fact(
        "run",
        f"{summary.workload} on {summary.target} ({summary.model}), {summary.measured_s:.1f} s measured, "
        f"seed {summary.seed}",
    )
    if (goodput := summary.goodput) is not None:
        objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in goodput.objectives.items())
        yield Fact("goodput", f"{goodput.rate:.2f}/s, {goodput.share:.1%} of requests within {objectives}")
    per_chunk = f"{summary.tokens_per_chunk:.2f} tokens per chunk"
    yield Fact(
        "rates",
        f"offered {summary.offered_rate:.2f}/s, achieved {summary.achieved_rate:.2f}/s, "
        f"{summary.output_tokens_per_s:.1f} output tokens/s, "
        + (per_chunk if summary.tokens_per_chunk else "tokens per chunk unknown"),
    )
    if summary.pauses is not None:
        yield Fact("tool pauses", pauses_in_words(summary.pauses))
    if summary.cache is not None:
        yield Fact("cache", cache_facts(summary.cache))
    if summary.connections.opened or summary.connections.retried:
        yield Fact("connections", connection_facts(summary))
    yield from _client_facts(summary)
    if summary.expectation is not None:
        yield Fact("size model", size_model(summary.expectation))
    if summary.idle is not None:
        yield Fact("idle probe", idle_facts(summary.idle))
    if summary.engine is not None:
        yield Fact("engine", engine_facts(summary.engine))
        if summary.engine.parking is not None:
            yield Fact("parking", parking_facts(summary.engine.parking))
    if summary.server is not None:
        yield Fact("server", server_facts(summary.server))
    if summary.capped_pauses:
        share = summary.capped_pauses / summary.paused_turns
        yield Fact("pauses", f"{share:.0%} of {counted(summary.paused_turns, 'pause')} were capped (--pause-cap)")
    if summary.abandoned_turns:
        skipped = counted(summary.abandoned_turns, "later turn")
        yield Fact("sessions", f"{skipped} skipped because their session had failed")
    for name, count in summary.errors.items():
        yield Fact("errors", f"{count:,} x {name}: {summary.error_examples.get(name, '')}", Tone.BAD)
    yield from map(note, summary.warnings)


def repeat_fact(command: Command | None) -> Iterator[Fact]:
    """What repeats a run, if it is known and no longer than a line may be: whoever copies it needs all of it."""
    if command is None or len(shown := str(command)) > _LONGEST_COMMAND:
        return
    label = f"repeat, adding {', '.join(command.secrets)}" if command.secrets else "repeat"
    yield Fact(label, shown)


_LONGEST_COMMAND = 900
"""Characters: with its label it fits into a text that is shown (see `MOST_CHARACTERS` in `reports/text.py`)."""


def _client_facts(summary: Summary) -> Iterator[Fact]:
    delay = summary.metrics.get("start_delay", {}).get(ALL)
    start_delay = f"start delay p99 {milliseconds(delay.p99_ms)} ms, " if delay else ""
    yield Fact(
        "client",
        f"{start_delay}late {summary.late_arrivals}, dropped {summary.dropped_arrivals}, "
        f"censored {summary.censored} (lower bounds), warm-up {summary.warmup_requests}",
    )
    if summary.held_requests:
        yield Fact("places", place_facts(summary))
    if (client := summary.client) is not None:
        yield Fact("client", client_facts(client))
        yield Fact("client floor", floor_facts(client.floor, client.workers))


def connection_facts(summary: Summary) -> str:
    """How many connections were opened, what that took, and how many requests were sent again, in one line."""
    made = summary.connections
    parts = []
    if made.opened:
        mean, longest = milliseconds(made.mean_ms(made.connect_s) or 0.0), milliseconds(made.longest_s * 1e3)
        of_it = [
            f"{name} {milliseconds(made.mean_ms(took_s) or 0.0)} ms"
            for name, took_s in (("names", made.dns_s), ("TLS", made.tls_s))
            if took_s
        ]
        detail = f" ({', '.join(of_it)})" if of_it else ""
        opened = f"{made.opened:,} opened for {counted(summary.requests, 'request')}"
        parts.append(f"{opened}, {mean} ms on average{detail}, {longest} ms at most")
    if made.retried:
        again = counted(made.retried, "request")
        parts.append(f"{again} sent again on a new one, because the server had closed the old one")
    return f"{'; '.join(parts)}; that is part of their latency"


def place_facts(summary: Summary) -> str:
    """How many requests waited for one of the --max-in-flight places, and for how long, in one line."""
    words = (
        f"{counted(summary.held_requests, 'request')} of {summary.requests:,} waited for one of the --max-in-flight "
        f"places, {milliseconds(summary.held_mean_ms)} ms on average, which counts as latency"
    )
    return words + (f"; {summary.unplaced_arrivals:,} of them in vain" if summary.unplaced_arrivals else "")


def client_facts(client: ClientSummary) -> str:
    """What held up the client itself, in one line."""
    return (
        f"lag p99 {milliseconds(client.lag_p99_ms)} ms, max {milliseconds(client.lag_max_ms)} ms; "
        f"{counted(client.gc_pauses, 'GC pause')} (longest {milliseconds(client.gc_longest_ms)} ms), "
        f"{client.cpu_share:.0%} of one core" + (f"; {client.kept_waiting}" if client.kept_waiting else "")
    )


def floor_facts(floor: ClientFloor | None, workers: int = 1) -> str:
    """What the client adds by itself, in one line."""
    if floor is None:
        return f"unknown; run abatch calibrate{f' --workers {workers}' if workers > 1 else ''}"
    return (
        f"adds at most {floor.added_ttft_p99_ms:.1f} ms to ttft at p99, trusted up to "
        f"{floor.max_trusted_rate:.0f} requests/s (calibrated {floor.calibrated_at[:10]})"
    )


def size_model(expected: FittedSizes) -> str:
    """What a request of a size should take, in one line: the normalised ratios rest on it."""
    return (
        f"ttft = {milliseconds(expected.ttft_base_ms)} ms + {expected.ttft_us_per_token:.3g} us per uncached prompt "
        f"token; e2e = {milliseconds(expected.e2e_base_ms)} ms + {expected.e2e_us_per_token:.3g} us per uncached "
        f"prompt token + {expected.e2e_us_per_output_token / 1e3:.3g} ms per output token "
        f"(medians of {counted(expected.requests, 'request')})"
    )


def engine_facts(engine: EngineSummary) -> str:
    """Steps, and whether the device or the host waited, in one line."""
    return (
        f"{engine.num_steps:,} steps of {milliseconds(engine.device_step_ms)} ms on the device and "
        f"{milliseconds(engine.host_step_ms)} ms on the host, device idle {engine.device_idle:.2%}, "
        f"{counted(engine.num_preemptions, 'preemption')}"
    )


def parking_facts(parking: ParkingSummary) -> str:
    """What parked sessions found when they returned, and what that cost, in one line."""
    num_returns = parking.kept + parking.restored + parking.recomputed
    text = (
        f"{counted(parking.parked, 'turn')} parked; {counted(num_returns, 'return')}: {parking.kept:,} kept, "
        f"{parking.restored:,} restored, {parking.recomputed:,} recomputed ({parking.recomputed_tokens:,} tokens); "
        f"{parking.parked_block_s:,.0f} block-seconds held, {counted(parking.broken, 'broken pin')}"
    )
    if parking.offloaded_bytes or parking.restored_bytes:
        text += (
            f"; {parking.offloaded_bytes / 1e9:.1f} GB out, {parking.restored_bytes / 1e9:.1f} GB back, "
            f"restore wait {milliseconds(parking.restore_wait_ms)} ms"
        )
    return text


def server_facts(server: ServerSummary) -> str:
    """Load, memory and GPUs over the measured part, in one line; unknown values are left out."""
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
        parts.append(counted(server.preemptions, "preemption"))
    if server.prefix_hit_share is not None:
        parts.append(f"prefix hits {server.prefix_hit_share:.0%}")
    if server.gpu_power_w is not None:
        energy = server.gpu_energy_j_per_output_token
        parts.append(f"GPU {server.gpu_power_w:.0f} W" + (f" ({energy:.3g} J per token)" if energy is not None else ""))
    if server.gpu_busy is not None:
        parts.append(f"{'' if server.gpu_power_w is not None else 'GPU '}{server.gpu_busy:.0%} busy")
    if server.unanswered:
        parts.append(f"{counted(server.unanswered, 'scrape')} of its metrics unanswered")
    return ": ".join([*([server.kind] if server.kind else []), ", ".join(parts)])

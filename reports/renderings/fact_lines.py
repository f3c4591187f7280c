"""A run's rates and errors, and what the client, the engine and the server say of themselves."""

from __future__ import annotations

from rich.text import Text

from ..formatting import milliseconds, one_line
from ..recording.recorder import ALL
from ..summary.client import ClientFloor, ClientSummary
from ..summary.engine import EngineSummary, ParkingSummary
from ..summary.expectation import FittedSizes
from ..summary.summary import Summary
from .server_facts import server_facts


def client_facts(client: ClientSummary) -> str:
    """What held the client itself up, in one line."""
    return (
        f"lag p99 {milliseconds(client.lag_p99_ms)} ms, max {milliseconds(client.lag_max_ms)} ms, "
        f"{client.gc_pauses} garbage collections of at most {milliseconds(client.gc_longest_ms)} ms, "
        f"{client.cpu_share:.0%} of a processor"
    )


def floor_fact(floor: ClientFloor | None, workers: int = 1) -> str:
    """What is known of the floor, in one line."""
    if floor is None:
        return f"client floor unknown: run abatch calibrate{f' --workers {workers}' if workers > 1 else ''}"
    return (
        f"client floor: adds at most {floor.added_ttft_p99_ms:.1f} ms to ttft at p99, trusted up to "
        f"{floor.max_trusted_rate:.0f} requests/s (calibrated {floor.calibrated_at[:10]})"
    )


def expectation_facts(expected: FittedSizes) -> str:
    """What a request of a size should take, in one line: the normalised ratios rest on it."""
    return (
        f"ttft {milliseconds(expected.ttft_base_ms)} ms + {expected.ttft_us_per_token:.3g} us an uncached prompt "
        f"token; e2e {milliseconds(expected.e2e_base_ms)} ms + {expected.e2e_us_per_token:.3g} us, and "
        f"{expected.e2e_us_per_output_token / 1e3:.3g} ms an output token (medians of {expected.requests} requests)"
    )


def engine_facts(engine: EngineSummary) -> str:
    """Steps and who waited for whom, in one line."""
    return (
        f"{engine.num_steps} steps of {milliseconds(engine.device_step_ms)} ms on the device and "
        f"{milliseconds(engine.host_step_ms)} ms on the host, device idle {engine.device_idle:.2%}, "
        f"{engine.num_preemptions} preemptions"
    )


def parking_facts(parking: ParkingSummary) -> str:
    """What parked sessions found when they came back, and what that cost, in one line."""
    text = (
        f"{parking.parked} turns parked, of those that came back {parking.kept} kept, {parking.restored} restored, "
        f"{parking.recomputed} recomputed ({parking.recomputed_tokens} tokens); "
        f"{parking.parked_block_s:.0f} block-seconds held, {parking.broken} pins broken"
    )
    if parking.offloaded_bytes or parking.restored_bytes:
        text += (
            f"; {parking.offloaded_bytes / 1e9:.1f} GB out, {parking.restored_bytes / 1e9:.1f} GB back, "
            f"restore wait {milliseconds(parking.restore_wait_ms)} ms"
        )
    return text


def fact_lines(summary: Summary) -> Text:
    """Rates, errors, and how far the client itself can be trusted."""
    lines = [
        one_line(f"{summary.workload} on {summary.target} ({summary.model})")
        + f", {summary.measured_s:.1f} s measured, seed {summary.seed}",
        f"offered {summary.offered_rate:.2f}/s, achieved {summary.achieved_rate:.2f}/s, "
        f"{summary.output_tokens_per_s:.1f} output tokens/s, {summary.tokens_per_chunk:.2f} tokens per chunk",
    ]
    if (goodput := summary.goodput) is not None:
        objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in goodput.objectives.items())
        lines.insert(1, f"goodput {goodput.rate:.2f}/s: {goodput.share:.1%} of requests within {objectives}")
    if summary.tokens_per_chunk == 0:
        lines[-1] = lines[-1].rpartition(", ")[0] + ", tokens per chunk unknown"
    delay = summary.metrics.get("start_delay", {}).get(ALL)
    client = f"start delay p99 {milliseconds(delay.p99_ms)} ms, " if delay else ""
    lines.append(
        f"client: {client}late {summary.late_arrivals}, dropped {summary.dropped_arrivals}, "
        f"censored {summary.censored} (lower bounds), warm-up {summary.warmup_requests}"
    )
    if summary.client is not None:
        lines.append(f"client: {client_facts(summary.client)}")
        lines.append(floor_fact(summary.client.floor, summary.client.workers))
    if summary.expectation is not None:
        lines.append(f"expected: {expectation_facts(summary.expectation)}")
    if summary.engine is not None:
        lines.append(f"engine: {engine_facts(summary.engine)}")
        if summary.engine.parking is not None:
            lines.append(f"parking: {parking_facts(summary.engine.parking)}")
    if summary.server is not None:
        lines.append(f"server: {server_facts(summary.server)}")
    if summary.capped_pauses:
        share = summary.capped_pauses / summary.paused_turns
        lines.append(f"pauses: {share:.0%} of {summary.paused_turns} were cut short (--pause-cap)")
    if summary.abandoned_turns:
        lines.append(f"{summary.abandoned_turns} further turns never became due: their sessions had failed")
    text = Text("\n".join(lines))
    for name, count in summary.errors.items():
        line = one_line(f"errors: {count} x {name}: {summary.error_examples.get(name, '')}")
        text.append(f"\n{line}", style="bold red")
    return text

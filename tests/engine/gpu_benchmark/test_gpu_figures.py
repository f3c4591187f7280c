"""What the benchmark for GPUs makes of its measurements, and how it shows them."""

from __future__ import annotations

import pytest
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.simulation.model_shape import SHAPES
from benchmarks.gpu.driving import Served, decode_steps, idle_of, random_prompts
from benchmarks.gpu.floor import step_floor_s
from benchmarks.gpu.jobs import CALLS
from benchmarks.gpu.peers import decode_period_s
from benchmarks.gpu.setting import spread
from benchmarks.gpu.tables import MOST_CHARACTERS, table


def test_the_longest_table_is_seen_whole() -> None:
    """Failures, kernels and errors without end."""
    long = "x" * 1000
    rate = {"median": 123456.789, "min": 123456.789, "max": 123456.789, "n": 3}
    point = {
        "device_ms": rate,
        "period_ms": rate,
        "floor_ms": 1.0,
        "share_of_floor": 0.5,
        "tokens_per_s": 1e5,
        "idle": rate,
    }
    kernels = [{"name": f"{number}{long}", "us": 1e4, "count": 10, "share": 0.1} for number in range(15)]
    profile = {
        "is_recorded": True,
        "step_ms": rate,
        "launched_ms": rate,
        "num_kernels": 999,
        "num_copies": 9,
        "kernels": kernels,
    }
    ways = {f"page {page}": {"median": 1e-4, "bytes": 1e9} for page in (16, 64, 256)} | {
        "varlen_attn": {"failed": long}
    }
    tree = {
        "arguments": {},
        "jobs": {key: {"status": "failed", "error": "e" * 300} for key in CALLS[1].keys},
        "parts": {
            "smoke": {step: {"recorded": {"failed": "e" * 160}} for step in ("decode", "mixed")},
            "profile": {f"step {number}": profile | {"kernels_ms": 9.0, "span_ms": 9.0} for number in range(3)},
            "tests": {
                name: {
                    "outcomes": {"passed": 100, "failed": 50, "skipped": 9},
                    "failures": [{"test": f"tests/{long}", "error": f"{number} {long}"} for number in range(50)],
                }
                for name in ("device", "memory")
            },
            "steps": {"default": {f"{number} x 1024": point for number in range(5)}},
            "kernels": {
                "bandwidth_bytes_per_s": 3e12,
                "decode": {f"{number} x 1024": ways for number in range(5)},
                "prefill": {f"{number} after 1024": ways for number in range(3)},
            },
        },
    }
    lines = list(table(tree))
    assert len("\n".join(lines)) < MOST_CHARACTERS
    assert "  and 38 other errors" in lines


def record(
    step: int, start_s: float, end_s: float, *, decodes: int, prefill: int = 0, gap_s: float = 0.0
) -> StepRecord:
    times_s = (start_s, start_s, start_s, end_s, end_s, end_s)
    return StepRecord(step, *times_s, decodes, prefill, decodes, 0, 0, 0, gap_s=gap_s)


def test_what_is_idle_is_told_by_the_device_s_own_gaps() -> None:
    """Where each step lies on the host's clock is known less well, and says nothing here."""
    steps = [record(0, 0.0, 1.0, decodes=1, prefill=5, gap_s=100.0)]
    steps += [record(number, 7.0 * number, 7.0 * number + 4, decodes=2, gap_s=6.0) for number in range(1, 6)]
    found = decode_steps([*steps, record(6, 60, 61, decodes=1)], 2)
    assert found is not None
    assert (found.num_steps, found.device_s, found.period_s) == (4, 4.0, 10.0)
    assert found.idle == pytest.approx(0.6)
    assert decode_steps(steps[:4], 2) is None, "two in a row behind the first are too few to say anything"
    assert idle_of(steps) == pytest.approx(0.6), "what lay before the first step is nobody's fault"
    assert idle_of([]) == 0.0


def test_a_decode_step_is_timed_from_the_outside_while_all_decode() -> None:
    """From the last one's first token (5) to the first one's last (9)."""
    times_s = [[float(second) for second in range(1, 10)], [float(second) for second in range(5, 14)]]
    assert decode_period_s(Served([[0] * 9] * 2, times_s, 13.0, None)) == 1.0
    apart = [[1.0, 2.0, 3.0, 4.0], [8.0, 9.0, 10.0, 11.0]]
    assert decode_period_s(Served([[0] * 4] * 2, apart, 11.0, None)) is None


@pytest.mark.parametrize(
    ("num_seqs", "context", "tokens_per_s"),
    [(32, 512, 8_953), (32, 1024, 7_957), (32, 4096, 4_772), (128, 1024, 19_087), (256, 2048, 14_676)],
)
def test_the_floor_of_a_decode_step(num_seqs: int, context: int, tokens_per_s: int) -> None:
    """Llama-3.1-8B in bfloat16 at 4.8 TB/s: 15.0 GB of weights, 131,072 bytes of KV a token."""
    floor_s = step_floor_s(SHAPES["llama-3.1-8b"], num_seqs, context, 4.8e12)
    assert num_seqs / floor_s == pytest.approx(tokens_per_s, abs=0.6)


def test_prompts_are_the_same_for_everybody() -> None:
    few, many = (random_prompts("load", [5] * count, 100) for count in (2, 4))
    assert many[:2] == few
    assert few[0] != few[1]
    assert random_prompts("other", [5], 100) != few[:1]


def test_a_spread_has_the_middle_of_an_even_number_of_values() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 4.0, "n": 4}

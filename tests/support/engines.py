"""What engines say of themselves, without an engine."""

from __future__ import annotations

from typing import Any

from abatch.engine.loop.messages import Ready


def make_ready(**fields: Any) -> Ready:
    """The facts of a small engine on a CPU, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "max_model_len": 1000,
        "max_num_seqs": 8,
        "vocab_size": 259,
        "eos_token_ids": [258],
        "num_blocks": 10,
        "block_size": 16,
        "kv_bytes": 0,
        "device": "cpu",
        "dtype": "float32",
        "batching": "async",
        "steps_ahead": 0,
    }
    return Ready(**(values | fields))

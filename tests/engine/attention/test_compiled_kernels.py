"""Triton compiles every kernel, as the engine calls it, for GPUs that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[2] / "support/compile_kernels.py"
_SHARED_BYTES = {80: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
"""What a program may have. GPUs of 8.6 and 8.9 run the same as those of 8.0, which have 163 KiB."""

_TILE_BYTES = 64 * 128 * 2
"""Keys, or values, of one tile of the Llama variant."""


def _compile(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(_SCRIPT.parents[1])}
    environment.pop("TRITON_INTERPRET", None)  # Triton puts it back whenever its settings are looked at as a whole
    command = [sys.executable, str(_SCRIPT), *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_kernel_is_compiled_once_for_each_number_of_splits_and_no_more(tmp_path: Path) -> None:
    """Or a server would stop to compile whenever a batch has a size that it has not had before."""
    (versions,) = _compile(tmp_path, "90", "versions")
    # 16, 8, 4, 2 and 1 splits.
    assert versions == {"store_kernel": 1, "decode_kernel": 5, "reduce_kernel": 4, "prefill_kernel": 1}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("architecture", "variants"), [(80, ["llama-3.1-8b"]), (90, []), (100, ["llama-3.1-8b"]), (120, ["llama-3.1-8b"])]
)
def test_machine_code_fits_the_device_and_nothing_spills(
    architecture: int, variants: list[str], tmp_path: Path
) -> None:
    kernels = _compile(tmp_path, str(architecture), *variants)
    attention = {"store_kernel", "decode_kernel", "reduce_kernel", "prefill_kernel"}
    others = {"_begin_kernel", "_threshold_kernel", "_draw_kernel", "_pick_kernel"}
    assert {kernel["kernel"] for kernel in kernels} == attention | others
    for kernel in kernels:
        assert kernel["shared_bytes"] <= _SHARED_BYTES[architecture], kernel
        assert kernel["spilled_bytes"] == 0, kernel
    products = [
        kernel
        for kernel in kernels
        if kernel["kernel"] in ("decode_kernel", "prefill_kernel") and kernel["variant"] != "float32"
    ]
    assert len(products) >= 3
    # The next tiles are on their way while one is multiplied: there are buffers for them.
    for kernel in (one for one in products if one["variant"] == "llama-3.1-8b"):
        num_buffers = 3 if kernel["kernel"] == "prefill_kernel" and _SHARED_BYTES[architecture] > 200_000 else 2
        tile_bytes = _TILE_BYTES // (2 if kernel["kernel"] == "prefill_kernel" and num_buffers == 2 else 1)
        assert kernel["shared_bytes"] >= num_buffers * 2 * tile_bytes, kernel
    assert all(kernel["uses_tensor_cores"] for kernel in products)

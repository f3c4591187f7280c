"""Triton compiles every kernel, as the engine calls it, for GPUs that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.run_profile import IS_NIGHTLY

_SCRIPT = Path(__file__).parents[2] / "support/compile_kernels.py"
_SHARED_BYTES = {80: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
"""What a program may have. GPUs of 8.6 and 8.9 run the same as those of 8.0, which have 163 KiB."""

_TILE_BYTES = 64 * 128 * 2
"""Keys, or values, of one tile of the Llama variant."""


_USUAL = [":llama-3.1-8b"]
_ARCHITECTURES = (
    {80: _USUAL, 90: ["", ":versions"], 100: _USUAL, 120: _USUAL}
    if IS_NIGHTLY
    else {90: [*_USUAL, ":versions"], 120: _USUAL}
)
"""What is compiled for each: every variant for one of them, the usual one for the others; by day, for one with much
shared memory and one with little.
"""

_ATTENTION = ("store_kernel", "rotate_kernel", "decode_kernel", "prefill_kernel")
_LAYER = ("rms_norm_kernel", "gate_kernel")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("compiled_kernels")]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All kernels, for all architectures."""
    folder = tmp_path_factory.mktemp("triton")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder), "PYTHONPATH": str(_SCRIPT.parents[1])}
    environment.pop("TRITON_INTERPRET", None)  # Triton puts it back whenever its settings are looked at as a whole
    arguments = [f"{architecture}{part}" for architecture, parts in _ARCHITECTURES.items() for part in parts]
    command = [sys.executable, str(_SCRIPT), *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_a_kernel_is_compiled_once_for_batches_of_every_size(compiled: list[dict[str, Any]]) -> None:
    """Or a server would stop to compile whenever a batch has a size that it has not had before.

    The kernels are compiled for this and for the tests below: half a minute.
    """
    (versions,) = (found["versions"] for found in compiled if "versions" in found)
    assert versions == dict.fromkeys((*_ATTENTION, *_LAYER), 1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", _ARCHITECTURES)
def test_machine_code_fits_the_device_and_nothing_spills(architecture: int, compiled: list[dict[str, Any]]) -> None:
    kernels = [found for found in compiled if found.get("architecture") == architecture]
    others = {"_begin_kernel", "_threshold_kernel", "_draw_kernel", "_pick_kernel"}
    assert {kernel["kernel"] for kernel in kernels} == {*_ATTENTION, *_LAYER} | others
    for kernel in kernels:
        assert kernel["shared_bytes"] <= _SHARED_BYTES[architecture], kernel
        assert kernel["spilled_bytes"] == 0, kernel
        is_early = architecture >= 90 and kernel["kernel"] not in others
        assert kernel["waits_for_the_kernel_before"] == is_early, kernel
    products = [
        kernel
        for kernel in kernels
        if kernel["kernel"] in ("decode_kernel", "prefill_kernel") and kernel["variant"] != "float32"
    ]
    assert {kernel["kernel"] for kernel in products} == {"decode_kernel", "prefill_kernel"}
    # The next tiles are on their way while one is multiplied: there are buffers for them.
    for kernel in (one for one in products if one["variant"] == "llama-3.1-8b"):
        num_buffers = 3 if kernel["kernel"] == "prefill_kernel" and _SHARED_BYTES[architecture] > 200_000 else 2
        tile_bytes = _TILE_BYTES // (2 if kernel["kernel"] == "prefill_kernel" and num_buffers == 2 else 1)
        assert kernel["shared_bytes"] >= num_buffers * 2 * tile_bytes, kernel
    assert all(kernel["uses_tensor_cores"] for kernel in products)
    # Three programs of a decode on a multiprocessor: one that waits for its keys leaves it to others.
    (decode,) = (one for one in products if (one["variant"], one["kernel"]) == ("llama-3.1-8b", "decode_kernel"))
    assert decode["registers"] <= 168, decode

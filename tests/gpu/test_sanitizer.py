"""The kernels under compute-sanitizer: no read or write outside of what was allocated, and no race in shared memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="compute-sanitizer is not installed"),
]

_TESTS = Path(__file__).parents[1]
_FILES = (
    "attention/test_kernels.py",
    "attention/test_rotate_kernel.py",
    "models/fusion/test_triton_kernels.py",
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_kernels_are_clean(tool: str) -> None:
    """Out of bounds by little is seen only where PyTorch does not round allocations up and keep them."""
    command = [
        *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--launch-timeout", "120"),
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *(str(_TESTS / "engine" / path) for path in _FILES),
        ),
        *("-k", "page16-bfloat16 or window7-softcap or many_parts or all_of_it or rms_norm or gate"),
    ]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=_TESTS.parent)
    if "Device not supported" in result.stdout:
        pytest.skip("compute-sanitizer does not support this device")
    assert result.returncode == 0, result.stdout[-3000:]

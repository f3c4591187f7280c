"""The operations of rewritten layers in Triton against torch, interpreted where there is no GPU."""

from __future__ import annotations

import pytest
import torch
from abatch.engine.models.fusion.triton_kernels import TritonKernels
from torch.nn import functional

MOST_ERROR = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def drawn(*shape: int, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Not a number if anything is not."""
    return float((ours.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", MOST_ERROR, ids=str)
@pytest.mark.parametrize(("num_rows", "size"), [(1, 4096), (3, 576), (7, 33), (20, 64), (2, 5120)])
def test_rms_norm(num_rows: int, size: int, dtype: torch.dtype, device: str) -> None:
    """Of rows that fill a program, of several to a program, and the last program not full."""
    rows = 30 * drawn(num_rows, size, dtype=dtype, device=device)
    for weight_dtype in {dtype, torch.float32}:
        weight = drawn(size, dtype=weight_dtype, device=device, seed=1)
        ours = TritonKernels().rms_norm(rows, weight, 1e-5)
        assert ours.dtype == dtype
        expected = functional.rms_norm(rows.double(), (size,), weight.double(), 1e-5)
        assert error(ours, expected) < MOST_ERROR[dtype]


def test_rms_norm_of_small_numbers_heeds_epsilon(device: str) -> None:
    rows = torch.full((1, 100), 1e-3, device=device)
    ours = TritonKernels().rms_norm(rows, torch.ones(100, device=device), 1e-6)
    assert error(ours, rows.double() / 2e-6**0.5) < 1e-6


@pytest.mark.parametrize("dtype", MOST_ERROR, ids=str)
@pytest.mark.parametrize(("num_rows", "size"), [(1, 1536), (3, 7), (5, 1024), (2, 1025)])
def test_gate(num_rows: int, size: int, dtype: torch.dtype, device: str) -> None:
    gate_up = 30 * drawn(num_rows, 2 * size, dtype=dtype, device=device)
    gate_up[0, 0] = -200  # of which a sigmoid by its definition overflows
    gate, up = gate_up.double().chunk(2, dim=-1)
    assert error(TritonKernels().gate(gate_up), functional.silu(gate) * up) < MOST_ERROR[dtype]

"""The kernels of rewritten layers, against torch in float64."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from abatch.engine.native.layer_kernels import NativeKernels
from support.attention import relative_error
from support.native import INSTRUCTION_SETS, library_for
from torch.nn.functional import rms_norm, silu

MOST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 5e-3}
DTYPES = tuple(MOST_ERROR)


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DTYPES, ids=str)
def kernels(instruction_set: str, request: pytest.FixtureRequest) -> NativeKernels:
    return NativeKernels(library_for(instruction_set, request.param), num_threads=1)


def draw(kernels: NativeKernels, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(kernels.library.dtype)


def assert_close(kernels: NativeKernels, output: torch.Tensor, expected: torch.Tensor) -> None:
    assert output.dtype == kernels.library.dtype
    assert output.shape == expected.shape
    assert relative_error(output.double(), expected) < MOST_ERROR[output.dtype]


@pytest.mark.parametrize("num_rows", [1, 2, 7, 8, 9, 31, 70])
@pytest.mark.parametrize("sizes", [(48, 64), (96, 1600), (50, 6), (1, 2), (7, 3100)])
def test_products(kernels: NativeKernels, num_rows: int, sizes: tuple[int, int]) -> None:
    """Fewer and more rows than a tile, outputs that fill no panel, more inputs than are multiplied at a time."""
    weight, rows, bias = draw(kernels, *sizes), draw(kernels, num_rows, sizes[1], seed=1), draw(kernels, sizes[0])
    expected = rows.double() @ weight.double().T
    assert_close(kernels, kernels.pack([weight], None).product(rows), expected)
    packed = kernels.pack([weight], bias)
    assert_close(kernels, packed.product(rows), expected + bias.double())
    total = draw(kernels, num_rows, sizes[0], seed=2)
    wanted = total.double() + expected + bias.double()
    packed.add_product(rows, total)
    assert_close(kernels, total, wanted)


@pytest.mark.parametrize("heights", [(30, 10, 10), (64, 64), (5,)])
def test_matrices_one_below_the_other(kernels: NativeKernels, heights: Sequence[int]) -> None:
    weights = [draw(kernels, height, 24, seed=height) for height in heights]
    packed, together = kernels.pack(weights, None), torch.cat(weights)
    rows = draw(kernels, 3, 24)
    assert packed.num_outputs == sum(heights)
    assert_close(kernels, packed.product(rows), rows.double() @ together.double().T)
    indices = torch.tensor([0, sum(heights) - 1, 2, 2])
    assert packed.rows(indices).equal(together[indices]), "an embedding's rows come back bit by bit"
    for outside in (-1, sum(heights)):
        with pytest.raises(IndexError):
            packed.rows(torch.tensor([0, outside]))


def test_rows_need_not_be_dense(kernels: NativeKernels) -> None:
    weight, rows = draw(kernels, 20, 16), draw(kernels, 5, 40)[:, ::2][:, :16]
    assert_close(kernels, kernels.pack([weight], None).product(rows), rows.double() @ weight.double().T)


def test_pairs_of_inputs_are_needed_for_bfloat16() -> None:
    kernels = NativeKernels(library_for("native", torch.bfloat16), num_threads=1)
    with pytest.raises(ValueError, match="7 inputs of bfloat16 are no pairs"):
        kernels.pack([draw(kernels, 4, 7)], None)


@pytest.mark.parametrize("size", [8, 24, 576, 1001])
def test_rms_norm(kernels: NativeKernels, size: int) -> None:
    rows, weight = draw(kernels, 5, size) * 3, draw(kernels, size, seed=1)
    expected = rms_norm(rows.double(), [size], weight.double(), 1e-5)
    assert_close(kernels, kernels.rms_norm(rows, weight, 1e-5), expected)


def test_a_weight_that_is_more_exact_than_the_rows_is_refused(kernels: NativeKernels) -> None:
    other = torch.float32 if kernels.library.dtype is torch.bfloat16 else torch.float64
    with pytest.raises(ValueError, match="a weight of"):
        kernels.rms_norm(draw(kernels, 2, 40), torch.ones(40, dtype=other), 1e-6)


def test_a_norm_of_zeros(kernels: NativeKernels) -> None:
    rows = torch.zeros(2, 40, dtype=kernels.library.dtype)
    assert kernels.rms_norm(rows, torch.ones_like(rows[0]), 1e-6).equal(rows)


@pytest.mark.parametrize("size", [4, 48, 1003])
def test_gate(kernels: NativeKernels, size: int) -> None:
    gate_up = draw(kernels, 6, 2 * size) * 4
    gate_up[0, :3] = torch.tensor([1000.0, -1000.0, -88.0])  # far beyond what an exponential can hold
    gate, up = gate_up.double().chunk(2, dim=-1)
    assert_close(kernels, kernels.gate(gate_up), silu(gate) * up)


def test_numbers_are_rounded_to_the_nearest() -> None:
    """As torch does, halves to even; what is no number, and what is too large, stays so."""
    kernels = NativeKernels(library_for("native", torch.bfloat16), num_threads=1)
    exact = torch.cat([torch.randn(4000, generator=torch.Generator().manual_seed(1)), torch.arange(-200, 200) / 128])
    one = kernels.pack([torch.ones(1, 2, dtype=torch.bfloat16)], None)
    parts = torch.stack([exact.bfloat16(), (exact - exact.bfloat16().float()).bfloat16()], dim=1)
    assert one.product(parts).squeeze(1).equal(parts.float().sum(dim=1).bfloat16())
    special = torch.tensor([[float("nan"), 1], [float("inf"), 1], [float("-inf"), 1]], dtype=torch.bfloat16)
    wide = kernels.pack([torch.ones(64, 2, dtype=torch.bfloat16)], None).product(special)
    assert wide[0].isnan().all()
    assert wide[1:].float().equal(torch.tensor([[float("inf")], [float("-inf")]]).expand(2, 64))


def test_threads_change_nothing() -> None:
    library = library_for("native", torch.float32)
    alone, shared = NativeKernels(library, num_threads=1), NativeKernels(library, num_threads=4)
    weight, rows = draw(alone, 500, 300), draw(alone, 33, 300, seed=1)
    assert alone.pack([weight], None).product(rows).equal(shared.pack([weight], None).product(rows))

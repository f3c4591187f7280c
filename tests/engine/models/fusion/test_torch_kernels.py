"""The operations of rewritten layers in torch, from their definition in float64."""

from __future__ import annotations

import pytest
import torch
from abatch.engine.models.fusion.agreement import relative_error
from abatch.engine.models.fusion.torch_kernels import PlainWeight, ReorderedWeight, TorchKernels

MOST_ERROR = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}
KERNELS = TorchKernels()


def random(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dtype", MOST_ERROR)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("num_rows", [0, 1, 5, 64])
def test_packed_products(dtype: torch.dtype, has_bias: bool, is_read: bool, num_rows: int) -> None:
    weights = [random(size, 48, dtype=dtype) for size in (32, 16, 17)]
    bias = random(65, dtype=dtype) if has_bias else None
    packed = KERNELS.pack(weights, bias, is_read=is_read)
    assert packed.num_outputs == 65
    rows = random(num_rows, 48, dtype=dtype)
    expected = rows.double() @ torch.cat(weights).double().t() + (0.0 if bias is None else bias.double())
    product = packed.product(rows)
    assert (product.dtype, product.shape) == (dtype, expected.shape)
    assert relative_error(product, expected) < MOST_ERROR[dtype]
    total = random(num_rows, 65, dtype=dtype)
    expected += total.double()
    packed.add_product(rows, total)
    assert relative_error(total, expected) < MOST_ERROR[dtype]
    if is_read:
        indices = torch.tensor([0, 64, 33, 33])
        assert torch.equal(packed.rows(indices), torch.cat(weights)[indices])


def test_weights_are_reordered_on_a_cpu_unless_their_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = random(32, 48, dtype=torch.float32)
    assert isinstance(KERNELS.pack([weight], None), ReorderedWeight)
    assert isinstance(KERNELS.pack([weight], None, is_read=True), PlainWeight)
    with pytest.raises(NotImplementedError):
        KERNELS.pack([weight], None).rows(torch.tensor([0]))
    # A layout that this torch gets wrong is not used.
    monkeypatch.setattr(ReorderedWeight, "product", lambda self, rows: rows.new_zeros(len(rows), self.num_outputs))
    assert isinstance(KERNELS.pack([weight], None), PlainWeight)


@pytest.mark.parametrize("dtype", MOST_ERROR)
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("is_wide", [False, True])
def test_norms(dtype: torch.dtype, scale: float, is_wide: bool) -> None:
    rows = random(7, 48, dtype=dtype) * scale
    weight = random(48, dtype=torch.float32 if is_wide else dtype)
    wide = rows.double()
    expected = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()
    normed = KERNELS.rms_norm(rows, weight, 1e-6)
    assert normed.dtype == dtype
    assert relative_error(normed, expected) < MOST_ERROR[dtype]


@pytest.mark.parametrize("dtype", MOST_ERROR)
def test_gates(dtype: torch.dtype) -> None:
    gate_up = random(7, 96, dtype=dtype)
    gate, up = gate_up.double().chunk(2, dim=1)
    assert relative_error(KERNELS.gate(gate_up), gate * torch.sigmoid(gate) * up) < MOST_ERROR[dtype]

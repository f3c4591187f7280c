"""Whether bfloat16 is multiplied in hardware, and what a CPU computes in then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.config import EngineConfig, LoadFormat
from abatch.engine.models import loader, processor
from abatch.engine.models.loader import load_model
from support.models import ARCHITECTURES
from transformers import AutoModelForCausalLM

_X86_LINES = "processor : 0\nflags\t\t: fpu avx2 {}\n\nprocessor : 1\nflags\t\t: fpu\n"
_ARM_LINES = "processor : 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("machine", "name", "has_it"),
    [
        ("x86_64", "avx512_bf16", True),
        ("AMD64", "amx_bf16", True),
        ("x86_64", "avx512_f", False),
        ("x86_64", "bf16", False),
        ("aarch64", "bf16", True),
        ("arm64", "sve_bf16", True),
        ("aarch64", "dot", False),
    ],
)
def test_torch_says_it(machine: str, name: str, has_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    others = {"architecture": machine, "l2_cache_size": 1 << 20, "amx_tile": True}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {**others, name: True}, raising=False)
    assert processor.multiplies_bfloat16() is has_it
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {**others, name: False})
    assert not processor.multiplies_bfloat16()


@pytest.mark.parametrize(
    ("machine", "lines", "has_it"),
    [
        ("x86_64", _X86_LINES.format("avx512_bf16"), True),
        ("x86_64", _X86_LINES.format("amx_bf16 amx_tile"), True),
        ("x86_64", _X86_LINES.format("avx512f"), False),
        ("aarch64", _ARM_LINES.format("bf16"), True),
        ("aarch64", _ARM_LINES.format("svebf16"), True),
        ("aarch64", _ARM_LINES.format("sve"), False),
        ("x86_64", "", False),
        ("x86_64", None, False),
    ],
)
def test_without_such_a_torch_the_kernel_says_it(
    machine: str, lines: str | None, has_it: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
    path = tmp_path / "cpuinfo"
    if lines is not None:
        path.write_text(lines)
    monkeypatch.setattr(processor, "_CPUINFO", path)
    assert processor.multiplies_bfloat16() is has_it


@pytest.mark.parametrize(
    ("stored", "asked", "has_it", "expected"),
    [
        ("bfloat16", "auto", True, torch.bfloat16),
        ("bfloat16", "auto", False, torch.float32),
        ("float32", "auto", True, torch.float32),
        ("float16", "auto", True, torch.float32),
        (None, "auto", True, torch.float32),
        ("bfloat16", "float32", True, torch.float32),
        ("float32", "bfloat16", False, torch.bfloat16),
        ("bfloat16", "float16", True, torch.float16),
    ],
)
@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_a_cpu_computes_in_bfloat16_what_was_stored_in_it(
    load_format: LoadFormat,
    stored: str | None,
    asked: str,
    has_it: bool,
    expected: torch.dtype,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loader, "multiplies_bfloat16", lambda: has_it)
    config = ARCHITECTURES["llama"]()
    if load_format == "dummy":
        config.dtype = stored
        config.save_pretrained(tmp_path)
    else:
        AutoModelForCausalLM.from_config(config, dtype=getattr(torch, stored or "float32")).save_pretrained(tmp_path)
    model = load_model(EngineConfig(model=str(tmp_path), load_format=load_format, device="cpu", dtype=asked))
    assert model.dtype is expected
    assert {weight.dtype for weight in model.module.parameters()} == {expected}


def test_tiny_is_made_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "multiplies_bfloat16", lambda: True)
    assert load_model(EngineConfig(model="tiny", device="cpu")).dtype is torch.float32

"""Rewritten models whose every kernel is Triton's say the same as transformers does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from abatch.engine.attention.paged_triton import TritonStep
from abatch.engine.models.fusion.choose import choose_kernels
from abatch.engine.models.fusion.torch_kernels import TorchKernels
from abatch.engine.models.fusion.triton_kernels import TritonKernels
from abatch.engine.scheduling.limits import SchedulerConfig
from support.models import ARCHITECTURES, generate_one_by_one, load, make_engine, make_model

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are interpreted on the CPU only where there is no GPU; see tests/gpu"
)

_ONE: dict[str, Any] = {"num_hidden_layers": 1}
_BOTH: dict[str, Any] = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
_LISTED: dict[str, Any] = _ONE | {"layer_types": ["full_attention"]}
_LAYERS = {"gemma2": _BOTH, "gemma3-sliding": _BOTH, "qwen3": _LISTED, "qwen2-moe": _LISTED, "gpt2": {"n_layer": 1}}
"""As few as there are kinds."""

_BY_DAY = ("llama", "qwen3", "gemma2", "phi3", "olmo2")
"""A kind of each; the interpreter takes one to five seconds for one."""

_FUSED = ("rms_norm", "gate", "attend_packed")
_MISSING = {
    "gemma": ["gate"],
    "gemma2": ["gate"],
    "gemma3-sliding": ["gate"],
    "olmo2": ["attend_packed"],
    "gpt2": ["rms_norm", "gate", "attend_packed"],
}
"""What is not rewritten of an architecture: see `test_rewritten_models`."""


def noted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, called: Counter[str]) -> None:
    """Count the calls of a method."""
    function = getattr(owner, name)

    def counting(*arguments: Any) -> Any:
        called[name] += 1
        return function(*arguments)

    monkeypatch.setattr(owner, name, counting)


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=[] if name in _BY_DAY else pytest.mark.nightly) for name in ARCHITECTURES],
)
def test_tokens_are_those_of_generate(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: Counter[str] = Counter()
    for owner, name in zip((TritonKernels, TritonKernels, TritonStep), _FUSED, strict=True):
        noted(monkeypatch, owner, name, called)
    monkeypatch.setattr("abatch.engine.models.fusion.fuse.choose_kernels", lambda *_: TritonKernels())
    reference = make_model(architecture, tmp_path, **_LAYERS.get(architecture, _ONE))
    model = load(tmp_path)
    called.clear()
    config = SchedulerConfig(batching="continuous", max_num_seqs=2, max_num_batched_tokens=32, max_model_len=32)
    engine = make_engine(model, config, num_blocks=20, block_size=4, attention="triton")
    prompts = [[5, 6, 7], list(range(3, 17))]
    assert engine.generate(prompts, [4, 4]) == generate_one_by_one(reference, prompts, [4, 4])
    assert [name for name in _FUSED if not called[name]] == _MISSING.get(architecture, [])


@pytest.mark.parametrize(
    ("device", "capability", "problem", "expected"),
    [
        ("cuda:0", (9, 0), None, TritonKernels),
        ("cuda:0", (9, 0), "there is no C compiler", TorchKernels),
        ("cuda:0", (7, 5), None, TorchKernels),
    ],
)
def test_which_kernels_there_are_for_which_device(
    device: str,
    capability: tuple[int, int],
    problem: str | None,
    expected: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    monkeypatch.setattr("torch.ones", lambda size, device: torch.zeros(size))
    monkeypatch.setattr("abatch.engine.models.fusion.choose.compiler_problem", lambda _: problem)
    assert type(choose_kernels(torch.device(device), torch.bfloat16)) is expected

"""Models that look at values on the host are found when they are loaded, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from abatch.engine.assembly.torch_build import build_torch_engine
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.models.host_looks import HostLooks
from support.models import load, make_model
from transformers.models.llama.modeling_llama import LlamaMLP

_MASK = torch.tensor([True, False, True])


class Looking(torch.nn.Module):
    def __init__(self, look: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.look = look

    def forward(self, values: torch.Tensor) -> Any:
        return self.look(values)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda values: values.nonzero(), "nonzero"),
        (lambda values: torch.nonzero(values), "nonzero"),
        (lambda values: torch.where(values), "where"),
        (lambda values: values.tolist(), "tolist"),
        (lambda values: values.sum().item(), "item"),
        (lambda values: int(values[0]), "int"),
        (lambda values: 1 if values.any() else 0, "bool"),
        (lambda values: values[_MASK], "indexing by a mask"),
        (lambda values: values.__setitem__(_MASK, 0), "indexing by a mask"),
    ],
)
def test_each_kind_of_look_is_found_by_its_module(look: Callable[[torch.Tensor], Any], expected: str) -> None:
    with HostLooks() as looks:
        torch.nn.Sequential(Looking(look), torch.nn.Identity())(torch.tensor([1, 0, 2]))
    assert looks.found == [f"Looking ({expected})"]


def test_what_stays_on_the_device_is_no_look() -> None:
    def stays(values: torch.Tensor) -> torch.Tensor:
        return torch.where(values > 0, values[torch.tensor([0, 2, 1])], values[1:2]) + values.shape[0]

    with HostLooks() as looks:
        Looking(stays)(torch.tensor([1, 0, 2]))
    assert looks.found == []


def test_a_model_that_looks_is_refused_by_name_where_steps_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model("llama", tmp_path)
    assert load(tmp_path).host_looks == ()
    forward: Any = LlamaMLP.forward

    def looking(self: LlamaMLP, x: torch.Tensor) -> Any:
        x.flatten().nonzero()
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", looking)
    assert load(tmp_path).host_looks == ("LlamaMLP (nonzero)",)
    # As it is built on a GPU, where only the device is made up.
    monkeypatch.setattr("abatch.engine.assembly.torch_build._is_cuda", lambda _: True)
    monkeypatch.setattr("abatch.engine.assembly.torch_build._report", lambda *_: None)
    monkeypatch.setattr("abatch.engine.assembly.torch_build.fill_pinned_memory", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    options: dict[str, Any] = {"model": str(tmp_path), "num_blocks": 20, "max_num_seqs": 2, "max_num_batched_tokens": 8}
    with pytest.raises(ConfigurationError, match=r"in LlamaMLP \(nonzero\), so .*; give --no-cuda-graphs$"):
        build_torch_engine(EngineConfig(**options))
    progress: list[str] = []
    build_torch_engine(EngineConfig(**options, cuda_graphs=False), on_progress=progress.append)
    assert progress[0].startswith("warning: ")
    assert "waits for the device in every step, in LlamaMLP (nonzero)" in progress[0]

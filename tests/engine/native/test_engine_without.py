"""The engine on a CPU where no kernels in C++ can be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.engine.assembly.torch_build import build_torch_engine
from abatch.engine.config import EngineConfig
from abatch.engine.native import compiler, library
from abatch.engine.request import Request, SamplingParams

_WARNING = "warning: no kernels in C++ for this CPU (there is no C++ compiler"


def tokens(dtype: str = "float32", **options: str) -> tuple[list[int], str, list[str]]:
    """What tiny answers, by which attention, and what was said when it started."""
    said: list[str] = []
    config = EngineConfig(model="tiny", device="cpu", dtype=dtype, kv_memory_bytes=1 << 24, **options)  # type: ignore[arg-type]
    engine, ready = build_torch_engine(config, on_progress=said.append)
    engine.submit(Request("r", list(range(1, 40)), SamplingParams(max_tokens=8, temperature=0.0)))
    drawn = []
    while engine.has_work:
        drawn += [output.token_id for output in engine.step() if output.token_id is not None]
    assert len(drawn) == 8
    return drawn, ready.attention, said


def test_without_a_compiler_it_says_so_and_computes_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_kernels, attention, said = tokens()
    assert (attention, said) == ("native", [])
    library._loaded.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "gone"))
    without, attention, said = tokens()
    assert without == with_kernels
    assert attention == "sdpa"
    (line,) = said
    assert line.startswith(_WARNING)
    assert not tokens(attention="sdpa")[2], "whoever chooses attention has chosen"
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("there is nothing to compile for float16"))
    assert "none for float16" in tokens(dtype="float16")[2][0]

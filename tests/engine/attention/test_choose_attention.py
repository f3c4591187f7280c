"""Which backend `--attention` gets, and what is said where it cannot be had."""

from __future__ import annotations

import pytest
import torch
from abatch.engine.attention import choose
from abatch.engine.attention.base import AttentionBackend
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.attention.paged_native import NativeBackend
from abatch.engine.attention.sdpa import SdpaBackend
from abatch.engine.attention.varlen import VarlenBackend
from abatch.engine.config import ATTENTION_NAMES, AttentionName, EngineConfig
from abatch.engine.errors import ConfigurationError
from abatch.engine.native import library
from abatch.engine.native.compiler import NativeError


class FakeCudaCache(KVCache):
    """Pages that say they are on CUDA."""

    def __init__(self, block_size: int) -> None:
        self.shape = KVShape(1, 2, 64, 2)
        self.num_blocks = 4
        self.block_size = block_size
        self.data = FakeCudaTensor()  # type: ignore[assignment]


class FakeCudaTensor:
    device = torch.device("cuda")
    dtype = torch.bfloat16


class FakeTriton:
    """Stands in for our kernels, which want a device."""

    def __init__(self, cache: KVCache, *, num_slots: int, max_num_pages: int) -> None:
        self.arguments = cache, num_slots, max_num_pages


@pytest.fixture
def cpu_cache() -> KVCache:
    return KVCache(KVShape(1, 2, 64, 2), 4, 16, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that can do everything."""
    monkeypatch.setattr(choose, "TritonBackend", FakeTriton)
    monkeypatch.setattr(choose, "triton_problem", lambda cache: None)
    monkeypatch.setattr("abatch.engine.attention.kernel_calls.store_nothing", lambda cache: None)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))


def chosen(name: AttentionName, cache: KVCache, softcap: float | None = None) -> AttentionBackend:
    return choose.choose_attention(name, cache, num_slots=3, max_num_pages=5, softcap=softcap)


@pytest.mark.usefixtures("cuda")
def test_automatic_is_triton_on_cuda() -> None:
    cache = FakeCudaCache(16)
    backend = chosen("auto", cache)
    assert isinstance(backend, FakeTriton)
    assert backend.arguments == (cache, 3, 5)
    assert isinstance(chosen("triton", cache), FakeTriton)


@pytest.mark.usefixtures("cuda")
def test_automatic_is_sdpa_where_triton_cannot_run(monkeypatch: pytest.MonkeyPatch, cpu_cache: KVCache) -> None:
    # On a CPU Triton might be interpreted, as in these tests: nobody wants that unasked.
    assert isinstance(chosen("auto", cpu_cache), NativeBackend)
    monkeypatch.setattr(choose, "triton_problem", lambda cache: "it is not installed")
    monkeypatch.setattr(choose, "SdpaBackend", lambda cache: "sdpa")
    assert chosen("auto", FakeCudaCache(16)) == "sdpa"  # type: ignore[comparison-overlap]


@pytest.mark.usefixtures("cuda")
def test_what_is_named_is_taken(cpu_cache: KVCache) -> None:
    assert isinstance(chosen("sdpa", cpu_cache), SdpaBackend)
    assert isinstance(chosen("varlen", FakeCudaCache(256)), VarlenBackend)


@pytest.mark.usefixtures("cuda")
def test_varlen_that_cannot_be_is_refused_in_one_line(cpu_cache: KVCache) -> None:
    for cache, softcap, says in [
        (cpu_cache, None, "CUDA device"),
        (FakeCudaCache(16), None, "256"),
        (FakeCudaCache(256), 50.0, "soft-capping"),
    ]:
        with pytest.raises(ConfigurationError, match=rf"^--attention varlen .*{says}.*; choose auto or sdpa$"):
            chosen("varlen", cache, softcap)


def test_triton_without_a_device_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, cpu_cache: KVCache) -> None:
    monkeypatch.setattr("triton.knobs.runtime.interpret", False)
    with pytest.raises(ConfigurationError, match=r"^--attention triton .*CUDA device.*; choose auto or sdpa$"):
        chosen("triton", cpu_cache)


def test_automatic_is_sdpa_where_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch, cpu_cache: KVCache) -> None:
    assert isinstance(chosen("native", cpu_cache), NativeBackend)

    def fail(_: object) -> None:
        raise NativeError("there is no C++ compiler (g++); install g++, or set CXX")

    monkeypatch.setattr(library, "load_library", fail)
    assert isinstance(chosen("auto", cpu_cache), SdpaBackend)
    with pytest.raises(ConfigurationError, match=r"^--attention native cannot be used: there is no C\+\+ compiler"):
        chosen("native", cpu_cache)


def test_native_is_for_cpus_and_for_the_types_it_has(cpu_cache: KVCache) -> None:
    with pytest.raises(ConfigurationError, match="it needs a CPU, and the KV is on cuda"):
        chosen("native", FakeCudaCache(16))
    cpu_cache.data = cpu_cache.data.half()
    with pytest.raises(ConfigurationError, match="there are none for float16"):
        chosen("native", cpu_cache)
    assert isinstance(chosen("auto", cpu_cache), SdpaBackend)


def test_names_are_checked_where_they_are_given() -> None:
    for name in ATTENTION_NAMES:
        assert EngineConfig(attention=name).attention == name
    with pytest.raises(ConfigurationError, match="auto, triton, native, varlen, sdpa, not 'flash'"):
        EngineConfig(attention="flash")  # type: ignore[arg-type]

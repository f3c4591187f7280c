"""Triton without a C compiler, or without Python's header files, is one line that says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.attention.choose import choose_attention
from abatch.engine.attention.kernel_calls import store_nothing
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.attention.triton_compiler import compiler_problem
from abatch.engine.errors import ConfigurationError

_MODULE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "nothing"};
PyMODINIT_FUNC PyInit_nothing(void) { return PyModule_Create(&module); }
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


def compile_as_triton_does() -> None:
    from triton.runtime.build import compile_module_from_src

    compile_module_from_src(_MODULE, "nothing")


def test_with_a_compiler_nothing_is_wanting() -> None:
    assert compiler_problem(compile_as_triton_does) is None


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert compiler_problem(compile_as_triton_does) == ("there is no C compiler; install gcc, or set CC")


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    problem = compiler_problem(compile_as_triton_does)
    assert problem is not None
    assert problem.endswith("(No such file or directory: /nowhere/cc); install gcc, or correct CC")


def test_a_compiler_that_fails_for_want_of_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert compiler_problem(compile_as_triton_does) == (
        f"the C compiler {compiler} failed with exit code 3; its output is above"
    )
    monkeypatch.setattr("sysconfig.get_paths", lambda **_: {"include": "/nowhere"})
    assert compiler_problem(compile_as_triton_does) == (
        "Python's header files are missing (/nowhere/Python.h); install them (python3-dev on Debian)"
    )


def test_other_errors_are_not_mistaken_for_it() -> None:
    def launch() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        compiler_problem(launch)


@pytest.mark.parametrize("name", ["auto", "triton"])
def test_the_engine_does_not_start_without_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        type = "cuda"

    def launch(_: KVCache) -> None:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    cache = KVCache(KVShape(1, 1, 16), 1, 16, dtype=torch.float32, device=torch.device("cpu"))

    class OnDevice:
        shape, block_size, data = cache.shape, cache.block_size, type("Data", (), {"device": Elsewhere()})()

    monkeypatch.setattr("abatch.engine.attention.choose.triton_problem", lambda _: None)
    monkeypatch.setattr("abatch.engine.attention.kernel_calls.store_nothing", launch)
    with pytest.raises(ConfigurationError, match=r"no C compiler; install gcc, .*; or give --attention sdpa"):
        choose_attention(name, OnDevice(), num_slots=1, max_num_pages=1)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are interpreted only where there is no GPU")
def test_the_kernel_that_is_tried_writes_nothing() -> None:
    cache = KVCache(KVShape(1, 2, 16, 2), 2, 4, dtype=torch.float32, device=torch.device("cpu"))
    cache.data.fill_(3.0)
    store_nothing(cache)
    assert bool((cache.data == 3.0).all())

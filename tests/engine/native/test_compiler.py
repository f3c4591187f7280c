"""How the kernels come about, and what is said where they do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from abatch.engine.native import compiler, library
from abatch.engine.native.compiler import NativeError, compiled_library
from abatch.engine.native.library import load_library

FAST = ("-std=c++17", "-O0", "-fopenmp", "-fPIC")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "abatch" / "kernels"


def test_they_are_compiled_once_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = compiled_library(folder, FAST)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [*folder.iterdir()] == [path], "nothing is left behind"
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    assert compiled_library(folder, FAST) == path, "no compiler is needed any more"
    assert load_library(torch.float32, path).panel_size > 0
    with pytest.raises(NativeError):
        compiled_library(folder, (*FAST, "-g"))


def test_another_processor_gets_a_library_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compiled_library(folder, FAST)
    monkeypatch.setattr(compiler, "_processor", lambda: "flags: none")
    assert compiled_library(folder, FAST) != path


@pytest.fixture
def broken_compiler(tmp_path: Path) -> Path:
    path = tmp_path / "broken"
    path.write_text("#!/bin/sh\necho 'note: soon' >&2\necho 'kernels.cpp:3: error: no such thing' >&2\nexit 1\n")
    path.chmod(0o755)
    return path


def test_what_is_said_without_a_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken_compiler: Path
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "gone"))
    with pytest.raises(NativeError, match=r"^there is no C\+\+ compiler \(.*gone\); install g\+\+, or set CXX$"):
        compiled_library(folder, FAST)
    monkeypatch.setenv("CXX", f"{broken_compiler} -v")
    with pytest.raises(NativeError, match=r"^.*broken failed: kernels\.cpp:3: error: no such thing$"):
        compiled_library(folder, FAST)
    assert not [*folder.iterdir()]


def test_folders_and_files_that_others_may_write_to_are_refused(folder: Path) -> None:
    path = compiled_library(folder, FAST)
    path.chmod(0o666)
    with pytest.raises(NativeError, match="others may write to it"):
        compiled_library(folder, FAST)
    path.chmod(0o755)
    folder.chmod(0o777)
    with pytest.raises(NativeError, match="others may write to it"):
        compiled_library(folder, FAST)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NativeError, match="file"):
        compiled_library(tmp_path / "file" / "kernels", FAST)


def test_they_are_kept_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "_compile", lambda path, flags: path.write_text(""))
    assert compiled_library().parent == tmp_path / "abatch" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert compiled_library().parent == tmp_path / "home" / ".cache" / "abatch" / "kernels"


@pytest.fixture
def not_loaded_yet() -> Iterator[None]:
    library._loaded.cache_clear()
    yield
    library._loaded.cache_clear()


@pytest.mark.usefixtures("not_loaded_yet")
def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NativeError, match="there are none for float16"):
        load_library(torch.float16)
    (tmp_path / "kernels.so").write_bytes(os.urandom(64))
    with pytest.raises(NativeError, match=r"they cannot be loaded: .*kernels\.so"):
        load_library(torch.float32, tmp_path / "kernels.so")
    monkeypatch.setattr(library, "_OPENMP_LIBRARIES", ("libnone",))
    with pytest.raises(NativeError, match="this build of torch computes without OpenMP"):
        load_library(torch.float32, tmp_path / "other.so")

"""From the sources beside this file to a shared library: compiled for this processor once, and kept."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import stat
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-fPIC")
_PATIENCE_S = 180.0
_MESSAGE_CHARS = 200


class NativeError(Exception):
    """There is no library, for the reason that the text gives in one line."""


def compiled_library(folder: Path | None = None, flags: tuple[str, ...] = _FLAGS) -> Path:
    """The library's file, which takes some seconds to make the first time.

    Args:
        folder: Where it is kept; by default `abatch/kernels` in the user's cache folder.
        flags: For the compiler: `$CXX`, by default g++.

    Raises:
        NativeError: it cannot be compiled, or the folder cannot be trusted.
    """
    folder = _cache_folder() if folder is None else folder
    path = folder / f"kernels-{_fingerprint(flags)}.so"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        if not path.exists():
            _compile(path, flags)
        _refuse_foreign(path)
    except OSError as error:
        raise NativeError(f"{error.filename or folder}: {error.strerror}") from error
    return path


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "abatch" / "kernels"


def _fingerprint(flags: tuple[str, ...]) -> str:
    """Of all that decides what is compiled: a home folder may be shared by machines with different processors."""
    digest = hashlib.sha256(repr((flags, platform.machine(), _processor())).encode())
    for source in sorted(SOURCES.iterdir()):
        if source.suffix in (".cpp", ".h"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """What the processor can do, as Linux puts it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _refuse_foreign(path: Path) -> None:
    """What others can write must not be loaded into this process."""
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NativeError(f"{path} belongs to another user, or others may write to it")


def _compile(path: Path, flags: tuple[str, ...]) -> None:
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as folder:
        objects, library = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
        # Linked without OpenMP, whose functions are found in the one that torch has loaded: with two of them in a
        # process, the threads of one would wait busily while those of the other work.
        _call([*compiler, *flags, "-c", str(SOURCES / "kernels.cpp"), "-o", str(objects)])
        _call([*compiler, "-shared", str(objects), "-o", str(library)])
        library.replace(path)  # whole or not at all, also if another process makes it, too


def _call(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
    except FileNotFoundError as error:
        raise NativeError(f"there is no C++ compiler ({command[0]}); install g++, or set CXX") from error
    except subprocess.TimeoutExpired as error:
        raise NativeError(f"{command[0]} took more than {_PATIENCE_S:g} s") from error
    except subprocess.CalledProcessError as error:
        errors = [line for line in error.stderr.splitlines() if "error" in line] or ["no message"]
        raise NativeError(f"{command[0]} failed: {errors[0][:_MESSAGE_CHARS]}") from error

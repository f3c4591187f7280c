"""The command line, as a user runs it: in this process, which takes no second to start, or in one of its own."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from abatch.cli.main import main

from support.process_state import ProcessState

_TERMINAL = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
"""80 columns wide and without colour, unless a test says otherwise."""


def command(*arguments: str | Path) -> list[str]:
    """The words that start `abatch` with these arguments."""
    return [sys.executable, "-P", "-m", "abatch.cli", *map(str, arguments)]


def abatch_process(
    *arguments: str | Path, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a process of its own: for tests of what only a process has."""
    environment = {**os.environ, **_TERMINAL, **variables}
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=160, check=False
    )


def abatch(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process. Exit code, output and tracebacks are those of a process of its own.

    Raises:
        AssertionError: it has left this process other than it was.
    """
    words = ["abatch", *map(str, arguments)]
    with _text_file() as output, _text_file() as errors:
        with _surroundings(cwd, variables), _no_long_collections():
            before = ProcessState.now()
            with _written_to("stdout", output), _written_to("stderr", errors):
                exit_code = _run(words)
            before.check_unchanged()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(words, exit_code, output.read(), errors.read())


def _text_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _run(words: list[str]) -> int:
    """Run `main` and end as the interpreter would."""
    usual = sys.argv
    sys.argv = words
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.argv = usual
    return 0


@contextlib.contextmanager
def _surroundings(folder: Path | None, variables: dict[str, str]) -> Iterator[None]:
    """The folder and the environment of a process."""
    environment = dict(os.environ)
    os.environ.update(_TERMINAL | variables)
    try:
        with contextlib.chdir(folder or Path.cwd()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


@contextlib.contextmanager
def _no_long_collections() -> Iterator[None]:
    """Keep the garbage collector from what tests have made; a process of its own would have little to look at."""
    gc.freeze()
    try:
        yield
        gc.collect()  # a warning about what the command left open is to be this test's
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _written_to(name: str, file: IO[str]) -> Iterator[None]:
    """Whatever this process and those that it starts write to a standard stream goes to the file."""
    usual, number = getattr(sys, name), {"stdout": 1, "stderr": 2}[name]
    usual.flush()
    kept = os.dup(number)
    os.dup2(file.fileno(), number)
    errors = "strict" if name == "stdout" else "backslashreplace"
    stream = open(number, "w", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
    setattr(sys, name, stream)
    try:
        yield
    finally:
        stream.flush()
        setattr(sys, name, usual)
        os.dup2(kept, number)
        os.close(kept)

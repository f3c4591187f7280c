"""Start a server as a child process on a free loopback port, for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp

from ..errors import AbatchError, ConfigurationError
from .child_process import environment_of_children

_STOP_GRACE_S = 10.0
_DYING_S = 60.0
"""In which a server that has dropped its connection must have ended: on a busy machine, torch takes its time to."""
_LAST_BYTES = 64 * 2**10
"""Of a log, in which a server's last words are looked for."""
_REFUSED = 2
"""Exit code of commands that cannot do what was asked."""


class LaunchError(AbatchError):
    """The server did not come up."""


@asynccontextmanager
async def launched_server(
    make_command: Callable[[list[str]], Sequence[str]], log: Path, *, startup_timeout_s: float
) -> AsyncIterator[str]:
    """Run a server with a listening socket, and yield its base URL once it is healthy.

    Args:
        make_command: The command line, given the options that say how to listen and when to stop.
        log: File for the server's output.
        startup_timeout_s: How long loading may take.

    The socket is bound here and inherited (`--fd`), so no other program can take the port in between. The child's
    standard input is a pipe that only this process holds: when this process is gone, however it went, the child reads
    the end of it and stops (`--exit-on-eof`).

    Raises:
        ConfigurationError: the server refused its options.
        LaunchError: the process ended otherwise, or did not become healthy in time. Its text ends with what the server
            said. Or the log cannot be written.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = ["--fd", str(listener.fileno()), "--exit-on-eof", "--drain-timeout", str(_STOP_GRACE_S / 2)]
        command = make_command(options)
        with _new_log(log) as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment_of_children(),
                pass_fds=[listener.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                # Ctrl-C is for us: we stop the server when its last requests are recorded.
                start_new_session=True,
            )
    try:
        await _until_healthy(url, process, log, startup_timeout_s)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_GRACE_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_healthy(url: str, process: asyncio.subprocess.Process, log: Path, timeout_s: float) -> None:
    # The socket listens already, so one request waits in its backlog until the server takes it.
    healthy, ended = asyncio.create_task(_get_health(url, timeout_s)), asyncio.create_task(process.wait())
    await asyncio.wait({healthy, ended}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        healthy.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError, OSError, TimeoutError):
            await healthy
        raise _failure(process, log, f"the server did not start (exit code {process.returncode})")
    ended.cancel()
    try:
        status = healthy.result()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _DYING_S)  # dying servers drop connections first
        raise _failure(process, log, "the server did not become healthy") from error
    if status != 200:
        raise LaunchError(f"the server answers {status} to /health: {_last_words(log)}")


def _failure(process: asyncio.subprocess.Process, log: Path, what: str) -> AbatchError:
    """The server's own error if it refused its options, else that it failed and what it said last."""
    if process.returncode == _REFUSED:
        return ConfigurationError(_last_words(log))
    return LaunchError(f"{what}: {_last_words(log)}")


async def _get_health(url: str, timeout_s: float) -> int:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession() as http, http.get(f"{url}/health", timeout=timeout) as response:
        return response.status


def _new_log(path: Path) -> BinaryIO:
    try:
        path.unlink(missing_ok=True)  # of a server that failed to start; a link that stands there is not followed
        return path.open("xb")
    except OSError as error:
        raise LaunchError(f"cannot write {path}: {error.strerror}") from error


def _last_words(log: Path) -> str:
    """The server's own one-line error if it ended with one, else its last line and where the rest is."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            said = file.read().decode(errors="replace")
    except OSError as error:
        return f"its output {log} cannot be read: {error.strerror}"
    lines = [line for line in said.splitlines() if line.strip()]
    if lines and lines[-1].startswith("abatch: "):
        return lines[-1].removeprefix("abatch: ")
    return f"{lines[-1].strip() if lines else 'it said nothing'} (full output: {log})"

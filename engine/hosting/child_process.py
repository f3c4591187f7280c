"""Our child processes, and how to talk to them: length-prefixed MessagePack on a socket pair."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TypeVar

import msgspec

LENGTH = struct.Struct("<I")
_MAX_FRAME_BYTES = 1 << 30
_encoder = msgspec.msgpack.Encoder()
_Message = TypeVar("_Message")


def frame(message: msgspec.Struct) -> bytes:
    """A message as it goes over the socket."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[_Message]) -> _Message | None:
    """The next message; None when the other end is closed."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > _MAX_FRAME_BYTES:
            return None
        return decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@dataclass(frozen=True, slots=True)
class Child:
    """A child process and our end of the socket."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message. A child that is gone does not get it."""
        self.writer.write(frame(message))

    async def end(self, grace_s: float) -> int:
        """Close the socket, which tells it to end; kill it if it does not within `grace_s`. Returns its exit code."""
        self.writer.close()
        try:
            return await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


async def start_child(module: str) -> Child:
    """Run a module of ours, with the number of its socket's file descriptor as its only argument.

    When this process is gone, however it went, the child reads the end of the socket. Ctrl-C does not reach it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            # -P: a file in the user's folder must not take the place of a module of the same name.
            *(sys.executable, "-P", "-m", module, str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            env=environment_of_children(),
            start_new_session=True,
        )
    reader, writer = await asyncio.open_connection(sock=ours)
    return Child(process, reader, writer)


_DEFAULTS = {"HF_HUB_VERBOSITY": "error", "GOMP_SPINCOUNT": "2000"}
_KEYS = frozenset({"OPENAI_API_KEY", "ANTHROPIC_API_KEY"})


def environment_of_children() -> dict[str, str]:
    """Our environment without keys of servers: a process that needs one gets it otherwise.

    It has no options for commands either (ABATCH_SERVE_DEVICE, abatch.toml): a child's command line says everything.
    The hub's client is told to say nothing of its retries: what it raises in the end is told. Threads that have done
    their part of an operation spin for some 20 microseconds and then sleep: others need the processor, first of all the
    thread that they wait for.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("ABATCH_") and name not in _KEYS}
    return {**_DEFAULTS, **others, "ABATCH_CONFIG": "none"}

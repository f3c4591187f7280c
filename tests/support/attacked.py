"""What attacks have in common: a server, its memory, log and health, and raw bytes to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from support.servers import RunningServer, null_server, running_server, unless_given

KEY = "a-key-that-no-log-may-have"
SERVERS = ("serve", "null-server")
TTFT_MS = 400.0


@contextmanager
def attacked(name: str, *arguments: str, most_files: int | None = None) -> Iterator[Victim]:
    """One of our servers. `abatch serve` wants `KEY`; the null server answers after 0.4 s."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        if name == "serve":
            usual = {"--device": "simulated:20ms", "--max-queue": "4096", "--api-key": KEY}
            words = [word for one in usual.items() for word in unless_given(arguments, *one)]
            words += arguments
            running = running_server(*words, log=log, most_files=most_files)
        else:
            usual = {"--ttft": f"{TTFT_MS:g}", "--itl": "0"}
            words = [word for one in usual.items() for word in unless_given(arguments, *one)]
            running = null_server(*words, *arguments, log=log, most_files=most_files)
        with running as server:
            victim = Victim(name, server)
            victim.health()
            victim.mark()
            yield victim


@dataclass(slots=True)
class Victim:
    """A server under attack, and what was seen of it."""

    name: str
    server: RunningServer
    faults: list[str] = field(default_factory=list)
    _memory_bytes: int = 0
    _descriptors: int = 0
    _log_bytes: int = 0

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.server.url)
        return str(parts.hostname), int(parts.port or 0)

    def mark(self) -> None:
        """Growth counts from now on."""
        self._memory_bytes, self._descriptors = self.memory_bytes(), self.descriptors()
        self._log_bytes = self.server.log.stat().st_size

    def memory_bytes(self) -> int:
        """Resident now."""
        status = Path(f"/proc/{self.server.process.pid}/statm").read_text().split()
        return int(status[1]) * os.sysconf("SC_PAGE_SIZE")

    def grown_bytes(self) -> int:
        """How much more memory it has than at the mark."""
        return self.memory_bytes() - self._memory_bytes

    def descriptors(self) -> int:
        return self.server.num_descriptors()

    def log(self) -> str:
        """What was logged since `mark`."""
        return self.server.log.read_bytes()[self._log_bytes :].decode("utf-8", "replace")

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)

    def check_log(self, most_lines: int) -> None:
        """Few lines, no tracebacks, no key."""
        log = self.log()
        self.check(log.count("\n") <= most_lines, f"{log.count(chr(10))} lines in the log")
        self.check("Traceback" not in log, "a traceback in the log")
        self.check(KEY not in log, "the key in the log")

    def growth(self) -> str:
        """In words."""
        memory_mib = self.grown_bytes() / 2**20
        lines = self.log().count("\n")
        return f"{memory_mib:+.0f} MiB, {self.descriptors() - self._descriptors:+d} descriptors, {lines} lines of log"

    async def settle(self, most_more: int = 4, within_s: float = 30.0) -> None:
        """Until as many descriptors are open as before."""
        give_up_s = time.monotonic() + within_s
        while self.descriptors() - self._descriptors > most_more and time.monotonic() < give_up_s:  # noqa: ASYNC110 # of another process
            await asyncio.sleep(0.2)
        more = self.descriptors() - self._descriptors
        self.check(more <= most_more, f"{more} descriptors more than before")

    async def connect(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which this has been sent."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        return reader, writer

    async def answer(self, data: bytes, within_s: float) -> bytes:
        """All that comes back within this time, or until the connection is closed."""
        received = b""
        try:
            async with asyncio.timeout(within_s):
                reader, writer = await self.connect(data)
                while chunk := await reader.read(1 << 16):
                    received += chunk
        except (TimeoutError, OSError):
            pass
        else:
            received = received or b"closed"
        with contextlib.suppress(UnboundLocalError):
            writer.close()
        return received

    def health(self) -> float:
        """How many seconds a health check with a connection of its own takes; 60 if it fails."""
        started_s = time.monotonic()
        try:
            with socket.create_connection(self.address, 60.0) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                is_ok = connection.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            is_ok = False
        return time.monotonic() - started_s if is_ok else 60.0

    @asynccontextmanager
    async def health_watched(self, every_s: float = 0.1) -> AsyncIterator[list[float]]:
        """How long health checks take while the context is open; in a thread, as the attack keeps the loop busy."""
        seen: list[float] = []
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(every_s):
                seen.append(self.health())

        watching = asyncio.create_task(asyncio.to_thread(watch))
        try:
            yield seen
        finally:
            is_over.set()
            await watching


def chat(body: bytes = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}', *lines: bytes) -> bytes:
    """A request for an answer, with the key."""
    head = (
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: x",
        b"Authorization: Bearer " + KEY.encode(),
        b"Content-Length: %d" % len(body),
        *lines,
    )
    return b"\r\n".join((*head, b"", body))


def faults_of(victims: list[Victim]) -> str:
    """What did not hold, one a line."""
    return "\n".join(f"{victim.name}: {fault}" for victim in victims for fault in victim.faults)

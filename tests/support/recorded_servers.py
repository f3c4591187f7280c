"""Servers of other projects, as recorded: what they list, answer and refuse, one file each in workloads/transcripts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from aiohttp import web

from support.app_server import app_server

_FOLDER = Path(__file__).parents[1] / "workloads" / "transcripts"
_PART = re.compile(r"^== (?P<name>[a-z0-9 ]+) (?P<status>\d{3})\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A body and its status."""

    status: int
    body: bytes

    @property
    def is_stream(self) -> bool:
        """It is no JSON."""
        return self.body[:1] not in (b"{", b"[")


@cache
def recorded_servers() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


@cache
def recorded_answers(server: str) -> Mapping[str, RecordedAnswer]:
    """What a server said, by what it stands for: `models`, `chat`, `refusal`, ..."""
    text = (_FOLDER / f"{server}.txt").read_text()
    parts = list(_PART.finditer(text))
    ends = [part.start() for part in parts[1:]] + [len(text)]
    return {
        part["name"]: RecordedAnswer(int(part["status"]), text[part.end() : end].encode())
        for part, end in zip(parts, ends, strict=True)
    }


@dataclass(slots=True)
class RecordedServer:
    """A server that says again what another one said. `says` names its next answers to POSTs.

    Attributes:
        url: Without any path; the recorded server answers below every one.
    """

    answers: Mapping[str, RecordedAnswer]
    says: str = "chat"
    models: str = "models"
    url: str = ""
    requests: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Event by event, so that they arrive one after the other."""
        await request.read()
        self.requests.append(request)
        recorded = self.answers[self.models if request.method == "GET" else self.says]
        if not recorded.is_stream:
            return web.Response(status=recorded.status, body=recorded.body, content_type="application/json")
        response = web.StreamResponse(status=recorded.status, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in recorded.body.split(b"\n\n"):
            await response.write(event + b"\n\n")
        return response


@asynccontextmanager
async def recorded_server(name: str) -> AsyncIterator[RecordedServer]:
    """One of `recorded_servers()`, over HTTP."""
    server = RecordedServer(recorded_answers(name))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with app_server(app) as server.url:
        yield server

"""A whole site as a target: set-up of connections, gateway, routing, a prefix cache, workers and their metrics."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.watching.server_metrics import ServerSample

from .gateway import Gateway, Open
from .link import Delivery, Link, Wire
from .worker import Batch, Job, Rig


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site is like.

    Attributes:
        rigs: Its machines. Requests go round; if `is_sticky`, every session stays at one.
        handshake_s: What the first request of every session takes to be connected; about that.
        kept_s: For how long contexts are kept after a turn. `emptied_s`: all are lost at these moments.
        reports_cached: Whether usage says what was cached.
        adapter_every: One session in so many asks for a model that must be loaded first, which takes `adapter_s`.
        tenant: (from, to, per second): requests that nobody at this client sends, of 400 tokens in and 60 out.
        scrapes: Whether it has metrics.
    """

    rigs: tuple[Rig, ...] = (Batch(),)
    is_sticky: bool = False
    gateway: Callable[[], Gateway] = Open
    link: Link = field(default_factory=Wire)
    handshake_s: float = 0.0
    kept_s: float = math.inf
    emptied_s: tuple[float, ...] = ()
    reports_cached: bool = True
    adapter_every: int = 0
    adapter_s: float = 0.0
    tenant: tuple[float, float, float] | None = None
    scrapes: bool = False

    def target(self, seed: int) -> SiteTarget:
        """One that has not been used."""
        return SiteTarget(self, seed)


class SiteTarget:
    """See `Target`. Its clock's zero is the event loop's."""

    def __init__(self, site: Site, seed: int) -> None:
        self.samples: list[ServerSample] = []
        self._site = site
        self._random = Random(f"site/{seed}")
        self._workers = [rig.start(Random(f"site/{seed}/{place}")) for place, rig in enumerate(site.rigs)]
        self._gateway = site.gateway()
        self._number = 0
        self._sessions: dict[str, int] = {}
        self._contexts: dict[str, tuple[int, float]] = {}
        """By session: tokens, and when they were last used."""
        self._found = self._asked = 0

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        site, loop = self._site, asyncio.get_running_loop()
        number, self._number = self._number, self._number + 1
        is_first = call.session_id not in self._sessions
        session = self._sessions.setdefault(call.session_id, len(self._sessions))
        reply.sent_s = loop.time()
        if is_first and site.handshake_s:
            await asyncio.sleep(site.handshake_s * self._random.uniform(0.8, 1.3))
            reply.connect_s = loop.time() - reply.sent_s
        await asyncio.sleep(site.link.up_s(loop.time()) - loop.time())
        if not await self._gateway.enter(self._random):
            return reply.fail("http_429", "rate limit reached")
        prompt_tokens = sum(len(str(message.content).split()) for message in call.messages)
        cached = min(self._cached(call.session_id, loop.time()), prompt_tokens - 1)
        self._found, self._asked = self._found + cached, self._asked + prompt_tokens
        delivery = Delivery(site.link, number, reply, self._random, loop.create_future())
        job = Job(delivery, prompt_tokens, call.max_tokens, prompt_tokens - cached)
        if site.adapter_every and session % site.adapter_every == site.adapter_every - 1:
            job.extra_s = site.adapter_s
        place = crc32(call.session_id.encode()) if site.is_sticky else number
        self._workers[place % len(self._workers)].submit(job)
        await delivery.ended
        reply.finish_reason, reply.output_tokens, reply.prompt_tokens = "length", call.max_tokens, prompt_tokens
        reply.cached_tokens = cached if site.reports_cached else None
        reply.text.append(" ".join(["t"] * call.max_tokens))
        self._contexts[call.session_id] = prompt_tokens + call.max_tokens, loop.time()
        return None

    def _cached(self, session_id: str, now_s: float) -> int:
        tokens, used_s = self._contexts.get(session_id, (0, now_s))
        is_lost = now_s - used_s > self._site.kept_s or any(used_s <= at_s < now_s for at_s in self._site.emptied_s)
        return 0 if is_lost else tokens

    def others(self) -> list[Coroutine[None, None, None]]:
        """What goes on beside the client's requests, to be run until cancelled."""
        tasks = [self._scrape()] if self._site.scrapes else []
        return [*tasks, self._serve_tenant()] if self._site.tenant else tasks

    async def _serve_tenant(self) -> None:
        """Serve those whom the client knows nothing of."""
        loop = asyncio.get_running_loop()
        from_s, to_s, per_s = self._site.tenant or (math.inf, 0.0, 1.0)
        random = Random("tenant")
        await asyncio.sleep(min(from_s, 1e6))
        while loop.time() < to_s:
            delivery = Delivery(Wire(), 0, Reply(), random, loop.create_future())
            random.choice(self._workers).submit(Job(delivery, 400, 60, 400))
            await asyncio.sleep(random.expovariate(per_s))

    async def _scrape(self) -> None:
        """Note the site's metrics once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            loads = [worker.load() for worker in self._workers]
            self.samples.append(
                ServerSample(
                    at_s=loop.time(),
                    took_s=0.002,
                    kind="vLLM",
                    running=sum(running for running, _, _ in loads),
                    waiting=sum(waiting for _, waiting, _ in loads),
                    kv_used=max(used for _, _, used in loads),
                    preemptions=sum(worker.preemptions for worker in self._workers),
                    prefix_hit_tokens=self._found,
                    prefix_query_tokens=self._asked,
                )
            )
            await asyncio.sleep(1.0)

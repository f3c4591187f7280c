"""CPU the load generator spends per request, against a bare aiohttp client that only reads the bytes.

    python tests/benchmarks/client_cost.py [--requests N] [--rounds N]

A server in a process of its own streams 20 chunks as fast as it can. Both clients send the same requests, in turn, and
their own processor time is what is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from abatch.reports.run.config import RunConfig
from abatch.reports.run.writer import RunWriter
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.presets.agents import single_turn
from abatch.workloads.presets.scales import Scales
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.workload import ClosedLoop, Stream, Workload, drawn
from aiohttp import web

CONCURRENCY, OUTPUT_TOKENS, INPUT_TOKENS = 8, 20, 50
_CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
_END = (
    b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":50,"completion_tokens":20,"total_tokens":70}}\n\n'
    b"data: [DONE]\n\n"
)


def serve(ready: Connection) -> None:
    """Answer every chat request with 20 chunks, each written by itself."""

    async def chat(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(OUTPUT_TOKENS):
            await response.write(_CHUNK)
            await asyncio.sleep(0.001)
        await response.write(_END)
        return response

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def bare_client(url: str, num_requests: int) -> None:
    """Send, read to the end, look at nothing."""
    body = b'{"model":"x","stream":true,"messages":[{"role":"user","content":"%s"}]}' % (b"word " * INPUT_TOKENS)
    left = iter(range(num_requests))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def worker() -> None:
            for _ in left:
                headers = {"Content-Type": "application/json"}
                async with http.post(f"{url}/v1/chat/completions", data=body, headers=headers) as response:
                    async for _data in response.content.iter_any():
                        pass

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


async def abatch_client(url: str, num_requests: int) -> None:
    """The whole measuring path: generator, timing, histograms, run folder. Not what is made of it when all is over."""
    make = single_turn("chat", Scales(), input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
    workload = Workload("cost", "", (Stream("cost", drawn("cost", make), ClosedLoop(CONCURRENCY)),))
    target = await HttpTarget.connect(url, model="x", api_key=None, headers={}, timeout_s=60)
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder), RunConfig())
        writer.start()
        sizer = await target.calibrate()
        limits = RunLimits(duration_s=None, num_sessions=num_requests)
        await LoadGenerator(workload, target, limits, seed=0, sizer=sizer, on_result=writer.add).run()
        writer.close()
    await target.close()
    totals = writer.recorder.totals
    assert totals.succeeded == num_requests, totals.errors


def processor_s(client: Callable[[str, int], Awaitable[None]], url: str, num_requests: int) -> float:
    """Processor seconds of this process while the client runs."""

    async def run() -> None:
        await client(url, num_requests)

    started_s = time.process_time()
    asyncio.run(run())
    return time.process_time() - started_s


def main() -> None:
    """Measure both in turn and print what a request costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}"
    costs: dict[str, list[float]] = {"bare aiohttp": [], "abatch": []}
    for client in (bare_client, abatch_client):
        processor_s(client, url, 50)
    for _ in range(arguments.rounds):
        costs["bare aiohttp"].append(processor_s(bare_client, url, arguments.requests) / arguments.requests * 1e3)
        costs["abatch"].append(processor_s(abatch_client, url, arguments.requests) / arguments.requests * 1e3)
    server.terminate()
    for name, values in costs.items():
        print(f"{name}: {statistics.median(values):.3f} ms CPU a request ({min(values):.3f}-{max(values):.3f})")
    ratios = [ours / bare for ours, bare in zip(costs["abatch"], costs["bare aiohttp"], strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()

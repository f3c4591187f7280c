"""One of several processes that send a run's traffic, started by `Workers`.

It is run as `python -m abatch.cli.measuring.worker_process FD`.

It sends, times and records its share as a run with one process would, into a file of its own.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from ...engine.errors import AbatchError
from ...engine.hosting.child_process import frame, receive
from ...engine.hosting.precise_loop import new_precise_loop
from ...reports.recording.goodput import parse_objectives
from ...reports.recording.recorder import Recorder
from ...reports.run.line_file import LineFile
from ...workloads.load_generator import LoadGenerator
from ...workloads.result import Result
from ...workloads.targets.http_target import HttpTarget
from ...workloads.watching.client_watch import ClientWatch
from .traffic import TrafficRecipe
from .worker_messages import CannotSend, CanSend, Counted, Ended, Go, SendShare, Stop, to_worker_decoder

_COUNT_EVERY_S = 0.5


class _ShareOfTraffic:
    def __init__(self, start: SendShare, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start = start
        self._reader = reader
        self._writer = writer

    async def work(self) -> None:
        """From the first message to the last."""
        try:
            target = await self._start.connection.open(self._start.settings.model)
            try:
                await self._send_share(target)
            finally:
                await target.close()
        except AbatchError as error:
            self._say(CannotSend(str(error)))
        await self._writer.drain()

    async def _send_share(self, target: HttpTarget) -> None:
        start = self._start
        target.settings, target.engine, target.run_id = start.settings, start.engine, start.run_id
        recipe: TrafficRecipe = pickle.loads(start.traffic)
        traffic = recipe.make()
        self._say(CanSend())
        go = await receive(self._reader, to_worker_decoder)
        if not isinstance(go, Go):
            return
        objectives = () if start.goodput is None else parse_objectives(start.goodput)
        recorder = Recorder(start.measured, objectives, idle=start.idle)
        problems: list[str] = []

        def stop_at(problem: str) -> None:
            problems.append(problem)
            generator.stop()

        with closing(LineFile(Path(start.results), stop_at)) as log:

            def on_result(result: Result) -> None:
                recorder.add(result)
                log.add(result)

            generator = LoadGenerator(
                traffic.workload,
                target,
                traffic.limits,
                seed=traffic.seed,
                sizer=start.sizer,
                on_result=on_result,
                share=start.share,
                text_salt=traffic.text_salt,
            )
            watch = ClientWatch()
            limits = traffic.limits
            beside = [
                asyncio.create_task(watch.run(limits.warmup_s, limits.duration_s, go.origin_s)),
                asyncio.create_task(self._obey(generator)),
                asyncio.create_task(self._count(generator)),
            ]
            try:
                outcome = await generator.run(go.origin_s)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        self._say(
            Ended(
                sending_s=outcome.sending_s,
                counts=generator.counts,
                audit=watch.audit(),
                recorder=pickle.dumps(recorder),
                num_skipped=traffic.trace.num_skipped if traffic.trace is not None else 0,
                problem=next(iter(problems), ""),
            )
        )

    async def _obey(self, generator: LoadGenerator) -> None:
        while await receive(self._reader, to_worker_decoder) == Stop():
            generator.stop()
        os._exit(1)  # the run is gone, and what has ended is on disk

    async def _count(self, generator: LoadGenerator) -> None:
        while True:
            await asyncio.sleep(_COUNT_EVERY_S)
            self._say(Counted(generator.counts))

    def _say(self, message: msgspec.Struct) -> None:
        self._writer.write(frame(message))


async def _work(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    with closing(writer):
        start = await receive(reader, to_worker_decoder)
        if isinstance(start, SendShare):
            await _ShareOfTraffic(start, reader, writer).work()


def main() -> None:
    """Work for the process at the other end of the socket whose file descriptor is the first argument."""
    # Service managers send SIGTERM to all processes of a service. Only the run ends us: with a message, or by
    # closing the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=new_precise_loop) as runner:
        runner.run(_work(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()

"""The processes that send a run's traffic between them, as the run sees them."""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...engine.errors import AbatchError, ConfigurationError
from ...engine.hosting.child_process import Child, receive, start_child
from ...reports.run.line_file import read_lines
from ...reports.run.result_log import shard
from ...reports.run.writer import RunWriter
from ...workloads.load_generator import RunCounts, RunOutcome
from ...workloads.result import Result
from ...workloads.share import Share
from ...workloads.targets.http_connection import Connection
from ...workloads.targets.http_target import HttpTarget
from ...workloads.targets.prompts import PromptSizer
from ...workloads.watching.client_audit import ClientAudit, merge_audits
from .traffic import Traffic
from .worker_messages import CannotSend, CanSend, Counted, Ended, FromWorker, Go, SendShare, Stop, from_worker_decoder

_EXIT_GRACE_S = 5.0
_STOP_GRACE_S = 30.0
"""For a worker to report, once it was told to stop. Then it is killed, and its results are read from its file."""


class WorkerError(AbatchError):
    """A worker ended before its share of the traffic did."""


class _WorkerChild:
    """One of them."""

    def __init__(self, number: int, child: Child) -> None:
        self.number = number
        self.child = child
        self.counts = RunCounts()
        self.ended: Ended | None = None

    async def receive(self) -> FromWorker:
        """Its next message.

        Raises:
            ConfigurationError: it refuses what it was asked for.
            WorkerError: it has ended.
        """
        message = await receive(self.child.reader, from_worker_decoder)
        if isinstance(message, CannotSend):
            raise ConfigurationError(message.message)
        if message is None:
            code = await self.child.end(_EXIT_GRACE_S)
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise WorkerError(f"worker {self.number} ended unexpectedly ({how})")
        return message


class Workers:
    """Several processes. See `Sender`; `started_workers` makes them."""

    def __init__(self, workers: list[_WorkerChild], writer: RunWriter) -> None:
        self._workers = workers
        self._writer = writer
        self._origin_s = 0.0
        self._error: AbatchError | None = None

    @property
    def counts(self) -> RunCounts:
        """How far all of them have got, as of their last message."""
        return RunCounts.total(worker.counts for worker in self._workers)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return asyncio.get_running_loop().time() - self._origin_s

    @property
    def num_skipped(self) -> int:
        """Bad rows of the trace left out: each worker reads all rows."""
        return max((worker.ended.num_skipped for worker in self._workers if worker.ended is not None), default=0)

    async def run(self, origin_s: float) -> RunOutcome:
        """Have them send, from `origin_s` of the loop's clock on, and merge what comes into the recorder of the writer.

        Raises:
            AbatchError: one of them ended or failed. The others were stopped then; what all had so far is merged.
        """
        self._origin_s = origin_s
        for worker in self._workers:
            worker.child.send(Go(origin_s))
        await asyncio.gather(*map(self._follow, self._workers))
        for worker in self._workers:
            self._merge(worker)
        if self._error is not None:
            raise self._error
        sending_s = max(worker.ended.sending_s for worker in self._workers if worker.ended is not None)
        return RunOutcome(sending_s, self.elapsed_s)

    def stop(self) -> None:
        """End the run now."""
        for worker in self._workers:
            worker.child.send(Stop())
        asyncio.get_running_loop().call_later(_STOP_GRACE_S, self._kill)

    def audit(self) -> ClientAudit | None:
        """What held them up, all together."""
        audits = [worker.ended.audit for worker in self._workers if worker.ended is not None]
        return merge_audits(audits) if audits else None

    async def _follow(self, worker: _WorkerChild) -> None:
        try:
            while worker.ended is None:
                match await worker.receive():
                    case Counted(counts):
                        worker.counts = counts
                    case Ended() as ended:
                        worker.ended, worker.counts = ended, ended.counts
                        if ended.problem:
                            self._writer.give_up(ended.problem)
        except AbatchError as error:
            if self._error is None:
                self._error = error
                self.stop()

    def _merge(self, worker: _WorkerChild) -> None:
        recorder = self._writer.recorder
        if worker.ended is not None:
            recorder.merge(pickle.loads(worker.ended.recorder))
            return
        for result in read_lines(self._writer.folder / shard(worker.number), Result):
            recorder.add(result)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.ended is None and worker.child.process.returncode is None:
                worker.child.process.kill()


@asynccontextmanager
async def started_workers(
    count: int, traffic: Traffic, connection: Connection, target: HttpTarget, sizer: PromptSizer, writer: RunWriter
) -> AsyncIterator[Workers]:
    """Workers that are ready to go, until the context is left.

    Args:
        count: How many.
        traffic: What they send between them.
        connection: Where to.
        target: The same server, and what was found out about it.
        sizer: How it counts tokens.
        writer: The run's. In its folder each worker has a file (see `shard`).

    Raises:
        AbatchError: one of them cannot begin.
    """
    workers: list[_WorkerChild] = []
    try:
        for index in range(count):
            child = await start_child("abatch.cli.measuring.worker_process")
            workers.append(_WorkerChild(index + 1, child))
            child.send(
                SendShare(
                    share=Share(index, count),
                    traffic=pickle.dumps(traffic.recipe),
                    connection=connection,
                    settings=target.settings,
                    engine=target.engine,
                    sizer=sizer,
                    run_id=f"{target.run_id}-{index + 1}",
                    results=str(writer.folder / shard(index + 1)),
                    measured=writer.config.measured,
                    goodput=writer.config.goodput,
                    idle=writer.config.idle,
                )
            )
        for worker in workers:
            assert isinstance(await worker.receive(), CanSend)
        yield Workers(workers, writer)
    finally:
        await asyncio.gather(*(worker.child.end(_EXIT_GRACE_S) for worker in workers))

"""Writing a run folder while the run goes on: what has ended is saved, whatever comes next."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Callable
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...engine.loop.step_account import EngineTotals
from ...workloads.result import Result
from ...workloads.watching.client_audit import ClientAudit
from ...workloads.watching.server_metrics import ServerSample
from ..atomic_file import DiskError, write_atomically
from ..recording.recorder import Recorder
from ..summary.client import ClientFloor, summarise_client
from ..summary.engine import summarise_engine
from ..summary.summary import Summary
from ..text import encoded_json
from ..traffic.extent import UnsentSummary
from .config import RunConfig
from .folder import CONFIG, HISTOGRAMS, SERVER_LOG, STEPS, SUMMARY, RunReader, add_server_and_causes, holds_other_things
from .histogram_log import write_histograms
from .line_file import LineFile
from .recorded_part import RecordedPart, recorded_part, summarise
from .result_log import RESULTS, shard
from .server_log import ServerLog


class NotSavedError(DiskError):
    """A run was measured, but its folder lacks something of it.

    Attributes:
        summary: What was measured, to be shown all the same.
    """

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


class RunWriter:
    """Writes a run folder. Where the disk is full or gone, the run goes on in memory, and `problem` says why."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        """Create the folder and write the configuration. A folder in which a run failed to start is taken over.

        Raises:
            ConfigurationError: the folder holds something else already, another run is writing to it, or it cannot be
                made.
        """
        self.folder = folder
        self.recorder = Recorder()
        self.config = config
        self.watchers: list[Callable[[Result], None]] = []
        """Called after each result that this process records."""
        self.problem = ""
        """Why not all of the run can be saved; empty if it can."""
        self.on_problem: Callable[[], None] = lambda: None
        """Called once, where there is one."""
        self._results: LineFile | None = None
        self._server = ServerLog(folder, self.give_up)
        self._num_workers = 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._unlock = _locked(folder, self)
            if holds_other_things(folder):
                self._unlock()
                raise ConfigurationError(f"{folder} is not empty; give --output a new folder")
            for name in (STEPS, SERVER_LOG):
                (folder / name).unlink(missing_ok=True)  # of the run that failed to start here
        except OSError as error:
            raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
        try:
            self.save_config()
        except ConfigurationError:
            self.abandon()
            raise

    def start(self, num_workers: int = 1) -> None:
        """From now on there are results; the configuration is saved again, with what is known of the target by now.

        More workers than one append to files of their own (see `shard`); their recorders are to be merged into ours.

        Raises:
            ConfigurationError: the disk is full.
        """
        self.save_config()
        self._num_workers = num_workers
        try:
            if num_workers == 1:
                self._results = LineFile(self.folder / RESULTS, self.give_up)
            for worker in range(1, num_workers + 1) if num_workers > 1 else ():
                (self.folder / shard(worker)).touch()
        except OSError as error:
            raise ConfigurationError(f"cannot write to {self.folder}: {error.strerror}") from error
        self.recorder = self.config.new_recorder()

    def add(self, result: Result) -> None:
        """Record a result and append it to the folder."""
        assert self._results is not None, "start comes first"
        self.recorder.add(result)
        self._results.add(result)
        for watcher in self.watchers:
            watcher(result)

    def add_server_sample(self, sample: ServerSample) -> None:
        """Append a sample of the server's metrics."""
        self._server.add(sample)

    def give_up(self, problem: str) -> None:
        """Not all of the run can be saved, for this reason."""
        if not self.problem:
            self.problem = problem
            self.on_problem()

    def save_config(self) -> None:
        """Write the configuration again, as it is by now.

        Raises:
            ConfigurationError: it cannot be written.
        """
        try:
            write_atomically(self.folder / CONFIG, encoded_json(self.config))
        except OSError as error:
            raise ConfigurationError(f"cannot write to {self.folder}: {error.strerror}") from error

    def abandon(self) -> None:
        """The run never started: leave nothing that looks like one. A server's log stays, it says why."""
        self.close()
        for name in (CONFIG, STEPS, RESULTS, *(shard(worker) for worker in range(1, self._num_workers + 1))):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def close(self) -> None:
        """Write nothing more. Without `finish`, the run counts as interrupted."""
        if self._results is not None:
            self._results.close()
        self._server.close()
        self._unlock()

    def finish(
        self,
        measured_s: float,
        *,
        is_complete: bool,
        abandoned_turns: int = 0,
        engine: EngineTotals | None = None,
        client: ClientAudit | None = None,
        floor: ClientFloor | None = None,
        unsent: UnsentSummary | None = None,
    ) -> Summary:
        """Write histograms, then the summary. A run of which not all results are on disk gets neither.

        Raises:
            NotSavedError: the disk is full or gone. The error has the summary.
        """
        self.close()
        is_complete = is_complete and not self.problem
        part = RecordedPart(self.recorder, self.config.warmup_s, measured_s, None)
        try:
            run = RunReader(self.folder)
            part = recorded_part(self.config, self.recorder, measured_s, run.results)
        except ConfigurationError as error:
            self.give_up(str(error))
        summary = summarise(self.config, part)
        summary.is_complete = is_complete
        summary.abandoned_turns = abandoned_turns
        summary.unsent = unsent
        summary.engine = None if engine is None else summarise_engine(engine)
        summary.client = None if client is None else summarise_client(client, self._num_workers, floor)
        if not self.problem:
            try:
                add_server_and_causes(run, part, summary)
                write_histograms(self.folder / HISTOGRAMS, part.recorder, part.measured_s)
                write_atomically(self.folder / SUMMARY, encoded_json(summary))
            except OSError as error:
                self.give_up(str(error.strerror))
            except ConfigurationError as error:  # somebody has changed or removed the folder
                self.give_up(str(error))
        if self.problem:
            raise NotSavedError(f"not all of the run could be saved in {self.folder}: {self.problem}", summary)
        return summary


def _locked(folder: Path, owner: RunWriter) -> Callable[[], object]:
    """Keep other runs out of a folder until what is returned is called, or the owner is gone, or this process.

    Raises:
        ConfigurationError: another run is in there.
        OSError: the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(f"another run is writing to {folder}; give --output a new folder") from None
    except OSError:
        pass  # a file system without locks
    return weakref.finalize(owner, os.close, descriptor)

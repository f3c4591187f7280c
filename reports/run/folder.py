"""A run as a folder on disk: written so that a crash at any moment leaves something that can be read.

config.json       first: what was asked for, and of which software on which machine
server.jsonl      the server's metrics, one sample per line, appended as they come; only if there are any
results.jsonl     one result per line, appended as they end; of several workers, results.1.jsonl and so on
histograms.hlog   standard HdrHistogram log, one tagged histogram for each metric and class
steps.jsonl       on request: what each step of our own engine did (`StepRecord`)
summary.json      last, and atomically: a folder without it was interrupted
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from hdrh.histogram import HdrHistogram

from ...engine.errors import ConfigurationError
from ...engine.loop.step_account import EngineTotals
from ...engine.loop.step_log import StepRecord
from ...workloads.result import Result
from ...workloads.watching.client_watch import ClientAudit
from ...workloads.watching.server_metrics import ServerSample
from ..atomic_file import write_atomically
from ..attribution.attribution import attribute
from ..attribution.size import tell_uneven_work
from ..recording.in_flight import SteadyState
from ..recording.recorder import JUDGED, Recorder
from ..summary.answers import answer_notes
from ..summary.client import ClientFloor, summarise_client
from ..summary.engine import summarise_engine
from ..summary.server import server_notes, summarise_server
from ..summary.steadiness import growth_notes
from ..summary.summary import SCHEMA_VERSION, Summary, fill_summary
from .config import RunConfig
from .histogram_log import by_tag, read_histograms, write_histograms
from .result_log import RESULTS, UNREADABLE, ResultLog, has_results, read_lines, read_results, shard
from .server_log import ServerLog, read_server_samples

CONFIG, HISTOGRAMS, SUMMARY = "config.json", "histograms.hlog", "summary.json"

STEPS = "steps.jsonl"
SERVER_LOG = "server.log"
"""The server's own output, if `bench` started it."""


class _Version(msgspec.Struct):
    schema_version: int


_Versioned = TypeVar("_Versioned", RunConfig, Summary)


class RunWriter:
    """Writes a run folder while the run goes on."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        """Create the folder and write the configuration. A folder in which a run failed to start is taken over.

        Raises:
            ConfigurationError: the folder holds something else already, or cannot be made.
        """
        self.folder = folder
        self.recorder = Recorder()
        self.config = config
        self.watchers: list[Callable[[Result], None]] = []
        """Called after each result that this process records."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(path.name not in (CONFIG, SERVER_LOG, STEPS) for path in folder.iterdir()):
                raise ConfigurationError(f"{folder} is not empty; give --output a new folder")
            (folder / STEPS).unlink(missing_ok=True)  # of the run that failed to start here
            self.save_config()
        except OSError as error:
            raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
        self._results: ResultLog | None = None
        self._server = ServerLog(folder)
        self._num_workers = 1

    def start(self, num_workers: int = 1) -> None:
        """From now on there are results; the configuration is saved again, with what is known of the target by now.

        More workers than one append to files of their own (see `shard`); their recorders are to be merged into ours.
        """
        self.save_config()
        self._num_workers = num_workers
        if num_workers == 1:
            self._results = ResultLog(self.folder / RESULTS)
        for worker in range(1, num_workers + 1) if num_workers > 1 else ():
            (self.folder / shard(worker)).touch()
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

    def save_config(self) -> None:
        """Write the configuration again, as it is by now."""
        write_atomically(self.folder / CONFIG, msgspec.json.format(msgspec.json.encode(self.config)) + b"\n")

    def abandon(self) -> None:
        """The run never started: leave nothing that looks like one. A server's log stays, it says why."""
        (self.folder / CONFIG).unlink(missing_ok=True)
        (self.folder / STEPS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def close(self) -> None:
        """Write nothing more. Without `finish`, the run counts as interrupted."""
        if self._results is not None:
            self._results.close()
        self._server.close()

    def finish(
        self,
        measured_s: float,
        *,
        is_complete: bool,
        abandoned_turns: int = 0,
        engine: EngineTotals | None = None,
        client: ClientAudit | None = None,
        floor: ClientFloor | None = None,
    ) -> Summary:
        """Write histograms, then the summary."""
        self.close()
        part = recorded_part(self.config, self.recorder, measured_s, RunReader(self.folder).results)
        summary = summarise(self.config, part)
        summary.is_complete = is_complete
        summary.abandoned_turns = abandoned_turns
        summary.engine = None if engine is None else summarise_engine(engine)
        summary.client = None if client is None else summarise_client(client, self._num_workers, floor)
        _add_server_and_causes(RunReader(self.folder), part, summary)
        write_histograms(self.folder / HISTOGRAMS, part.recorder, part.measured_s)
        write_atomically(self.folder / SUMMARY, msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
        return summary


class RunReader:
    """Reads a run folder, whole or interrupted."""

    def __init__(self, folder: Path, traffic_class: str | None = None) -> None:
        """Open a folder. `traffic_class`: what the verdict shall be about; None: what it was about at the time.

        Raises:
            ConfigurationError: it is not a run folder.
        """
        self.folder = folder
        try:
            raw = (folder / CONFIG).read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not folder.exists():
                raise ConfigurationError(f"there is no folder {folder}") from None
            raise ConfigurationError(f"{folder} is not a run folder: there is no readable {CONFIG} in it") from None
        self.config = _decode(raw, RunConfig, folder / CONFIG)
        self.config.verdict_class = traffic_class or self.config.verdict_class

    def results(self) -> Iterator[Result]:
        """The results in the order in which they ended, one at a time.

        A last line that was cut off by a crash is left out.

        Raises:
            ConfigurationError: any other line is damaged.
        """
        return read_results(self.folder)

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its end: one that never got to write its summary did not."""
        saved = self._saved_summary()
        return saved is not None and saved.is_complete

    @property
    def has_results(self) -> bool:
        """Whether its results are there, and not only what was made of them."""
        return has_results(self.folder)

    def steps(self) -> Iterator[StepRecord]:
        """The engine's step log, one step at a time; nothing if the run has none."""
        if (self.folder / STEPS).exists():
            yield from read_lines(self.folder / STEPS, StepRecord)

    def server_samples(self) -> Iterator[ServerSample]:
        """The server's metrics, one sample at a time, in order; nothing if there are none."""
        return read_server_samples(self.folder)

    def summary(self) -> Summary:
        """The saved summary; made from the results if the run never got to write one, or wrote it of another class.

        Raises:
            ConfigurationError: it is damaged, of a later version of the format, or the run has no such class.
        """
        saved = self._saved_summary()
        if saved is not None and saved.verdict_class == self.config.verdict_class:
            return saved
        return self._summary_from_results(saved)

    def _saved_summary(self) -> Summary | None:
        path = self.folder / SUMMARY
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        return _decode(raw, Summary, path)

    def histograms(self) -> Mapping[str, HdrHistogram]:
        """The histograms of what the summary is about, by tag `metric.class`, metrics in reporting order.

        Raises:
            ConfigurationError: they, or the results of a run that never got to write them, are damaged.
        """
        if (self.folder / HISTOGRAMS).exists():
            return read_histograms(self.folder / HISTOGRAMS)
        return by_tag(self.recorded().recorder)

    def recorded(self, timed: Sequence[str] = JUDGED) -> RecordedPart:
        """Its results recorded again: the part that its summary is about. `timed`: metrics to be kept by time too."""
        recorder = self.config.new_recorder(timed=timed)
        last_s = 0.0
        for result in self.results():
            recorder.add(result)
            last_s = min(max(last_s, result.end_s), self.config.measured[1])
        measured_s = max(0.0, last_s - self.config.warmup_s)
        if (saved := self._saved_summary()) is not None:
            steady = saved.steady_state if self.config.steady_state else None
            measured_s = saved.measured_s if steady is None else steady.to_s - self.config.warmup_s
        return recorded_part(self.config, recorder, measured_s, self.results, timed)

    def _summary_from_results(self, saved: Summary | None) -> Summary:
        """`saved`: of another class; it knows what no result says."""
        part = self.recorded()
        summary = summarise(self.config, part)
        summary.is_complete = False
        if saved is not None:
            _check_class(self.folder, summary)
            for name in ("is_complete", "abandoned_turns", "engine", "client"):
                setattr(summary, name, getattr(saved, name))
        _add_server_and_causes(self, part, summary)
        return summary


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """What was recorded of a run: of the whole measured part, or of the steady part of it where that was asked for.

    Attributes:
        start_s: When the part begins, in seconds since the run began; it is `measured_s` long.
        steady: The steady part of the run, asked for or not; None if it was too short to have one.
    """

    recorder: Recorder
    start_s: float
    measured_s: float
    steady: SteadyState | None


def recorded_part(
    config: RunConfig,
    recorder: Recorder,
    measured_s: float,
    results: Callable[[], Iterable[Result]],
    timed: Sequence[str] = JUDGED,
) -> RecordedPart:
    """The part of a run that its summary is about.

    Args:
        config: The run's.
        recorder: What was recorded of the whole run.
        measured_s: How long its measured part was.
        results: Starts a new pass over its results.
        timed: Metrics to be kept by time too.
    """
    steady = recorder.in_flight.steady_state(config.warmup_s + measured_s)
    if not config.steady_state or steady is None:
        return RecordedPart(recorder, config.warmup_s, measured_s, steady)
    recorder = config.new_recorder((steady.from_s, steady.to_s), timed)
    for result in results():
        is_outside = not steady.from_s <= result.due_s < steady.to_s
        recorder.add(msgspec.structs.replace(result, warmup=is_outside))
    return RecordedPart(recorder, steady.from_s, steady.to_s - steady.from_s, steady)


def summarise(config: RunConfig, part: RecordedPart) -> Summary:
    """The summary of a recorded part."""
    summary = fill_summary(config.new_summary(), part.recorder, part.measured_s)
    summary.steady_state = part.steady
    summary.warnings += [*growth_notes(summary), *answer_notes(summary)]
    return summary


def _check_class(folder: Path, summary: Summary) -> None:
    known = dict.fromkeys(name for by_class in summary.metrics.values() for name in by_class)
    if known and summary.verdict_class not in known:
        raise ConfigurationError(f"{folder} has no class {summary.verdict_class!r}; it has {', '.join(known)}")


def _add_server_and_causes(run: RunReader, part: RecordedPart, summary: Summary) -> None:
    to_s = part.start_s + summary.measured_s
    known_rate = 0.0 if summary.share_without_tokens else summary.output_tokens_per_s
    summary.server = summarise_server(run.server_samples(), part.start_s, to_s, known_rate)
    summary.warnings += server_notes(summary.server)
    if summary.cache is not None and summary.server is not None:
        summary.cache.server_hit_share = summary.server.prefix_hit_share
    summary.attribution = attribute(
        run.results, summary, run.steps(), run.config.origin_s, samples=run.server_samples()
    )
    tell_uneven_work(summary)


def default_folder(workload: str) -> Path:
    """Where a run goes that was given no folder: `runs/DATE-TIME-WORKLOAD`, made here so that no other run gets it."""
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{workload}"
    for number in itertools.count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(f"cannot make {folder}: {error.strerror}; give --output a folder") from error
        return folder
    raise AssertionError("unreachable")


def _decode(raw: bytes, kind: type[_Versioned], path: Path) -> _Versioned:
    """Decode a file of this format, having looked at its version first."""
    try:
        version = msgspec.json.decode(raw, type=_Version).schema_version
        if version > SCHEMA_VERSION:
            raise ConfigurationError(f"{path} has schema version {version}; a newer abatch wrote it")
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from error

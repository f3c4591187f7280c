"""A run as a folder on disk: written so that a crash at any moment leaves something that can be read.

config.json       first: what was asked for, and of which software on which machine
server.jsonl      the server's metrics, one sample per line, appended as they come; only if there are any
results.jsonl     one result per line, appended as they end; of several workers, results.1.jsonl and so on
histograms.hlog   standard HdrHistogram log, one tagged histogram for each metric and class
steps.jsonl       on request: what each step of our own engine did (`StepRecord`)
summary.json      last, and atomically: a folder without it was interrupted
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from hdrh.histogram import HdrHistogram

from ...engine.errors import ConfigurationError
from ...engine.loop.step_log import StepRecord
from ...workloads.regular_file import read_regular
from ...workloads.result import Result
from ...workloads.traffic_classes import listed_classes
from ...workloads.watching.server_metrics import ServerSample
from ..recording.recorder import JUDGED, Recorder
from ..summary.server import server_notes, summarise_server
from ..summary.summary import SCHEMA_VERSION, Summary
from ..summary.torn import MAX_TORN_SHARE, is_of_results, torn_notes
from .config import RunConfig
from .histogram_log import by_tag, read_histograms, tag
from .line_file import UNREADABLE, read_lines
from .recorded_part import RecordedPart, recorded_part, summarise
from .result_log import has_results, read_results
from .server_log import read_server_samples

CONFIG, HISTOGRAMS, SUMMARY = "config.json", "histograms.hlog", "summary.json"
COMPARISON, SWEEP, ROUND = "comparison.json", "sweep.json", "round-"
"""Of a comparison and a sweep: they lie beside the folders of their runs. Those of a comparison are numbered rounds."""

STEPS = "steps.jsonl"
SERVER_LOG = "server.log"
"""The server's own output, if `bench` started it."""

MOST_CONFIG_BYTES = 4 * 2**20
"""Of config.json. Ours have a few kilobytes; the longest lists of rules and probes, a hundred."""
MOST_SUMMARY_BYTES = 32 * 2**20
"""Of summary.json. A thousand traffic classes take 10 MB."""


class _Version(msgspec.Struct):
    schema_version: Annotated[int, msgspec.Meta(ge=1, le=2**31)]


_Versioned = TypeVar("_Versioned", RunConfig, Summary)


class RunReader:
    """Reads a run folder, whole or interrupted."""

    def __init__(self, folder: Path, traffic_class: str | None = None, goodput: str | None = None) -> None:
        """Open a folder.

        Args:
            folder: The run's.
            traffic_class: What the verdict shall be about; None: what it was about at the time.
            goodput: Objectives that requests are counted by; None: those of the time, if there were any.

        Raises:
            ConfigurationError: it is not a run folder.
        """
        self.folder = folder
        self.torn: Counter[str] = Counter()
        """Lines that were left out, by file, of those that were read so far (see `read_lines`)."""
        try:
            raw = read_regular(folder / CONFIG, MOST_CONFIG_BYTES, follows_links=False)
        except FileNotFoundError:
            if not folder.exists():
                raise ConfigurationError(f"there is no folder {folder}") from None
            raise ConfigurationError(f"{folder} is not a run folder: there is no {CONFIG} in it") from None
        except NotADirectoryError:
            raise ConfigurationError(f"{folder} is not a run folder") from None
        except OSError as error:
            raise ConfigurationError(f"cannot read {folder / CONFIG}: {error.strerror}") from None
        self.config = _decode(raw, RunConfig, folder / CONFIG)
        self._has_saved_view = goodput in (None, self.config.goodput)
        self.config.verdict_class = traffic_class or self.config.verdict_class
        self.config.goodput = goodput or self.config.goodput

    def results(self) -> Iterator[Result]:
        """The results in the order in which they ended, one at a time.

        Lines that were torn are left out, and counted in `torn`.

        Raises:
            ConfigurationError: a file is not one of results (see `read_lines`).
        """
        return read_results(self.folder, self.torn)

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
        if os.path.lexists(self.folder / STEPS):
            yield from read_lines(self.folder / STEPS, StepRecord, self.torn)

    def server_samples(self) -> Iterator[ServerSample]:
        """The server's metrics, one sample at a time, in order; nothing if there are none."""
        return read_server_samples(self.folder, self.torn)

    def summary(self) -> Summary:
        """The saved summary; made from the results if the run never got to write one, or was asked for another one.

        Raises:
            ConfigurationError: it is damaged, of a later version of the format, or the run has no such class.
        """
        saved = self._saved_summary()
        if saved is not None and saved.verdict_class == self.config.verdict_class and self._has_saved_view:
            return saved
        if not self._has_saved_view and not self.has_results:
            raise ConfigurationError(f"{self.folder} has no results.jsonl: goodput needs more than a summary")
        return self._summary_from_results(saved)

    def _saved_summary(self) -> Summary | None:
        path = self.folder / SUMMARY
        try:
            raw = read_regular(path, MOST_SUMMARY_BYTES, follows_links=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        saved = _decode(raw, Summary, path)
        for name in ("workload", "seed", "target", "model"):
            if getattr(saved, name) != getattr(self.config, name):
                raise ConfigurationError(f"{self.folder}: {CONFIG} and {SUMMARY} are not of one run ({name} differs)")
        return saved

    def histograms(self) -> Mapping[str, HdrHistogram]:
        """The histograms of what the summary is about, by tag `metric.class`, metrics in reporting order.

        Raises:
            ConfigurationError: they, or the results of a run that never got to write them, are damaged.
        """
        if not os.path.lexists(self.folder / HISTOGRAMS):
            return by_tag(self.recorded().recorder)
        histograms = read_histograms(self.folder / HISTOGRAMS)
        saved = self._saved_summary()
        for metric, by_class in (saved.metrics if saved is not None else {}).items():
            for name, measured in by_class.items():
                histogram = histograms.get(tag(metric, name))
                if histogram is None or histogram.get_total_count() != measured.count:
                    raise ConfigurationError(
                        f"{self.folder}: {HISTOGRAMS} and {SUMMARY} are not of one run ({tag(metric, name)} differs)"
                    )
        return histograms

    def recorded(self, timed: Sequence[str] = JUDGED) -> RecordedPart:
        """Its results recorded again: the part that its summary is about. `timed`: metrics to be kept by time too."""
        recorder = self.config.new_recorder(timed=timed)
        last_s = 0.0
        for result in self.results():
            recorder.add(result)
            last_s = min(max(last_s, result.end_s), self.config.measured[1])
        measured_s = max(0.0, last_s - self.config.warmup_s)
        if (saved := self._saved_summary()) is not None:
            self._check_number(saved, recorder)
            steady = saved.steady_state if self.config.steady_state else None
            measured_s = saved.measured_s if steady is None else steady.to_s - self.config.warmup_s
        return recorded_part(self.config, recorder, measured_s, self.results, timed)

    def _check_number(self, saved: Summary, recorder: Recorder) -> None:
        """That these are the results which the summary is of: a few may be torn, a line or two in each place."""
        expected, found = saved.requests + saved.warmup_requests, recorder.totals.requests + recorder.totals.warmup
        torn = sum(number for name, number in self.torn.items() if is_of_results(name))
        if not expected - 2 * torn <= found <= expected or torn > MAX_TORN_SHARE * expected:
            raise ConfigurationError(
                f"{self.folder}: {SUMMARY} is of {expected:,} requests, and the results are {found:,}: they are not of "
                "one run, or lines are missing; without that file, reports are made of the results that are there"
            )

    def _summary_from_results(self, saved: Summary | None) -> Summary:
        """`saved`: of another class, or of other objectives; it knows what no result says."""
        part = self.recorded()
        summary = summarise(self.config, part)
        summary.is_complete = False
        if saved is not None:
            _check_class(self.folder, summary)
            for name in ("is_complete", "abandoned_turns", "engine", "client", "unsent"):
                setattr(summary, name, getattr(saved, name))
        add_server_and_causes(self, part, summary)
        return summary


def _check_class(folder: Path, summary: Summary) -> None:
    known = dict.fromkeys(name for by_class in summary.metrics.values() for name in by_class)
    if known and summary.verdict_class not in known:
        raise ConfigurationError(f"{folder} has no class {summary.verdict_class!r}; it has {listed_classes(known)}")


def add_server_and_causes(run: RunReader, part: RecordedPart, summary: Summary) -> None:
    """Add what the server's metrics and the engine's steps say, why the tail is there, and what was torn."""
    from ..attribution.attribution import attribute  # large, and a summary that was saved has its causes already
    from ..attribution.size import tell_uneven_work

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
    summary.torn_lines = dict(sorted(run.torn.items()))
    summary.warnings += torn_notes(summary)


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


def holds_other_things(folder: Path) -> bool:
    """Whether there is more in a folder than a run leaves that failed to start.

    Raises:
        OSError: it cannot be read.
    """
    return any(path.name not in (CONFIG, SERVER_LOG, STEPS) for path in folder.iterdir())


def check_can_save(folder: Path | None, *, is_for_several: bool = False) -> None:
    """Find out whether a run could be saved in a folder, and make nothing. None: in a new one in runs/.

    `is_for_several`: so that each run has a folder in it.

    Raises:
        ConfigurationError: it is a file, holds something else, or cannot be made.
    """
    wanted = (folder or Path("runs")).absolute()
    place = next(path for path in (wanted, *wanted.parents) if os.path.lexists(path))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES if place.is_dir() else errno.ENOTDIR)
        raise ConfigurationError(f"cannot write to {folder or wanted.name}: {why}")
    if folder is None or not folder.is_dir():
        return
    if any(folder.iterdir()) if is_for_several else holds_other_things(folder):
        raise ConfigurationError(f"{folder} is not empty; give --output a new folder")


def make_empty(folder: Path) -> None:
    """Make a folder for runs. It may be there already, if nothing is in it.

    Raises:
        ConfigurationError: it is a file, holds something, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file; give --output a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(f"cannot make {folder}: {error.strerror}; give --output a new folder") from error
    if not is_empty:
        raise ConfigurationError(f"{folder} is not empty; give --output a new folder")


def _decode(raw: bytes, kind: type[_Versioned], path: Path) -> _Versioned:
    """Decode a file of this format, having looked at its version first."""
    try:
        version = msgspec.json.decode(raw, type=_Version).schema_version
        if version > SCHEMA_VERSION:
            raise ConfigurationError(f"{path} has schema version {version}; a newer abatch wrote it")
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from error

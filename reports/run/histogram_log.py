"""The histograms of a run as a standard HdrHistogram log."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from ...engine.errors import ConfigurationError
from ..atomic_file import write_atomically
from ..recording.recorder import Recorder, new_histogram

_OF_HDRH = (HdrCookieException, HdrHistogramSettingsException, HdrLengthException)


def tag(metric: str, traffic_class: str) -> str:
    """What the histogram of a metric and class is called in a log."""
    return f"{metric}.{traffic_class}"


def by_tag(recorder: Recorder) -> dict[str, HdrHistogram]:
    """What was recorded, by tag, metrics in reporting order."""
    return {tag(metric, traffic_class): histogram for metric, traffic_class, histogram in recorder.histograms()}


def write_histograms(path: Path, recorder: Recorder, measured_s: float) -> None:
    """Save all histograms as one HdrHistogram log, tagged `metric.class`, values in microseconds.

    hdrh's own writer knows no tags, so the lines are put together here: tag, start, length, maximum, payload.
    """
    lines = [
        "#[abatch: values in microseconds, interval maximum in milliseconds; tags are metric.class]",
        "#[Histogram log format version 1.3]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for metric, traffic_class, histogram in recorder.histograms():
        payload = histogram.encode().decode()
        maximum_ms = histogram.get_max_value() / 1e3
        lines.append(f"Tag={tag(metric, traffic_class)},0.000,{measured_s:.3f},{maximum_ms:.3f},{payload}")
    write_atomically(path, "\n".join([*lines, ""]).encode())


def read_histograms(path: Path) -> dict[str, HdrHistogram]:
    """Histograms of a log by tag; those with equal tags (from several shards) are added up.

    Raises:
        ConfigurationError: it is damaged.
    """
    try:
        return _read(path)
    except (OSError, ValueError, IndexError, TypeError, KeyError, zlib.error, struct.error, *_OF_HDRH) as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from error


def _read(path: Path) -> dict[str, HdrHistogram]:
    with contextlib.closing(HistogramLogReader(str(path), new_histogram())) as reader:
        return _all_intervals(reader)


def _all_intervals(reader: HistogramLogReader) -> dict[str, HdrHistogram]:
    histograms: dict[str, HdrHistogram] = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        name = histogram.get_tag() or ""
        if name in histograms:
            histograms[name].add(histogram)
        else:
            histograms[name] = histogram
    return histograms

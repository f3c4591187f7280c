"""The histograms of a run as a standard HdrHistogram log."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram

from ...engine.errors import ConfigurationError
from ...workloads.regular_file import read_regular
from ..atomic_file import write_atomically
from ..recording.histograms import HIGHEST_US, LOWEST_US, SIGNIFICANT_DIGITS, new_histogram
from ..recording.recorder import Recorder

MOST_BYTES = 32 * 2**20
"""Of a log to be read: a few kilobytes for each histogram."""
MOST_HISTOGRAMS = 1_200
"""In a log to be read, of 190 kB each in memory: seventeen metrics of 66 classes, and some more."""
_MOST_VALUES = 10**15
_OUTER_HEADER_BYTES = 8
_HEADER = struct.Struct(">IIIIQQ")
"""Of an inflated payload: cookie, length, offset, significant digits, lowest and highest value; a ratio follows."""
_MOST_COUNT_BYTES = 9 + 1
"""Of a count in that encoding, and something to spare for the rest of the header."""
_DAMAGE = (
    *(ValueError, IndexError, TypeError, KeyError, MemoryError, OverflowError, AssertionError, RuntimeError),
    *(zlib.error, struct.error, HdrCookieException, HdrHistogramSettingsException, HdrLengthException),
)
"""What decoding a damaged payload raises, in hdrh too."""


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
        ConfigurationError: it cannot be read, or it is damaged.
    """
    try:
        lines = read_regular(path, MOST_BYTES, follows_links=False).decode().split("\n")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is damaged: it is not text") from error
    histograms: dict[str, HdrHistogram] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith(("#", '"')) or not line.strip():
            continue
        try:
            _add_line(histograms, line)
        except _DAMAGE as error:
            raise ConfigurationError(f"{path} is damaged, line {number}: {error}") from error
    return histograms


def _add_line(histograms: dict[str, HdrHistogram], line: str) -> None:
    """Decode a line, `Tag=name,start,length,maximum,payload`."""
    parts = line.rstrip("\r").rsplit(",", 4)
    if len(parts) != 5 or not parts[0].startswith("Tag="):
        raise ValueError("not a tagged histogram")
    name = parts[0].removeprefix("Tag=")
    histogram = _decoded(parts[4])
    if name in histograms:
        histograms[name].add(histogram)
    elif len(histograms) < MOST_HISTOGRAMS:
        histograms[name] = histogram
    else:
        raise ValueError(f"more than {MOST_HISTOGRAMS} histograms")


def _decoded(payload: str) -> HdrHistogram:
    """The histogram of a payload.

    hdrh inflates whatever comes and makes arrays as large as the payload says, so that is looked at first.
    """
    compressed = base64.b64decode(payload, validate=True)[_OUTER_HEADER_BYTES:]
    reference = new_histogram()
    most_bytes = _HEADER.size + _MOST_COUNT_BYTES * reference.counts_len
    content = zlib.decompressobj().decompress(compressed, most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError("it inflates to more than a histogram has")
    *_, digits, lowest, highest = _HEADER.unpack_from(content)
    if (lowest, highest, digits) != (LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS):
        raise ValueError("a histogram of another range")
    histogram = HdrHistogram.decode(payload)
    if not 0 <= histogram.get_total_count() <= _MOST_VALUES:
        raise ValueError("a histogram of more values than anyone can measure")
    return histogram

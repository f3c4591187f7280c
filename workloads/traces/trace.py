"""A trace: a file of recorded sessions in one of many formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ...engine.errors import ConfigurationError
from ..regular_file import open_regular
from ..session import Session
from .formats import (
    aiperf,
    aiperf_multi_turn,
    azure,
    bfcl,
    burstgpt,
    generated_conversations,
    lengths,
    mooncake,
    native,
    openai_batch,
    sharegpt,
    tau,
    tracelab,
    trie,
    vllm_multi_turn,
    weka,
    weka_requests,
)
from .parsing.format import Sample, TraceFormat
from .parsing.rows import Reading

FORMATS: dict[str, TraceFormat] = {
    "native": native.FORMAT,
    "mooncake": mooncake.FORMAT,
    "aiperf": aiperf.FORMAT,
    "aiperf_multi_turn": aiperf_multi_turn.FORMAT,
    "weka": weka.FORMAT,
    "weka_requests": weka_requests.FORMAT,
    "trie": trie.FORMAT,
    "tracelab": tracelab.FORMAT,
    "vllm_multi_turn": vllm_multi_turn.FORMAT,
    "generate_conversations": generated_conversations.FORMAT,
    "burstgpt": burstgpt.FORMAT,
    "azure": azure.FORMAT,
    "lengths": lengths.FORMAT,
    "sharegpt": sharegpt.FORMAT,
    "openai_batch": openai_batch.FORMAT,
    "tau": tau.FORMAT,
    "bfcl": bfcl.FORMAT,
}
"""All formats. A file that several of them recognise counts as the first."""

_SNIFFED_BYTES = 64 * 2**10
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


class Trace:
    """A trace that has been opened. `open_trace` makes them."""

    def __init__(self, path: Path, trace_format: str, *, skip_bad_rows: bool) -> None:
        self.path = path
        self.format = trace_format
        self._skip_bad_rows = skip_bad_rows
        self._reading = Reading(path, skip_bad_rows=skip_bad_rows)
        self._has_timestamps = FORMATS[trace_format].has_timestamps

    @property
    def num_skipped(self) -> int:
        """Bad rows left out so far by the latest reading."""
        return self._reading.num_skipped

    @property
    def num_dropped(self) -> int:
        """Rows left out so far because the format has no use for them (failed requests, unanswered conversations)."""
        return self._reading.num_dropped

    @property
    def has_timestamps(self) -> bool:
        """Whether sessions have start times. If the format leaves that open, the first session decides.

        Raises:
            TraceError: there is a bad row before it, and bad rows are not to be skipped.
        """
        if self._has_timestamps is None:
            reading = Reading(self.path, skip_bad_rows=self._skip_bad_rows)
            first = next(FORMATS[self.format].sessions(reading), None)
            self._has_timestamps = first is not None and first.start_s is not None
        return self._has_timestamps

    def digest(self) -> str:
        """Of its content, read in whatever format: two files with the same digest are the same traffic.

        Raises:
            ConfigurationError: it cannot be read any more.
        """
        return f"{self.format}:{content_digest(self.path)}"

    def sessions(self) -> Iterator[Session]:
        """All sessions, from the beginning.

        Raises:
            TraceError: during iteration: a row is bad, and bad rows are not to be skipped.
        """
        self._reading = Reading(self.path, skip_bad_rows=self._skip_bad_rows)
        return FORMATS[self.format].sessions(self._reading)


def content_digest(path: Path) -> str:
    """Of a file, whatever is in it.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"cannot read the trace {path}: {error.strerror}") from None


def open_trace(path: Path, *, trace_format: str | None = None, skip_bad_rows: bool = False) -> Trace:
    """Open a trace.

    Raises:
        ConfigurationError: it cannot be read, it is empty, or its format is unknown.
    """
    if trace_format is not None and trace_format not in FORMATS:
        raise ConfigurationError(f"unknown --trace-format {trace_format!r}; formats: {', '.join(FORMATS)}")
    beginning = _beginning(path)
    return Trace(path, trace_format or _recognised(path, beginning), skip_bad_rows=skip_bad_rows)


def _beginning(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            beginning = file.read(_SNIFFED_BYTES)
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a directory; --trace takes a file") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the trace {path}: {error.strerror}") from None
    if not beginning.strip():
        raise ConfigurationError(f"the trace {path} is empty")
    return beginning


def _recognised(path: Path, beginning: bytes) -> str:
    for magic, name in _COMPRESSED.items():
        if beginning.startswith(magic):
            raise ConfigurationError(f"the trace {path} is compressed ({name}); decompress it first")
    sample = Sample.of(beginning)
    for name, trace_format in FORMATS.items():
        if trace_format.matches(sample):
            return name
    raise ConfigurationError(
        f"{path}: unrecognised trace format; if it is one of {', '.join(FORMATS)}, name it with --trace-format"
    )

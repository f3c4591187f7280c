"""What a null server really did: the log that a measurement is checked against."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..errors import ConfigurationError

_log = logging.getLogger(__name__)


class Truth(msgspec.Struct, omit_defaults=True):
    """What the server did with one request. Times are seconds of the machine's monotonic clock.

    Attributes:
        request_id: The client's X-Request-ID.
        arrived_s: When the request had been read.
        first_s: When the first chunk was written; None if none was.
        end_s: When the last was, or the failure.
        gaps_us: Between chunks, as they were written.
        fault: What went wrong: `error` or `reset` on purpose, `cancelled` where the client hung up.
    """

    request_id: str
    arrived_s: float
    end_s: float
    first_s: float | None = None
    gaps_us: list[int] = []
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    fault: str | None = None


OnTruth = Callable[[Truth], None]


@contextlib.contextmanager
def truth_log(path: Path) -> Iterator[OnTruth]:
    """Append truths to a new file, one JSON object a line; whole when the context is left.

    Where the disk is full the server goes on, and the log ends with the last line that it took.

    Raises:
        ConfigurationError: the file exists already, or cannot be made.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise ConfigurationError(f"--log {path} exists already; name a new file") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write --log {path}: {error.strerror}") from error
    encoder = msgspec.json.Encoder()
    is_full = False

    def append(truth: Truth) -> None:
        if not is_full:
            with told():
                file.write(encoder.encode(truth) + b"\n")

    @contextlib.contextmanager
    def told() -> Iterator[None]:
        nonlocal is_full
        try:
            yield
        except OSError as error:
            if not is_full:
                _log.error("--log %s ends here: %s", path, error.strerror)
            is_full = True

    try:
        yield append
    finally:
        with told():
            file.close()


def read_truths(path: Path) -> Iterator[Truth]:
    """The truths of a log, in the order in which the requests ended. A last line cut short is left out."""
    decoder = msgspec.json.Decoder(Truth)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)

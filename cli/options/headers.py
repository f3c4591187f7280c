"""HTTP headers as people give them."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine.errors import ConfigurationError
from ...workloads.targets.wire.names import REQUEST_ID_HEADER


def parse_headers(lines: Iterable[str]) -> dict[str, str]:
    """Parse lines of the form `Name: value`.

    Raises:
        ConfigurationError: one of them is not a header, or is one that abatch sends itself.
    """
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise ConfigurationError("--header must be 'Name: value'")
        if name.strip().lower() == REQUEST_ID_HEADER.lower():
            raise ConfigurationError(
                f"--header {REQUEST_ID_HEADER} is set by abatch: each request has its own, see results.jsonl"
            )
        headers[name.strip()] = value.strip()
    return headers

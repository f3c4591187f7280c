"""Headers as a command is given them."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine.errors import ConfigurationError
from ...workloads.targets.http_target import REQUEST_ID_HEADER


def parse_headers(lines: Iterable[str]) -> dict[str, str]:
    """`Name: value`, each.

    Raises:
        ConfigurationError: one of them is no header, or is one that we send ourselves.
    """
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise ConfigurationError("--header must be 'Name: value'")
        if name.strip().lower() == REQUEST_ID_HEADER.lower():
            raise ConfigurationError(
                f"--header {REQUEST_ID_HEADER} is ours: each request has its own, in results.jsonl"
            )
        headers[name.strip()] = value.strip()
    return headers

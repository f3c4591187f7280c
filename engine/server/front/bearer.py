"""Whether a client brings the API key."""

from __future__ import annotations

import hmac


def is_authorized(header: str, api_key: str) -> bool:
    """Whether an Authorization header brings the key. The scheme's name may be in any case (RFC 9110, 11.1)."""
    scheme, _, given = header.partition(" ")
    return is_key(given.strip(" "), api_key) and scheme.lower() == "bearer"


def is_key(given: str, api_key: str) -> bool:
    """Whether they are the same, in a time that does not tell how far they are."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), api_key.encode())

"""Whether a client brings the API key."""

from __future__ import annotations

import hmac


def is_authorized(header: str, api_key: str) -> bool:
    """Whether an Authorization header brings the key. The scheme's name may be in any case (RFC 9110, 11.1)."""
    scheme, _, given = header.partition(" ")
    matches = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), api_key.encode())
    return matches and scheme.lower() == "bearer"

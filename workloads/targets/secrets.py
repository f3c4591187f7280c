"""Keys and passwords that a server was sent, which it may send back in an error message."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

_OF_SECRETS = re.compile("auth|key|token|secret|cookie|passw|credential", re.IGNORECASE)
"""In the name of a header."""
_SHORTEST = 6
"""Characters: what is shorter would be hidden in words that have nothing to do with it, and hides little."""
_HIDDEN = "***"


class Secrets:
    """What no message may show: it goes to a terminal, to a run folder, and to the log of a CI job."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """`url` may have a user and a password in it; `headers` are those that go with each request."""
        parsed = URL(url)
        texts = [parsed.password or "", parsed.raw_password or ""]
        for name, value in headers.items():
            if _OF_SECRETS.search(name):
                texts += [value, *re.split(r"[\s;=]+", value)]  # a scheme and its key, cookies and their values
        self._texts = sorted({text for text in texts if len(text) >= _SHORTEST}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """The text without them."""
        for secret in self._texts:
            text = text.replace(secret, _HIDDEN)
        return text

"""Keys and passwords that a server was sent, which it may send back in an error message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

_OF_SECRETS = re.compile("auth|key|token|secret|cookie|passw|credential|^code$|^sig", re.IGNORECASE)
"""In the name of a header, or of a parameter in a URL."""
_SHORTEST = 6
"""Characters: what is shorter would be hidden in words that have nothing to do with it, and hides little."""
_HIDDEN = "***"


class Secrets:
    """What no message may show: it goes to a terminal, to a run folder, and to the log of a CI job."""

    def __init__(self, url: URL, headers: Mapping[str, str], proxy: URL | None = None) -> None:
        """Of a server's URL, of the headers that go with each request, and of a proxy's URL."""
        texts = [url.password or "", url.raw_password or ""]
        if proxy is not None:
            texts += [proxy.password or "", proxy.raw_password or ""]
        for name, value in url.query.items():
            if _OF_SECRETS.search(name):
                texts += [value, quote(value, safe="")]
        for name, value in headers.items():
            if _OF_SECRETS.search(name):
                texts += [value, *re.split(r"[\s;=]+", value)]  # a scheme and its key, cookies and their values
        self._texts = sorted({text for text in texts if len(text) >= _SHORTEST}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """The text without them."""
        for secret in self._texts:
            text = text.replace(secret, _HIDDEN)
        return text

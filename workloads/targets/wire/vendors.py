"""Servers and keys that the environment names for other clients: OpenAI's and Anthropic's."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from yarl import URL

from ..server_url import is_this_machine


@dataclass(frozen=True, slots=True)
class Vendor:
    """Whose clients read which variables. `host`: where the vendor's own API is."""

    url_variable: str
    key_variable: str
    host: str
    adds_version: bool = False
    """Its clients add /v1 to the URL, whatever its path."""

    @property
    def url(self) -> str | None:
        """The server that the environment names; None if it names none."""
        url = os.environ.get(self.url_variable, "").strip().rstrip("/")
        has_version = re.search(r"/v\d", url) is not None
        return (f"{url}/v1" if self.adds_version and not has_version else url) if url else None

    @property
    def key(self) -> str | None:
        """The key that the environment has; None if it has none."""
        return os.environ.get(self.key_variable, "").strip() or None

    def may_have_key(self, server: URL) -> bool:
        """Whether the key is meant for a server: the environment's own, the vendor's, or one on this machine."""
        if is_this_machine(str(server)) or (server.scheme == "https" and server.host == self.host):
            return True
        try:
            return self.url is not None and URL(self.url).origin() == server.with_user(None).origin()
        except ValueError:
            return False


_OPENAI = Vendor("OPENAI_BASE_URL", "OPENAI_API_KEY", "api.openai.com")
_ANTHROPIC = Vendor("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "api.anthropic.com", adds_version=True)


def vendor_of(api: str) -> Vendor:
    """Whose variables hold for an API."""
    return _ANTHROPIC if api == "messages" else _OPENAI

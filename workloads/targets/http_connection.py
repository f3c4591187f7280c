"""The settings of a connection to a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..http.network import DIRECT, Network
from .patience import silently
from .wire.names import AUTO

if TYPE_CHECKING:
    from .http_target import HttpTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Everything needed to connect to a server again or from another process. Some of it is secret.

    Attributes:
        timeout_s: The longest that a request may take.
        tells_sessions: Tell an abatch engine which requests belong to one session.
        ignores_eos: Have answers of exactly the length that is asked for, where the server can be told so.
        max_tokens_field: What the server calls the length of an answer; None: to be found out.
        extra_body: Fields that the user wants in each request besides.
        network: Certificates and proxy.
        api: Its name; `AUTO`: the one that the URL names, else the first that the server has.
    """

    url: str
    api_key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float
    tells_sessions: bool = True
    ignores_eos: bool = True
    max_tokens_field: str | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    network: Network = DIRECT
    api: str = AUTO

    async def open(self, model: str | None, say: Callable[[str], object] = silently) -> HttpTarget:
        """See `HttpTarget.connect`. If the model is known, the server is not asked for it."""
        from .http_target import HttpTarget  # all of the client: what only names a server needs none of it
        from .wire.api import RequestSettings

        settings = RequestSettings(
            "",
            takes_ignore_eos=self.ignores_eos,
            max_tokens_field=self.max_tokens_field,
            extra=self.extra_body,
            api=self.api,
        )
        return await HttpTarget.connect(
            self.url,
            model=model,
            api_key=self.api_key,
            headers=self.headers,
            timeout_s=self.timeout_s,
            tells_sessions=self.tells_sessions,
            settings=settings,
            network=self.network,
            say=say,
        )

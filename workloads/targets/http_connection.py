"""The settings of a connection to a server."""

from __future__ import annotations

from dataclasses import dataclass, field

from .http_target import HttpTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Everything needed to connect to a server again or from another process. Some of it is secret.

    Attributes:
        timeout_s: The longest that a request may take.
        tells_sessions: Tell an abatch engine which requests belong to one session.
        ignores_eos: Have answers of exactly the length that is asked for, where the server can be told so.
    """

    url: str
    api_key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float
    tells_sessions: bool = True
    ignores_eos: bool = True

    async def open(self, model: str | None) -> HttpTarget:
        """See `HttpTarget.connect`. If the model is known, the server is not asked for it."""
        target = await HttpTarget.connect(
            self.url,
            model=model,
            api_key=self.api_key,
            headers=self.headers,
            timeout_s=self.timeout_s,
            tells_sessions=self.tells_sessions,
        )
        target.takes_ignore_eos = self.ignores_eos
        return target

"""Server URLs as people write them."""

from __future__ import annotations

import ipaddress
import re

from yarl import URL

from ...engine.errors import ConfigurationError


def normalise_url(url: str) -> str:
    """`http://host:port`, without the `/v1` that some people add.

    Raises:
        ConfigurationError: it is no HTTP URL.
    """
    _check(url, "--url")
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")


def normalise_metrics_url(url: str) -> str:
    """The URL of the metrics: `/metrics`, unless the URL has a path.

    Raises:
        ConfigurationError: it is no HTTP URL.
    """
    _check(url, "--metrics-url")
    parsed = URL(url)
    return str(parsed.with_path("/metrics") if parsed.path in ("", "/") else parsed)


def _check(url: str, option: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{option} must begin with http:// or https://, not {hide_credentials(url)!r}")
    try:
        host = URL(url).host
    except ValueError as error:
        raise ConfigurationError(f"{option} {hide_credentials(url)!r}: {error}") from error
    if not host:
        raise ConfigurationError(f"{option} {hide_credentials(url)!r} has no host")


def hide_credentials(url: str) -> str:
    """The URL without user, password and query, safe to show and to save."""
    return re.sub(r"//[^/?#]*@", "//", url).partition("?")[0]


def is_this_machine(url: str) -> bool:
    """Whether the URL has a loopback address."""
    host = URL(url).host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

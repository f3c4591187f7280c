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
    shown = hide_credentials(url)
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{option} must begin with http:// or https://, not {shown!r}")
    if (parsed := _parsed(url)) is None:
        # Not in the library's words: those name the part that is wrong, which may be half of a password.
        raise ConfigurationError(
            f"{option} {shown!r} is not a URL: host or port are wrong; in a user or password each of :/?#[]@ and space "
            "is written as %3A, %2F, ..."
        )
    if not parsed.host:
        raise ConfigurationError(f"{option} {shown!r} has no host")


def _parsed(url: str) -> URL | None:
    try:
        parsed = URL(url)
        _ = parsed.host, parsed.port
    except ValueError:
        return None
    return parsed


_SCHEME = re.compile(r"\s*(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//")
_AT = re.compile(r".*(?:@|%40)", re.DOTALL)
_PORT = re.compile(r":\d{0,5}\Z")


def hide_credentials(url: str) -> str:
    """The URL without user, password, query and fragment, safe to show and to save.

    Where a part has a character that it must not have, nobody knows what of it is a password: what stands before the
    last `@` is left out, and without one what follows the `:` behind the host, unless that is a port.
    """
    found = _SCHEME.match(url)
    scheme, rest = ("", url) if found is None else (found[0].strip(), url[found.end() :])
    has_user = _AT.match(rest)
    rest = rest if has_user is None else rest[has_user.end() :]
    host, *path = re.split(r"([/?#])", rest, maxsplit=1)
    if not host.startswith("[") and ":" in host and not _PORT.search(host):
        host = f"{host.partition(':')[0]}:..."
    shown = f"{scheme}{host}{''.join(path)}"
    return re.split("[?#]", shown, maxsplit=1)[0]


def is_this_machine(url: str) -> bool:
    """Whether the URL has a loopback address."""
    host = URL(url).host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

"""Server URLs as people write them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from yarl import URL

from ...engine.errors import ConfigurationError

_WITHOUT_SCHEME = re.compile(
    r"(?P<host>[^\W_](?:[\w.-]*[^\W_])?|\[[0-9a-fA-F:.]+\])?(?P<port>:\d{1,5})?(?P<rest>[/?].*)?", re.DOTALL
)
"""A server as people call it: a host, a port or both, and perhaps a path."""
_PORT_OF_TLS = ":443"
_ENDPOINT = re.compile(r"/(chat/completions|completions|responses|messages|models)\Z")
"""At the end of a path: people paste the whole address of an endpoint."""
_VERSION = re.compile(r"/v\d[^/]*(?:/openai)?\Z")
"""`/v1`, `/v1beta/openai`: what an API has in its path and a page of metrics has not."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A server's URL as somebody gave it, taken apart.

    Its path is used as it is; where it has none, the API lies below `/v1`. A query (`?api-version=1`) goes with every
    request, and so do a user and a password.

    Attributes:
        base: What the API's paths are appended to, credentials and query included.
        named_endpoint: The endpoint that the URL names, such as `chat/completions`; None if it names none.
        shown: The URL as it was given, without anything secret.
    """

    base: URL
    named_endpoint: str | None
    shown: str

    @classmethod
    def parse(cls, url: str, option: str = "--url") -> ServerUrl:
        """Take a URL apart.

        Raises:
            ConfigurationError: it is no HTTP URL.
        """
        parsed = _checked(url, option).with_fragment(None)
        path = parsed.raw_path.rstrip("/")
        named = _ENDPOINT.search(path)
        base_path = path or "/v1"
        if named is not None:
            base_path = path[: named.start()] or "/"
        base = _with_path(parsed, base_path)
        endpoint = named[1] if named is not None and named[1] != "models" else None
        return cls(base, endpoint, hide_credentials(url.strip()).rstrip("/"))

    def endpoint(self, path: str) -> URL:
        """Where requests go to. `path`: of the API, such as `chat/completions`."""
        return _with_path(self.base, f"{self.base.raw_path.rstrip('/')}/{path}")

    @property
    def models(self) -> URL:
        """The list of models."""
        return self.endpoint("models")

    @property
    def metrics(self) -> URL:
        """The server's own metrics: beside the API's version, not below it."""
        return _with_path(self.base, f"{_VERSION.sub('', self.base.raw_path.rstrip('/'))}/metrics")

    @property
    def has_version(self) -> bool:
        """Whether the path names a version of the API somewhere."""
        return re.search(r"/v\d", self.base.raw_path) is not None


def with_scheme(text: str) -> str:
    """The URL that is meant by a text that may lack its scheme, or its host, as in `:8000` and `8000`.

    It gets https on port 443, else http. Whatever is no such text stays as it is.
    """
    text = text.strip()
    if text.isdecimal() and text.isascii():
        text = f":{text}"
    found = _WITHOUT_SCHEME.fullmatch(text)
    if found is None or not (found["host"] or found["port"]):
        return text
    scheme = "https" if found["port"] == _PORT_OF_TLS else "http"
    return f"{scheme}://{found['host'] or '127.0.0.1'}{found['port'] or ''}{found['rest'] or ''}"


def _with_path(url: URL, path: str) -> URL:
    """The URL with another path, everything else byte for byte as it is."""
    return URL.build(
        scheme=url.scheme, authority=url.raw_authority, path=path, query_string=url.raw_query_string, encoded=True
    )


def normalise_metrics_url(url: str) -> str:
    """The URL of the metrics: `/metrics`, unless the URL has a path.

    Raises:
        ConfigurationError: it is no HTTP URL.
    """
    parsed = _checked(url, "--metrics-url")
    return str(parsed.with_path("/metrics") if parsed.path in ("", "/") else parsed)


def _checked(url: str, option: str) -> URL:
    shown, url = hide_credentials(url), url.strip()
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigurationError(f"{option} must begin with http:// or https://, not {shown!r}")
    if (parsed := _parsed(url)) is None:
        # Not in the library's words: those name the part that is wrong, which may be half of a password.
        raise ConfigurationError(
            f"{option} {shown!r} is not a URL: host or port are wrong; in a user or password each of :/?#[]@ and space "
            "is written as %3A, %2F, ..."
        )
    if not parsed.host:
        raise ConfigurationError(f"{option} {shown!r} has no host")
    return parsed


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

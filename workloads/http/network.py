"""How connections are made: which certificates are trusted and shown, and through which proxy."""

from __future__ import annotations

import inspect
import ssl
import urllib.request
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from ...engine.errors import ConfigurationError

OF_ENVIRONMENT = "env"
"""In place of a proxy's URL: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How connections are made. The URL of a proxy may have a password.

    Attributes:
        is_insecure: Trust any certificate.
        ca_cert: A file of authorities that are trusted besides those of the system.
        client_cert: A file with the client's certificate, and with its key unless that is in `client_key`.
        proxy: Its URL, or `env`; None: none.
    """

    is_insecure: bool = False
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None

    def check(self) -> None:
        """See that everything named is there and fits together.

        Raises:
            ConfigurationError: it does not.
        """
        if self.is_insecure and self.ca_cert is not None:
            raise ConfigurationError("--insecure trusts any certificate: leave out --ca-cert")
        if self.client_key is not None and self.client_cert is None:
            raise ConfigurationError("--client-key needs --client-cert")
        _context(self.is_insecure, self.ca_cert, self.client_cert, self.client_key)
        if self.proxy is not None:
            _check_that_sessions_take_proxies()
        if self.proxy is not None and self.proxy != OF_ENVIRONMENT:
            _checked_proxy(self.proxy, "--proxy")

    @property
    def tls(self) -> ssl.SSLContext:
        """The settings of TLS."""
        return _context(self.is_insecure, self.ca_cert, self.client_cert, self.client_key)

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy that a request to this URL goes through.

        Raises:
            ConfigurationError: there is no such proxy.
        """
        if self.proxy != OF_ENVIRONMENT:
            return None if self.proxy is None else _checked_proxy(self.proxy, "--proxy")
        return proxy_of_environment(url)


def _check_that_sessions_take_proxies() -> None:
    from aiohttp import ClientSession  # large, and options that name a network are checked long before one is used

    if "proxy" not in inspect.signature(ClientSession).parameters:
        raise ConfigurationError("--proxy needs aiohttp 3.11 or newer")


DIRECT = Network()


def proxy_of_environment(url: URL) -> URL | None:
    """The proxy that the environment wants for a URL.

    Raises:
        ConfigurationError: it is none that this client can use.
    """
    if (name := proxy_variable(url)) is None:
        return None
    found = _proxies()[name.removesuffix("_PROXY").lower()]
    return _checked_proxy(found if "://" in found else f"http://{found}", name)


def proxy_variable(url: URL) -> str | None:
    """The environment's variable that names a proxy for a URL, such as HTTPS_PROXY; None if none does."""
    proxies = _proxies()
    name = next((name for name in (url.scheme, "all") if proxies.get(name)), None)
    if name is None or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    return f"{name.upper()}_PROXY"


def _proxies() -> dict[str, str]:
    return urllib.request.getproxies_environment()


def _checked_proxy(text: str, source: str) -> URL:
    try:
        proxy = URL(text)
        is_one = proxy.scheme in ("http", "https") and bool(proxy.host) and proxy.port is not None
    except ValueError:
        is_one = False
    if not is_one:  # without the text: it may have a password
        raise ConfigurationError(f"{source} must be http://HOST:PORT: no other proxies are known, such as SOCKS")
    return proxy


@lru_cache(maxsize=8)
def _context(is_insecure: bool, ca_cert: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if is_insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ca_cert is not None:
        try:
            context.load_verify_locations(ca_cert)
        except OSError as error:
            raise ConfigurationError(f"--ca-cert {ca_cert}: {_problem(error, 'no certificate in PEM')}") from None
    if client_cert is not None:
        files = client_cert if client_key is None else f"{client_cert} --client-key {client_key}"
        try:
            context.load_cert_chain(client_cert, client_key, password=_refuse_passphrase)
        except (OSError, ValueError) as error:
            no_pair = "no certificate in PEM with its key (give that as --client-key if it has a file of its own)"
            raise ConfigurationError(f"--client-cert {files}: {_problem(error, no_pair)}") from None
    return context


def _refuse_passphrase() -> str:
    raise ValueError("the key has a passphrase: give one without")


def _problem(error: Exception, otherwise: str) -> str:
    """What is wrong with a file of certificates, in one line."""
    if isinstance(error, ssl.SSLError):
        return "certificate and key do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else otherwise
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

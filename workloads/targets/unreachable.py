"""Why a server could not be asked, in words that say what to change."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl

import aiohttp
from yarl import URL

from ...engine.errors import AbatchError
from ..http.faults import BAD_RESPONSE, RefusedError, http_fault
from .client_limit import CLIENT_LIMIT, client_limit

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL calls it when the other side does not speak TLS."""
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA")
"""Alerts of servers that ask for a client's certificate and do not like what they get."""
PROXY_WANTS_CREDENTIALS = (
    "a proxy wants credentials: give --proxy http://USER:PASSWORD@HOST:PORT, or --header 'Proxy-Authorization: ...'"
)
_PATIENCE_S = 3.0
_REFUSED = errno.ECONNREFUSED


class TargetError(AbatchError):
    """The server under test cannot be measured: it is unreachable, or it rejects the simplest request."""


def failure_of(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Class and message of a failed request. `timeout_s`: how long it might have taken."""
    if (limit := client_limit(error)) is not None:
        return CLIENT_LIMIT, limit
    match error:
        case RefusedError():
            return error.kind, str(error)
        case aiohttp.ClientProxyConnectionError():
            return CLIENT_LIMIT, f"cannot reach the proxy: {_in_words(error.os_error)}"
        case aiohttp.ClientHttpProxyError(status=407):
            return CLIENT_LIMIT, PROXY_WANTS_CREDENTIALS
        case aiohttp.ClientHttpProxyError():
            return "connect", f"the proxy cannot or may not connect: HTTP {error.status} {http_fault(error)[:100]}"
        case aiohttp.ConnectionTimeoutError():
            return "connect", str(error) or "the connection timed out"
        case TimeoutError():
            return "timeout", f"no complete answer within {timeout_s:g} s (--timeout)"
        case aiohttp.ClientConnectorError():
            return "connect", why_not_connected(error)
        case aiohttp.ClientResponseError():
            return BAD_RESPONSE, f"not an HTTP response: {http_fault(error)}"
        case aiohttp.ClientError() | OSError():
            return "disconnected", _in_tls(error) or str(error) or type(error).__name__
    return BAD_RESPONSE, str(error) or type(error).__name__


def why_not_connected(error: aiohttp.ClientConnectorError) -> str:
    """`Connection refused`, where the event loop says "Connect call failed" and an address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        return (
            f"its certificate is not trusted ({reason.rstrip('.')}): give --ca-cert FILE with that of its "
            "authority, or --insecure to trust any"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return error.os_error.strerror or str(error)
    return _in_words(error.os_error)


def _in_words(cause: OSError) -> str:
    if isinstance(cause, ssl.SSLError):
        return _in_tls(cause) or f"no TLS connection: {cause.reason or cause}"
    if cause.errno is None and f"[Errno {_REFUSED}]" in str(cause):
        return os.strerror(_REFUSED)  # several addresses were tried
    # Failures to look up a name have negative numbers, and words of their own.
    if isinstance(cause, ConnectionError) and cause.errno is None:
        return "the server ended the TLS handshake: it may want the client's certificate (--client-cert)"
    code = cause.errno or 0
    return os.strerror(code) if code > 0 else cause.strerror or str(cause) or type(cause).__name__


def _in_tls(error: BaseException) -> str:
    """What is behind an error of TLS; empty if it is none, or says nothing that helps."""
    reason = str(error)
    if any(name in reason for name in _NO_TLS):
        return "it speaks http, not https: give --url http://..."
    if any(name in reason for name in _WANTS_CERTIFICATE):
        return "it does not accept the client's certificate, or the lack of one: give --client-cert and --client-key"
    return ""


async def speaks_tls(url: URL) -> bool:
    """Whether what listens there speaks TLS. To be asked when it does not answer in plain HTTP."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    except ssl.SSLError as error:
        return not any(name in str(error) for name in _NO_TLS)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True

"""Where a server listens, and what tells it to stop, for all our servers."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from dataclasses import dataclass

from ...errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a server listens, and when it stops.

    Attributes:
        port: 0 picks a free one.
        fd: A listening socket inherited from the parent, instead of `host` and `port`.
        exit_on_eof: Stop when standard input ends, as it does when the process that launched us is gone.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    fd: int | None = None
    exit_on_eof: bool = False

    def bind(self) -> socket.socket:
        """The listening socket.

        Raises:
            ConfigurationError: the address cannot be listened on, or `fd` is no socket.
        """
        if self.fd is not None:
            try:
                return socket.socket(fileno=self.fd)
            except OSError as error:
                raise ConfigurationError(f"--fd {self.fd} is not a listening socket: {error.strerror}") from error
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except (OSError, OverflowError) as error:
            listener.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"cannot listen on {self.host}:{self.port}: {reason}") from error
        return listener

    def stop_event(self) -> asyncio.Event:
        """Set by SIGTERM, SIGINT, SIGHUP (a closed terminal), and with `exit_on_eof` by the end of standard input."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, stop.set)
        if self.exit_on_eof:
            loop.add_reader(sys.stdin.fileno(), _on_stdin, stop)
        return stop


def base_url(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach a listening socket, whatever name it was given."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True  # a socket in the file system, with the permissions of a file
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _on_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()

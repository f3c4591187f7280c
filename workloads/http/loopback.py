"""`localhost` means this machine, whichever version of IP a server listens with."""

from __future__ import annotations

import socket
from typing import Any

from aiohttp import ThreadedResolver

_ADDRESSES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class LoopbackResolver(ThreadedResolver):
    """Looks names up as the system does, and knows both addresses of `localhost` (RFC 6761).

    Many machines have only one of them in /etc/hosts, and servers listen at the other. Both are tried, one after the
    other.
    """

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
        """See `aiohttp.abc.AbstractResolver`."""
        found = await super().resolve(host, port, family)
        if host.rstrip(".").lower() != "localhost":
            return found
        known = {address["family"] for address in found}
        further = [
            {"hostname": host, "host": address, "port": port, "family": version, "proto": 0, "flags": 0}
            for version, address in _ADDRESSES.items()
            if version not in known
        ]
        return [*found, *further]

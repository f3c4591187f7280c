"""What new connections cost, and how many requests had to be sent again. Part of summary.json."""

from __future__ import annotations

import msgspec

from ...workloads.bounds import Amount, Count
from ...workloads.result import Result
from .sums import summed_fields


class Connections(msgspec.Struct, kw_only=True):
    """Of requests that were sent, failed ones among them. All of these times are part of the requests' latencies.

    Attributes:
        opened: Requests for which a connection was opened. `connect_s`: how long that took, all of them together; of
            that, `dns_s` for the look-up of the name and `tls_s` for TLS. `longest_s`: the longest `connect_s` of one.
        retried: Requests that were sent again, because the server had closed the connection before it began to answer.
            `retries`: how often.
    """

    opened: Count = 0
    connect_s: Amount = 0.0
    dns_s: Amount = 0.0
    tls_s: Amount = 0.0
    longest_s: Amount = 0.0
    retried: Count = 0
    retries: Count = 0

    def add(self, result: Result) -> None:
        """Count a request that was sent."""
        self.opened += result.connect_s > 0
        self.connect_s += result.connect_s
        self.dns_s += result.dns_s
        self.tls_s += result.tls_s
        self.longest_s = max(self.longest_s, result.connect_s)
        self.retried += result.retries > 0
        self.retries += result.retries

    def __add__(self, other: Connections) -> Connections:
        """Of both."""
        longest_s = max(self.longest_s, other.longest_s)
        return Connections(**(summed_fields(self, other) | {"longest_s": longest_s}))

    def mean_ms(self, part_s: float) -> float | None:
        """Of a sum of theirs, per connection that was opened; None if none was."""
        return round(1e3 * part_s / self.opened, 3) if self.opened else None

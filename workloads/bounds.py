"""What numbers and names in files of ours may be. A damaged or forged one is refused where it is decoded, by its field.

The limits are far beyond what anyone measures. They keep out what arithmetic and formatting cannot take: infinities,
counts of 300 digits, negative times.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**53)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
"""A time, a size, a share, a rate: nothing that can be below zero."""
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Moment = Annotated[float, Meta(ge=0, le=1e9)]
"""Seconds since a run began: thirty years."""
Gap = Annotated[int, Meta(ge=0, le=10**15)]
"""Microseconds, for as long."""
Name = Annotated[str, Meta(max_length=4000)]

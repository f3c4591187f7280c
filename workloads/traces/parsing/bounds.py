"""What numbers in traces may be."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MOST_TOKENS = 10_000_000
LONGEST_TIME_S = 1e12
"""Long enough for seconds since 1970, too short for infinity."""

InputTokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
OutputTokens = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_TIME_S)]
Milliseconds = Annotated[float, Meta(ge=0, le=1000 * LONGEST_TIME_S)]
SessionName = Annotated[str, Meta(min_length=1, max_length=500)]

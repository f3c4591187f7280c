"""How sessions are parked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ParkPolicy = Literal["keep", "offload", "drop", "auto"]
PARK_POLICIES: tuple[ParkPolicy, ...] = ("keep", "offload", "drop", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkingConfig:
    """How sessions are parked.

    Attributes:
        host_num_blocks: KV blocks of the host tier.
        session_timeout_s: A session without a request for this long is forgotten.
        block_bytes: Size of a KV block, for counting what copies move.
    """

    policy: ParkPolicy = "auto"
    host_num_blocks: int = 0
    session_timeout_s: float = 3600.0
    block_bytes: int = 0

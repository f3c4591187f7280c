"""KV blocks on their way between the device and the host tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ..request import Request
from ..session import EngineSession

CopyDirection = Literal["offload", "restore"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockCopy:
    """A copy of whole blocks, each with all its layers. The blocks on both sides are held until it is done.

    Attributes:
        direction: `offload` from the device to the host, `restore` back.
        device_ids: Blocks on the device, one for each of `host_ids`.
        hashes: What they contain.
        owner: The session or request it is for.
        number: The owner's `num_parks` or `epoch` when it was ordered; once that has changed, the copy is for no one.
        ordered_s: When it was ordered.
        is_leaving: The owner lets go of the blocks on the device when it is done.
    """

    direction: CopyDirection
    device_ids: list[int]
    host_ids: list[int]
    hashes: list[bytes]
    owner: EngineSession | Request
    number: int
    ordered_s: float
    is_leaving: bool = False


class LaunchedCopy(Protocol):
    """A copy under way."""

    def is_done(self) -> bool:
        """Whether all of it has arrived, without waiting."""

    def duration_s(self) -> float:
        """How long it took, once done: from its beginning on the device, not from its launch."""

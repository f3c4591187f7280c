"""Names of sessions: one for each, without blanks."""

from __future__ import annotations

import re

_LONGEST = 200


def numbered_id(kind: str, number: int) -> str:
    """The name of what has no name of its own: its format and its line."""
    return f"{kind}-{number}"


def recorded_id(kind: str, recorded: str) -> str:
    """A recorded name without blanks, and never one of `numbered_id`. Names that differ stay different."""
    name = re.sub(r"[\s%]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), recorded) or "%"
    return name.replace("-", "%2D") if re.fullmatch(rf"{kind}-\d+", name) else name


class UniqueIds:
    """Recorded names, for formats in which nothing keeps two sessions from having the same one.

    Only hashes are kept, for there may be a million.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._seen: set[int] = set()

    def take(self, recorded: str | None, number: int) -> str:
        """The name of the session in that line; if it is taken already, with the line's number."""
        if recorded is None:
            return numbered_id(self._kind, number)
        name = recorded_id(self._kind, recorded[:_LONGEST])
        if hash(name) in self._seen:
            name = f"{name}%-{number}"  # no recorded name has this: see above
        self._seen.add(hash(name))
        return name

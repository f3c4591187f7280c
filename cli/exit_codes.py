"""What the process tells its caller. Part of the interface: CI scripts branch on these."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every command."""

    OK = 0
    FAILED = 1
    """It did not run: the target cannot be reached, or no request succeeded. Or more than 5% of the requests failed,
    and no rule says how many may. Or it could not be saved: the disk is full."""
    USAGE = 2
    """It cannot be done as asked; nothing ran."""
    RULE_FAILED = 3
    RULE_INCONCLUSIVE = 4
    """A rule could not be judged. Never a pass."""
    INTERRUPTED = 130

"""What a judge says who can say neither yes nor no."""

from __future__ import annotations


class UndecidedError(Exception):
    """The rule can be judged neither way; the text says why."""

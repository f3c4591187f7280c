"""Whole-number arithmetic: how many pieces hold so much, and the sizes that powers of two allow."""

from __future__ import annotations


def ceil_div(count: int, size: int) -> int:
    """How many pieces of `size` it takes to hold `count`: the quotient, rounded up."""
    return -(-count // size)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is not below `number`, which is at least 1."""
    return 1 << (number - 1).bit_length()

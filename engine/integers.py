"""Whole-number arithmetic: pieces of a size, powers of two, significant digits."""

from __future__ import annotations


def ceil_div(count: int, size: int) -> int:
    """How many pieces of `size` it takes to hold `count`: the quotient, rounded up."""
    return -(-count // size)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is not below `number`, which is at least 1."""
    return 1 << (number - 1).bit_length()


def rounded_to_digits(number: int, digits: int) -> int:
    """A number from 0 on to this many significant digits; halves go up. Bounds how many different values there are."""
    unit: int = 10 ** max(0, len(str(number)) - digits)
    return (number + unit // 2) // unit * unit

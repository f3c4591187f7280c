"""Least squares with no negative coefficient, of a few dozen unknowns, without a library."""

from __future__ import annotations

from collections.abc import Sequence

_TOLERANCE = 1e-9
_RIDGE = 1e-10
"""Of the diagonal: columns that say the same are told apart by nothing else."""


def non_negative_least_squares(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """Coefficients, none below 0, whose sums over `rows` are nearest to `targets`.

    By active sets (Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23), on the normal equations of
    columns that were scaled to length 1.

    Args:
        rows: `[rows][columns]`.
        targets: `[rows]`.
    """
    num_columns = len(rows[0])
    lengths = [sum(row[one] ** 2 for row in rows) ** 0.5 or 1.0 for one in range(num_columns)]
    columns = [[row[one] / lengths[one] for row in rows] for one in range(num_columns)]
    products = [[_dot(left, right) for right in columns] for left in columns]
    for one in range(num_columns):
        products[one][one] += _RIDGE
    wanted = [_dot(column, targets) for column in columns]
    found = [0.0] * num_columns
    active: list[int] = []
    for _ in range(10 * num_columns):
        gains = [wanted[one] - _dot(products[one], found) for one in range(num_columns)]
        best = max((one for one in range(num_columns) if one not in active), key=gains.__getitem__, default=None)
        if best is None or gains[best] <= _TOLERANCE:
            break
        active.append(best)
        while True:
            solved = _solve(
                [[products[one][other] for other in active] for one in active], [wanted[one] for one in active]
            )
            negative = [(one, value) for one, value in zip(active, solved, strict=True) if value <= 0]
            if not negative:
                break
            step = min(found[one] / (found[one] - value) for one, value in negative)
            for one, value in zip(active, solved, strict=True):
                found[one] += step * (value - found[one])
            active = [one for one in active if found[one] > _TOLERANCE]
            found = [value if one in active else 0.0 for one, value in enumerate(found)]
            if not active:
                solved = []
                break
        for one, value in zip(active, solved, strict=True):
            found[one] = value
    return [value / length for value, length in zip(found, lengths, strict=True)]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum([one * other for one, other in zip(left, right, strict=True)])


def _solve(matrix: list[list[float]], values: list[float]) -> list[float]:
    """The solution of a symmetric positive definite system, by elimination."""
    size = len(values)
    rows = [[*row, value] for row, value in zip(matrix, values, strict=True)]
    for pivot in range(size):
        for row in range(pivot + 1, size):
            factor = rows[row][pivot] / rows[pivot][pivot]
            if factor:
                for column in range(pivot, size + 1):
                    rows[row][column] -= factor * rows[pivot][column]
    solved = [0.0] * size
    for pivot in reversed(range(size)):
        known = sum(rows[pivot][column] * solved[column] for column in range(pivot + 1, size))
        solved[pivot] = (rows[pivot][size] - known) / rows[pivot][pivot]
    return solved

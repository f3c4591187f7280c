"""What the decodes of a step take, and what prompts beside them add: what a step's time is budgeted by."""

from __future__ import annotations

from math import inf

from ..request import Batch

_GAIN = 0.25
_KNOWN_AFTER = 3
"""Steps of a size before their cost is used. Of these the shortest counts: first steps load, compile, fault in."""

_FRESH_FOR = 64
"""Steps for which decodes keep the cost that a step without prompts has shown."""

_LARGEST_GROWTH = 2.0
"""A step counts as at most this many times what was expected: one stall must not hold prompts up for long."""


class _Point:
    """Running means over the steps of about one size."""

    def __init__(self) -> None:
        self.size = 0.0
        self.cost_s = 0.0
        self._num_steps = 0

    @property
    def is_known(self) -> bool:
        return self._num_steps >= _KNOWN_AFTER

    def learn(self, size: int, cost_s: float) -> None:
        if self.is_known:
            self.size += _GAIN * (size - self.size)
            self.cost_s += _GAIN * (cost_s - self.cost_s)
        elif self._num_steps == 0 or cost_s * self.size < self.cost_s * size:
            self.size, self.cost_s = float(size), cost_s
        self._num_steps += 1


class CostCurve:
    """Seconds by size, learnt by powers of two of the size, and straight in between."""

    def __init__(self) -> None:
        self._points: dict[int, _Point] = {}

    def learn(self, size: int, cost_s: float) -> None:
        """A step of this size took so long."""
        self._points.setdefault(size.bit_length(), _Point()).learn(size, cost_s)

    def known(self) -> list[tuple[float, float]]:
        """Sizes and seconds, the smallest first. A larger size costs no less."""
        points = sorted((point.size, point.cost_s) for point in self._points.values() if point.is_known)
        most_s = 0.0
        return [(size, most_s := max(most_s, cost_s)) for size, cost_s in points]

    def cost_s(self, size: int, *, grows: bool) -> float | None:
        """What a size takes; None while nothing is known.

        Args:
            size: At least 1.
            grows: Outside of what is known, cost is in proportion to size. Otherwise it is that of the nearest.
        """
        known = self.known()
        if not known:
            return None
        lower, lower_s = (0.0, 0.0) if grows else (0.0, known[0][1])
        for upper, upper_s in known:
            if size <= upper:
                return lower_s + (upper_s - lower_s) * (size - lower) / (upper - lower)
            lower, lower_s = upper, upper_s
        return lower_s * size / lower if grows else lower_s

    def size(self, within_s: float) -> float:
        """The largest size that takes at most so long, and at most twice what is known; infinite if nothing is."""
        known = self.known()
        if not known:
            return inf
        lower = lower_s = 0.0
        for upper, upper_s in known:
            if upper_s > within_s:
                return lower + (upper - lower) * (within_s - lower_s) / (upper_s - lower_s)
            lower, lower_s = upper, upper_s
        return lower * (min(2.0, within_s / lower_s) if lower_s else 2.0)


class StepCosts:
    """Learns the two costs that a step's time is divided into.

    Decodes cost what steps without prompts take, and prompts what they add to that, at most what they take alone. A
    step that takes longer than its decodes and its prompts alone shows that the decodes cost more than was known. This
    matters where prompts wait all the time, and no step without them comes.

    (`StepForecast` says when a step will end, and rather too early. Here both costs are expectations.)
    """

    def __init__(self) -> None:
        self._decodes = CostCurve()
        """By sequences: steps without prompts."""
        self._prompts = CostCurve()
        """By tokens of prompts: what they add to decodes."""
        self._alone = CostCurve()
        """By tokens of prompts: steps without decodes."""
        self._fresh_until: dict[int, int] = {}
        """By bits in the number of decodes: the step up to which a step without prompts has the last word."""

    def decodes_s(self, num_decodes: int) -> float | None:
        """What so many decodes take, in seconds; None while nothing is known."""
        return self._decodes.cost_s(num_decodes, grows=False)

    def prompt_tokens(self, within_s: float) -> float:
        """How many tokens of prompts add at most so many seconds to decodes; infinite while nothing is known."""
        curve = self._prompts if self._prompts.known() else self._alone
        return curve.size(within_s)

    def learn(self, batch: Batch, device_s: float) -> None:
        """Take in what a step took on the device."""
        num_decodes, num_prompt = batch.num_decode_tokens, batch.num_prefill_tokens
        if not num_decodes:
            self._alone.learn(num_prompt, device_s)
            return
        expected_s, bits = self.decodes_s(num_decodes), num_decodes.bit_length()
        if not num_prompt:
            self._fresh_until[bits] = batch.step + _FRESH_FOR
            if expected_s is not None:
                device_s = min(device_s, _LARGEST_GROWTH * expected_s)
            self._decodes.learn(num_decodes, device_s)
            return
        alone_s = self._alone.cost_s(num_prompt, grows=True)
        if alone_s is not None and (expected_s is None or device_s > expected_s + alone_s):
            if batch.step >= self._fresh_until.get(bits, 0):
                least_s = device_s - alone_s
                if expected_s is not None:
                    least_s = min(least_s, _LARGEST_GROWTH * expected_s)
                self._decodes.learn(num_decodes, max(0.0, least_s))
            self._prompts.learn(num_prompt, alone_s)
        elif expected_s is not None:
            self._prompts.learn(num_prompt, max(0.0, device_s - expected_s))

"""When a step in flight will end: what lets the next one be planned late, with all that has arrived by then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..request import Batch

_GAIN = 0.25
_DEVIATION_GAIN = 0.125
_TRUSTED_AFTER = 5
"""Steps of a kind before its forecast is used. Of these the shortest counts: first steps load, compile, fault in."""

_LARGEST_GROWTH = 2.0
"""A step counts as at most this many times what was expected: one stall must not make the loop sleep through others."""

_Key = tuple[bool, int]
"""Whether the step is launched in one piece, and the bits in a number."""

_CAUTION = 0.02
_SLACK_S = 2e-4
"""What waking up from a sleep may take."""


class _Average:
    """Running mean and mean deviation, as TCP keeps of its round trips (RFC 6298)."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0

    def add(self, value: float) -> None:
        if self.mean == 0.0:
            self.mean, self.deviation = value, value / 2
        else:
            self.deviation += _DEVIATION_GAIN * (abs(value - self.mean) - self.deviation)
            self.mean += _GAIN * (value - self.mean)


class _Kind:
    """Steps of a kind: one value learnt of them, and how far off their forecasts were."""

    def __init__(self) -> None:
        self.value = 0.0
        self.error_s = 0.0
        self._num_steps = 0

    @property
    def is_trusted(self) -> bool:
        return self._num_steps >= _TRUSTED_AFTER

    def learn(self, value: float, error_s: float) -> None:
        if self.is_trusted:
            self.value += _GAIN * (value - self.value)
            self.error_s += _DEVIATION_GAIN * (error_s - self.error_s)
        else:
            self.value = min(self.value, value) if self._num_steps else value
        self._num_steps += 1


class StepForecast:
    """Learns how long steps take on the device, and the host to plan and launch one.

    A step takes a base, learnt from steps that only decode, and a time for each prefill token, learnt by powers of two
    of their number: few of them ride along for nothing while weights and KV are read, many cost what they compute.
    Bases are learnt by powers of two of the sequences, and all of it apart for steps that are launched in one piece and
    kernel by kernel: the one takes the host 0.4 ms, the other 10 ms, and an average of both would be wrong for either.
    Running averages: loads drift over seconds, and steps are milliseconds. A step planned too late leaves the device
    idle, one planned early merely misses what arrives in between, so the forecast is the expectation less its mean
    error and 2%. (A least-squares fit with a common error idles ten times as much: steps with and without prefill are
    predictable to very different degrees.)
    """

    def __init__(self) -> None:
        self._decode: defaultdict[_Key, _Kind] = defaultdict(_Kind)
        """By bits in the number of sequences. Its value: seconds per step."""
        self._prefill: defaultdict[_Key, _Kind] = defaultdict(_Kind)
        """By bits in the number of prefill tokens. Its value: seconds per token, beyond what the step takes anyway."""
        self._launch: defaultdict[_Key, _Average] = defaultdict(_Average)
        """By bits in the number of sequences."""
        self._is_recorded = {False: False, True: False}
        """By whether it has prefill: how the last such step was launched."""

    def step_s(self, batch: Batch, *, is_recorded: bool) -> float:
        """What a step will take at least; 0 while too little is known."""
        kind = self._kind(batch, is_recorded)
        if not kind.is_trusted:
            return 0.0
        return max(0.0, (1 - _CAUTION) * self._expected_s(batch, is_recorded) - kind.error_s)

    def least_s(self, batch: Batch) -> float:
        """What the decodes of a step take, going by steps of as many that only decode, or of the nearest number known.

        0 while too little is known.
        """
        wanted = batch.num_decode_tokens.bit_length()
        for is_recorded in (True, False):
            kind = self._decode.get((is_recorded, wanted))
            if kind is not None and kind.is_trusted:
                return kind.value
        known = [key for key, kind in self._decode.items() if kind.is_trusted]
        if not known:
            return 0.0
        return self._decode[_nearest(known, wanted)].value

    def lead_s(self, num_seqs: int, *, has_prefill: bool) -> float:
        """How long before a step's end the next one must be planned to be there in time.

        Args:
            num_seqs: About as many as it will have.
            has_prefill: It will probably have prompts in it.
        """
        is_recorded = self._is_recorded[has_prefill]
        launch = self._launch.get((is_recorded, num_seqs.bit_length()))
        if launch is None:
            known = [key for key in self._launch if key[0] == is_recorded] or list(self._launch)
            if not known:
                return _SLACK_S
            launch = self._launch[_nearest(known, num_seqs.bit_length())]
        return launch.mean + 4 * launch.deviation + _SLACK_S

    def learn(
        self, batch: Batch, *, is_recorded: bool, device_s: float, launch_s: float, may_have_waited: bool = False
    ) -> None:
        """Take in what a step took.

        Args:
            batch: The step.
            is_recorded: It was launched in one piece.
            device_s: What it took on the device.
            launch_s: What the host took to plan and launch it.
            may_have_waited: Launching may have waited for the device, whose driver takes some thousand launches ahead
                of it. Such a time counts as at most what was learnt: the host itself needs no more.
        """
        num_prefill = batch.num_prefill_tokens
        self._is_recorded[num_prefill > 0] = is_recorded
        launch = self._launch[is_recorded, len(batch.chunks).bit_length()]
        launch.add(min(launch_s, launch.mean) if may_have_waited and launch.mean else launch_s)
        kind, expected_s = self._kind(batch, is_recorded), self._expected_s(batch, is_recorded)
        error_s = abs(device_s - expected_s)
        if kind.is_trusted:
            device_s = min(device_s, _LARGEST_GROWTH * expected_s)
        if num_prefill:
            kind.learn(max(0.0, device_s - self.least_s(batch)) / num_prefill, error_s)
        else:
            kind.learn(device_s, error_s)

    def _kind(self, batch: Batch, is_recorded: bool) -> _Kind:
        num_prefill = batch.num_prefill_tokens
        if num_prefill:
            return self._prefill[is_recorded, num_prefill.bit_length()]
        return self._decode[is_recorded, batch.num_decode_tokens.bit_length()]

    def _expected_s(self, batch: Batch, is_recorded: bool) -> float:
        num_prefill, kind = batch.num_prefill_tokens, self._kind(batch, is_recorded)
        return self.least_s(batch) + kind.value * num_prefill if num_prefill else kind.value


def _nearest(known: Sequence[_Key], bits: int) -> _Key:
    """Of those known, the one of the nearest size; the larger of two."""
    return min(known, key=lambda key: (abs(key[1] - bits), -key[1]))

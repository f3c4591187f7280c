"""The distributions of vLLM's conversation generator, as its files spell them."""

from __future__ import annotations

import math
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta

from .bounds import MOST_TOKENS

_Number = Annotated[float, Meta(ge=0, le=MOST_TOKENS)]
_MANY = 500.0
_LARGEST = math.log(MOST_TOKENS)


class ConstantNumber(msgspec.Struct, tag_field="distribution", tag="constant", frozen=True):
    """Always the same."""

    value: _Number

    def draw(self, random: Random) -> float:
        return self.value


class Uniform(msgspec.Struct, tag_field="distribution", tag="uniform"):
    """Each number between two equally often; whole ones if both are whole."""

    min: int | float
    max: int | float

    def __post_init__(self) -> None:
        if not 0 < self.min <= self.max <= MOST_TOKENS:
            raise ValueError(f"expected min above 0 and at most max, got {self.min} and {self.max}")

    def draw(self, random: Random) -> float:
        if isinstance(self.min, int) and isinstance(self.max, int):
            return random.randint(self.min, self.max)
        return random.uniform(self.min, self.max)


class Lognormal(msgspec.Struct, tag_field="distribution", tag="lognormal"):
    """Lognormal, by mean and deviation of its logarithm, or by its own mean and the median as a share of that."""

    mean: float | None = None
    sigma: Annotated[float, Meta(ge=0, le=10)] | None = None
    average: Annotated[float, Meta(ge=1, le=MOST_TOKENS)] | None = None
    median_ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None
    max: _Number | None = None

    def __post_init__(self) -> None:
        if self.average is None and (self.mean is None or self.sigma is None or not 0 < self.mean <= 20):
            raise ValueError("expected average, or mean (above 0, of the logarithm) and sigma")
        if self.average is not None and (self.mean is not None or self.sigma is not None):
            raise ValueError("expected either average or mean and sigma")

    def draw(self, random: Random) -> float:
        if self.average is None:
            mu, sigma = self.mean or 0.0, self.sigma or 0.0
        else:
            # mean = median * exp(sigma^2 / 2)
            ratio = 0.85 if self.median_ratio is None else self.median_ratio
            mu, sigma = math.log(self.average * ratio), math.sqrt(-2 * math.log(ratio))
        return _capped(random.lognormvariate(mu, sigma), self.max)


class Poisson(msgspec.Struct, tag_field="distribution", tag="poisson"):
    """Counts with the mean `alpha`."""

    alpha: _Number
    max: _Number | None = None

    def draw(self, random: Random) -> float:
        if self.alpha > _MANY:  # as good as normal
            return _capped(round(random.gauss(self.alpha, math.sqrt(self.alpha))), self.max)
        # Knuth: how many uniform numbers it takes until their product is below exp(-alpha).
        count, product, limit = 0, random.random(), math.exp(-self.alpha)
        while product > limit:
            count += 1
            product *= random.random()
        return _capped(count, self.max)


class Zipf(msgspec.Struct, tag_field="distribution", tag="zipf"):
    """1, 2, 3, ... with probabilities that fall as their power of -`alpha`."""

    alpha: Annotated[float, Meta(gt=1, le=1000)]
    max: _Number | None = None

    def draw(self, random: Random) -> float:
        # Devroye, Non-Uniform Random Variate Generation (1986), chapter X.6: by rejection from the continuous law.
        power = self.alpha - 1
        scale = 2.0**power
        while True:
            # As a power it could be too large for a float.
            value = math.floor(math.exp(min(-math.log(1 - random.random()) / power, _LARGEST)))
            ratio = (1 + 1 / value) ** power
            if random.random() * value * (ratio - 1) / (scale - 1) <= ratio / scale:
                return _capped(value, self.max)


AnyDistribution = ConstantNumber | Uniform | Lognormal | Poisson | Zipf


def _capped(value: float, cap: float | None) -> float:
    """A cap of 0 is none, as in vLLM."""
    return min(value, cap or MOST_TOKENS)

"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from support.run_profile import PROFILE


def choose_profile() -> None:
    """Load the profile that ABATCH_TEST_PROFILE names. `ci`, the default, draws the same examples each time; `nightly`
    draws many, at random.
    """
    settings.register_profile("ci", max_examples=100, derandomize=True, deadline=None)
    settings.register_profile(
        "nightly", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile(PROFILE)


def examples(share: float) -> settings:
    """As many examples as this share of what the profile has: `@examples(0.5)` for a test whose examples are slow."""
    return settings(max_examples=max(1, round(share * settings().max_examples)))

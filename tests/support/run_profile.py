"""How much time this run of the tests has. Needs no packages: a machine lent for its GPU may lack them."""

from __future__ import annotations

import os

PROFILE = os.environ.get("ABATCH_TEST_PROFILE", "ci")
IS_NIGHTLY = PROFILE == "nightly"
"""Whether there is time for what has a smaller form by day."""

"""Settings of Hypothesis for all tests: the same examples in every run, without a time limit.

A time limit for an example fails on a busy machine, and other examples in every run fail on some days only.
``RUNSTEAD_LONG=1`` draws new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "runstead",
    deadline=None,
    derandomize=os.environ.get("RUNSTEAD_LONG") != "1",
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("runstead")

"""Hypothesis is configured for machines of any speed."""

from __future__ import annotations

import os

from hypothesis import settings


def test_examples_are_the_same_in_every_run_and_have_no_time_limit() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    assert settings.default.derandomize is (os.environ.get("RUNSTEAD_LONG") != "1")

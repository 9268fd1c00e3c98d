"""Fake providers for the agents."""

import pytest

from tests.providers.fixtures import providers

__all__ = ["providers"]

pytest.register_assert_rewrite("apps.suite")

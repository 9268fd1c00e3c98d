"""The fixture of all tests that play one scenario."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def story() -> Iterator[object]:
    """One started process on fakes and virtual time, without delays and failures except scripted ones."""
    # Imported here, since most tests do not need it.
    from .scenario import Scenario

    # Errors are expected here.
    logging.disable(logging.ERROR)
    with Scenario() as story:
        yield story
    logging.disable(logging.NOTSET)

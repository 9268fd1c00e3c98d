"""A server on fakes and virtual time, for tests of one scenario."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.scenario import Scenario


@pytest.fixture
def story() -> Iterator[Scenario]:
    """One started process, without delays and failures except scripted ones."""
    # Errors are expected here.
    logging.disable(logging.ERROR)
    with Scenario() as story:
        yield story
    logging.disable(logging.NOTSET)

"""A server on fakes and virtual time, for tests that tell one story."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from runstead.testing.simulation.story import Story


@pytest.fixture
def story() -> Iterator[Story]:
    """One process, started; nothing takes time but what is told to, and nothing fails."""
    # What goes wrong here goes wrong on purpose.
    logging.disable(logging.ERROR)
    with Story() as story:
        yield story
    logging.disable(logging.NOTSET)

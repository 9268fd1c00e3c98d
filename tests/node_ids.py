"""Node ids: a test that shares its own with another fails, because xdist would run only one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest

_COUNTS: Final = pytest.StashKey[Counter[str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    config.stash[_COUNTS] = Counter(item.nodeid for item in items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Not at collection: an error there ends xdist's workers without a message.
    if (count := item.config.stash[_COUNTS][item.nodeid]) > 1:
        pytest.fail(f"{count} tests have the node id {item.nodeid}; give each an id of its own", pytrace=False)

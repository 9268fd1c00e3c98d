"""One real server process for all tests here, and both clients of the unmodified langgraph_sdk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .flavours import Flavour, client_of
from .server import serving

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"
CREW = Path(__file__).parent / "crew.json"


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server"), GRAPHS) as url:
        yield url


@pytest.fixture(scope="session")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for clients that delegate work."""
    with serving(tmp_path_factory.mktemp("crew"), CREW) as url:
        yield url


@pytest.fixture(params=["async", "sync"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    chosen: Flavour = request.param
    return chosen


@pytest.fixture
def client(flavour: Flavour, url: str) -> Any:
    return client_of(flavour, url)

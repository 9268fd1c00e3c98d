"""Graphs as authors write them, on servers of both profiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client

from .serving import profile_url, server_for

GRAPHS = Path(__file__).parent / "graphs.json"


@pytest.fixture(scope="package", params=["embedded", "scaled"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one server for all tests here."""
    with server_for(GRAPHS, tmp_path_factory.mktemp("author"), profile_url(request)) as url:
        yield url


@pytest.fixture
def client(server: str) -> Any:
    return get_sync_client(url=server, api_key=None)

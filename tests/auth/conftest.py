"""A real server with users, and their unmodified clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from tests.servers.sqlite import current_data

CONFIG = Path(__file__).parent / "langgraph.json"

ClientOf: TypeAlias = Callable[[str], Any]
"""Returns the client of the user with this token."""


def application_of(data_dir: Path, **settings: Any) -> Application:
    """Run the server of these tests on ``data_dir``."""
    return Application.from_file(
        CONFIG, data_dir=current_data(data_dir), port=0, shutdown_grace_seconds=0.1, **settings
    )


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(application_of(tmp_path / "data")) as url:
        yield url


@pytest.fixture
def client_of(url: str) -> ClientOf:
    return lambda token: get_client(url=url, api_key=None, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def alice(client_of: ClientOf) -> Any:
    return client_of("alice-token")


@pytest.fixture
def bob(client_of: ClientOf) -> Any:
    return client_of("bob-token")


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client

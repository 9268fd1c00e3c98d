"""The whole application on its own directory, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .assistants import Served, served_from

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"
LIMIT = 50_000
"""Maximum bytes of a request body here."""


@pytest.fixture
def application(tmp_path: Path) -> Application:
    flags = {
        "data_dir": current_data(tmp_path / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "max_body_bytes": LIMIT,
    }
    return Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))


@pytest.fixture
async def client(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Serves one data directory, as often as requested."""
    return served_from(tmp_path)

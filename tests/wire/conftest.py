"""The recorded graphs behind Runstead's API, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = load_settings(
        {"data_dir": current_data(tmp_path / "data"), "shutdown_grace_seconds": 0.1}, project=tmp_path
    )
    application = Application(settings, read_configuration(GRAPHS))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client

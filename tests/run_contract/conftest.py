"""The whole application in process, over graphs that show what they were given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.faults.browser import Browser
from tests.servers.sqlite import current_data

GRAPHS = Path(__file__).parent / "graphs.json"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    flags = {
        "data_dir": current_data(tmp_path / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "show_errors": True,
    }
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    async with application.running(), Browser(application.asgi) as browser:
        yield browser

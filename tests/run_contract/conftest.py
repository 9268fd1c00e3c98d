"""The whole application in process, with graphs that expose their config and context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.api import create_api
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.faults.browser import Browser
from tests.gateway.assistants import ByName
from tests.servers.sqlite import current_data

GRAPHS = Path(__file__).parent / "graphs.json"
Served: TypeAlias = Callable[..., AbstractAsyncContextManager[Browser]]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Serves one data directory, as often as requested: streams do not outlive the server, the other data do."""

    @asynccontextmanager
    async def serve(*, users: bool = False, graphs: Path = GRAPHS, **flags: Any) -> AsyncIterator[Browser]:
        flags = {
            "data_dir": current_data(tmp_path / "data"),
            "port": 0,
            "shutdown_grace_seconds": 0.1,
            "show_errors": True,
            **flags,
        }
        application = Application(load_settings(flags, project=tmp_path), read_configuration(graphs))
        asgi = create_api(application, authenticator=ByName()) if users else application.asgi
        async with application.running(), Browser(asgi) as browser:
            yield browser

    return serve


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with served() as browser:
        yield browser

"""Two environments for fault tests: the whole application in process, and the kernel on fakes and virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.services import Services
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.processes.server import ServerProcess
from tests.servers.sqlite import current_data

from .browser import Browser
from .gate import Gate
from .kernel import Storage

GRAPHS = Path(__file__).parent / "langgraph.json"
SERVED = Path(__file__).parent / "served.json"
"""The graphs of real processes: few, since the processes are started for each test."""

MakeApplication: TypeAlias = Callable[..., Application]
StartServer: TypeAlias = Callable[..., ServerProcess]


@pytest.fixture
def storage() -> Storage:
    """An empty storage. Its workers run on its clock, which is manual."""
    return Storage()


@pytest.fixture
def make_application(tmp_path: Path) -> MakeApplication:
    """The embedded profile with settings of the test, which starts it."""

    def make(*, execute: bool = True, **settings: Any) -> Application:
        flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **settings}
        return Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS), execute=execute)

    return make


@pytest.fixture
def application(make_application: MakeApplication) -> Application:
    return make_application()


@pytest.fixture
async def services(application: Application) -> AsyncIterator[Services]:
    """The started services behind the routes. Callers bind their actor."""
    async with application.running() as services:
        yield services


@pytest.fixture
async def browser(application: Application, services: Services) -> AsyncIterator[Browser]:
    """HTTP client of the running application, as its local user."""
    async with Browser(application.asgi) as browser:
        yield browser


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """The gate that a run of the graph ``gated`` waits for."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts real server processes; all are ended with the test."""
    started: list[ServerProcess] = []

    def start(**settings: object) -> ServerProcess:
        server = ServerProcess(tmp_path / f"server-{len(started)}", config=SERVED, settings=settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()

"""Two places to meet a fault: the whole application in process, and the kernel on fakes and virtual time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from runstead.bootstrap.application import Application
from runstead.gateway.services import Services
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from runstead.testing.simulation.story import Story
from tests.processes.server import ServerProcess
from tests.servers.sqlite import current_data

from .browser import Browser
from .gate import Gate
from .kernel import Storage

GRAPHS = Path(__file__).parent / "langgraph.json"
SERVED = Path(__file__).parent / "served.json"
"""What real processes serve: little, for they start anew in a test."""

MakeApplication: TypeAlias = Callable[..., Application]
StartServer: TypeAlias = Callable[..., ServerProcess]


@pytest.fixture
def story() -> Iterator[Story]:
    """One process, started; nothing takes time but what is told to, and nothing fails."""
    # What goes wrong here goes wrong on purpose.
    logging.disable(logging.ERROR)
    with Story() as story:
        yield story
    logging.disable(logging.NOTSET)


@pytest.fixture
def storage() -> Storage:
    """Nothing in it yet. Workers over it run on its clock, which stands still."""
    return Storage()


@pytest.fixture
def make_application(tmp_path: Path) -> MakeApplication:
    """The embedded profile with settings of a test's own, to be started by it."""

    def make(*, execute: bool = True, **settings: Any) -> Application:
        flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **settings}
        return Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS), execute=execute)

    return make


@pytest.fixture
def application(make_application: MakeApplication) -> Application:
    return make_application()


@pytest.fixture
async def services(application: Application) -> AsyncIterator[Services]:
    """What stands behind the routes, started. Callers bind the actor they act for."""
    async with application.running() as services:
        yield services


@pytest.fixture
async def browser(application: Application, services: Services) -> AsyncIterator[Browser]:
    """Speaks HTTP with the running application, as its local user."""
    async with Browser(application.asgi) as browser:
        yield browser


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """What a run of the graph ``gated`` waits for."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts real server processes; all are gone when the test ends."""
    started: list[ServerProcess] = []

    def start(**settings: object) -> ServerProcess:
        server = ServerProcess(tmp_path / f"server-{len(started)}", config=SERVED, settings=settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()

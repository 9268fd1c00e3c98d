"""Plugin of pytest: fixtures to test agents with. pytest loads it by itself; ``-p no:runstead`` disables it.

Everything is imported when the first test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .agent_server import AgentServer
    from .crash_point import CrashPoint
    from .hand_clock import HandClock


@pytest.fixture
def runstead_clock() -> HandClock:
    """The time of the servers of a test: ``runstead_clock.advance(days=1)``."""
    from .hand_clock import HandClock

    return HandClock()


@pytest.fixture
def runstead_crash() -> CrashPoint:
    """A function for the code of the agent: the first call crashes the server, and the next server continues."""
    from .crash_point import CrashPoint

    return CrashPoint()


@pytest.fixture
def runstead_agent(
    tmp_path_factory: pytest.TempPathFactory, runstead_clock: HandClock, runstead_crash: CrashPoint
) -> Iterator[Callable[..., AgentServer]]:
    """A function that starts a server for a graph, in this process and without a port: see AgentServer."""
    yield from _servers(tmp_path_factory, runstead_clock, runstead_crash, listens=False)


@pytest.fixture
def runstead_server(
    tmp_path_factory: pytest.TempPathFactory, runstead_clock: HandClock, runstead_crash: CrashPoint
) -> Iterator[Callable[..., AgentServer]]:
    """The same with a port, for other clients: its ``url``."""
    yield from _servers(tmp_path_factory, runstead_clock, runstead_crash, listens=True)


def _servers(
    folders: pytest.TempPathFactory, clock: HandClock, crash: CrashPoint, *, listens: bool
) -> Iterator[Callable[..., AgentServer]]:
    with ExitStack() as started:

        def start(
            graphs: object,
            folder: Path | None = None,
            *,
            headers: Mapping[str, str] | None = None,
            **settings: object,
        ) -> AgentServer:
            """Start a server, which stops at the end of the test."""
            from .agent_server import AgentServer

            place = folder or folders.mktemp("runstead") / "data"
            server = AgentServer(graphs, place, listens=listens, clock=clock, crash=crash, headers=headers, **settings)
            started.callback(server.close)
            return server

        yield start

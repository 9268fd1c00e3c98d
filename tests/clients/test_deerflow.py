"""DeerFlow's frontend as a client: its pinned SDK version, its calls, and a reload during a second attempt."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.processes.server import ServerProcess

from .conftest import Suites
from .node import CLIENTS
from .suite import titles_of

HERE = CLIENTS / "deerflow"
CALLS, RELOADS = HERE / "frontend.test.mjs", HERE / "reload.test.mjs"


class Reviver:
    """Restarts a server whenever it has died, until `stop`."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            self._server.start()


@pytest.fixture(scope="module")
def lead_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a lead agent, restarted when it has died."""
    server = ServerProcess(tmp_path_factory.mktemp("deerflow") / "data", config=HERE / "langgraph.json")
    server.start()
    reviver = Reviver(server)
    yield server.url
    reviver.stop()
    server.stop()


@pytest.mark.parametrize("title", titles_of(CALLS))
def test_call(title: str, suites: Suites, lead_url: str) -> None:
    suites(CALLS, {"SERVER_URL": lead_url}, titles_of(CALLS)).check(title)


@pytest.mark.parametrize("title", titles_of(RELOADS))
def test_reload(title: str, suites: Suites, lead_url: str, browser_url: str) -> None:
    variables = {"SERVER_URL": lead_url, "BROWSER_URL": browser_url}
    suites(RELOADS, variables, titles_of(RELOADS)).check(title)

"""One server, one node and one browser for all tests of the console."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from tests.auth.oidc_issuer import AUDIENCE, FakeIssuer, running_issuer
from tests.clients.conftest import browser_url, suites
from tests.clients.node import CONSOLE, Node, NodeMissing, find_node
from tests.processes.server import ServerProcess
from tests.servers.sqlite import current_data

__all__ = ["browser_url", "suites"]

GRAPHS = Path(__file__).parent / "langgraph.json"
SETTINGS = {
    "auth": "keys",
    "admin_scope": "admin",
    "operator_scope": "operator",
    "read_only_scope": "viewer",
    "webhook_allow_loopback": True,
    "limit_user_runs": 500,
    "budgets": json.dumps([{"per": ["user", "day"], "tokens": 10_000_000}, {"per": ["thread"], "usd": 5}]),
}
USERS = {"ada": "admin", "olga": "operator", "rita": "viewer"}
"""The scope of each user's key."""
PREFIX = "/agents"
"""The mount prefix in `GRAPHS`."""


class Console(NamedTuple):
    """A server with a console for users with API keys: of an admin, of an operator, and of a reader."""

    process: ServerProcess
    url: str
    key: str
    operator_key: str
    reader_key: str


@pytest.fixture(scope="session")
def node() -> Node:
    """Node, with the console's packages installed."""
    try:
        found = find_node()
        found.install(CONSOLE)
    except NodeMissing as missing:
        pytest.skip(f"missing server: {missing}")
    return found


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A server shared by all tests; each creates its own threads."""
    data = tmp_path_factory.mktemp("console") / "data"
    keys = (asyncio.run(_add_key(data, user, scope)) for user, scope in USERS.items())
    process = ServerProcess(data, config=GRAPHS, settings=SETTINGS)
    process.start()
    yield Console(process, process.url + PREFIX, *keys)
    process.stop()


class OidcConsole(NamedTuple):
    """A server whose users log in at an issuer."""

    url: str
    issuer: FakeIssuer


@pytest.fixture(scope="session")
def oidc_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcConsole]:
    with running_issuer() as issuer:
        application = Application.from_file(
            GRAPHS,
            data_dir=current_data(tmp_path_factory.mktemp("oidc") / "data"),
            port=0,
            oidc_issuer=issuer.issuer,
            oidc_audience=(AUDIENCE,),
            console_oidc_client_id="console",
        )
        with serving_in_thread(application) as url:
            yield OidcConsole(url, issuer)


@contextmanager
def serving_in_thread(application: Application) -> Iterator[str]:
    """A server of this process on a loop of its own, for clients that block."""
    started: Future[tuple[str, Callable[[], object]]] = Future()

    async def serve() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            async with serving(application) as url:
                started.set_result((url, lambda: loop.call_soon_threadsafe(ended.set)))
                await ended.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, end = started.result(60)
    try:
        yield url
    finally:
        end()
        thread.join(60)


async def _add_key(data: Path, user: str, scope: str) -> str:
    key = new_key()
    async with open_storage(current_data(data) / RUNS_FILE) as database:
        record = ApiKeyRecord(f"key_{user}", "console", digest_of(key), user, "default", (scope,), datetime.now(UTC))
        await SqlApiKeyStore(database).add(record)
    return key

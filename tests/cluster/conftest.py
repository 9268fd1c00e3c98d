"""One cluster for the tests of a module that do not change it."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.processes.client import Client

from .nodes import AnyGateway, Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    """Uses any gateway, a different one for each request."""
    async with balanced(cluster) as client:
        yield client


def balanced(cluster: Cluster, seed: int = 0) -> Client:
    client = Client(cluster.urls[0])
    client.http = httpx.AsyncClient(
        base_url=cluster.urls[0], timeout=60, transport=AnyGateway(cluster.urls, random.Random(seed))
    )
    return client


@pytest.fixture(scope="session")
def is_long() -> bool:
    return os.environ.get("RUNSTEAD_LONG") == "1"

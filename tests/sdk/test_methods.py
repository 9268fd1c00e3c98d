"""Every method of the installed langgraph_sdk is used by a test in this folder, with both of its clients."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from langgraph_sdk import get_client, get_sync_client

from .flavours import Flavour
from .methods import methods, used_by_tests

HERE = Path(__file__).parent


def test_every_method_has_a_test(flavour: Flavour) -> None:
    there = methods(flavour)
    assert {"assistants.create", "threads.join_stream", "crons.search", "stream.run.respond"} <= there
    assert there - used_by_tests(flavour, HERE) == set(), f"langgraph-sdk {version('langgraph-sdk')}, {flavour}"


async def test_client_is_closed(url: str) -> None:
    async with get_client(url=url, api_key=None) as client:
        assert await client.threads.count() >= 0
    with pytest.raises(RuntimeError, match="closed"):
        await client.threads.count()
    await client.aclose()


def test_synchronous_client_is_closed(url: str) -> None:
    with get_sync_client(url=url, api_key=None) as client:
        assert client.threads.count() >= 0
    with pytest.raises(RuntimeError, match="closed"):
        client.threads.count()
    client.close()

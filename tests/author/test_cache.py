"""``langgraph_sdk.cache`` works in all user code, and raises outside of a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client

from .serving import profile_url, server_for

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server_for(HERE / "caching.json", tmp_path_factory.mktemp("caching"), profile_url(request)) as url:
        yield url


def wait(url: str, graph: str, user: str = "ada", **given: Any) -> Any:
    client = get_sync_client(url=url, api_key=None, headers={"x-user": user})
    return client.runs.wait(None, graph, input=given)


def cached(url: str, key: str) -> Any:
    return httpx.get(f"{url}/cached/{key}").json()


@pytest.mark.parametrize("graph", ["caching", "in-thread", "on-own-loop"])
def test_nodes_share_values_with_later_runs_and_routes(url: str, graph: str) -> None:
    first = wait(url, graph, key=graph, value={"n": [1, None, "é"]})
    assert (first["seen"], first["loaded"]) == (None, {"teams": ["blue"]})
    assert wait(url, graph, key=graph, value=2)["seen"] == {"n": [1, None, "é"]}
    assert cached(url, graph) == 2


def test_lifespan_and_auth_handlers_share_values_too(url: str) -> None:
    assert cached(url, "lifespan") == "was here"
    wait(url, "caching", "grace", key="by handlers")
    assert cached(url, "authenticated") == "grace"


def test_all_users_share_a_key_as_on_the_reference_server(url: str) -> None:
    wait(url, "caching", "ada", key="shared", value="ada's")
    assert wait(url, "caching", "grace", key="shared", value="grace's")["seen"] == "ada's"


def test_cache_works_when_langgraph_api_is_installed(tmp_path: Path) -> None:
    """Its package refuses to be imported outside of its own server, and the SDK imports it if it can."""
    package = tmp_path / "langgraph_api"
    package.mkdir()
    (package / "__init__.py").touch()
    for module in ("cache", "server"):
        (package / f"{module}.py").write_text("raise KeyError('Config REDIS_URI is missing')")
    code = f"""
        import asyncio
        from pathlib import Path
        from langgraph_sdk import get_sync_client
        from tests.author.serving import server_for

        with server_for(Path({str(HERE / "caching.json")!r}), Path({str(tmp_path)!r})) as url:
            client = get_sync_client(url=url, api_key=None)
            print(client.runs.wait(None, "caching", input={{"key": "k", "value": 1}}))

        from langgraph_sdk.cache import cache_get
        try:
            asyncio.run(cache_get("k"))
        except RuntimeError as error:
            print("after it:", error)
    """
    paths = os.pathsep.join([str(tmp_path), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "'loaded': {'teams': ['blue']}" in done.stdout, done.stderr
    assert "after it: Cache is only available server-side" in done.stdout, done.stderr

"""Module-level clients, used by many concurrent runs: every run succeeds, on both profiles."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.providers.fixtures import providers
from tests.providers.running import Providers
from tests.servers.profiles import PROFILES, served

__all__ = ["providers"]

T = TypeVar("T")

FILE = Path(__file__).parent / "clients" / "agent.py"
RUNS, AT_ONCE = 120, 20
ROUNDS = 10 if os.environ.get("RUNSTEAD_LONG") == "1" else 1


@pytest.fixture(autouse=True)
def environment(providers: Providers, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**providers.environ, "APP_REDIS_URL": redis_url}.items():
        monkeypatch.setenv(name, value)


def configuration(folder: Path, *graphs: str, **parts: Any) -> Path:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {name: f"{FILE}:{name}" for name in graphs}, "dependencies": [], **parts}))
    return file


async def limited(make: Callable[[int], Awaitable[T]], count: int = RUNS, at_once: int = AT_ONCE) -> list[T]:
    """The results of ``count`` calls, a limited number of them concurrently."""
    free = asyncio.Semaphore(at_once)

    async def one(number: int) -> T:
        async with free:
            return await make(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


def question(number: int) -> dict[str, Any]:
    script = f'<script>\ncall multiply {{"a": {number}, "b": 3}}\nsay it is {{tool}}\n</script>'
    return {"messages": [{"role": "user", "content": f"three times {number}? {script}"}]}


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    return request


async def test_hundred_and_twenty_runs_share_one_chat_model(profile: pytest.FixtureRequest, tmp_path: Path) -> None:
    """With a loop per run, 10 to 43 % of them ended with `bound to a different event loop`."""
    config = configuration(tmp_path, "agent")
    async with served(config, tmp_path, profile) as url, httpx.AsyncClient(base_url=url, timeout=90) as http:

        async def run(number: int) -> Any:
            body = {"assistant_id": "agent", "input": question(number)}
            return (await http.post("/runs/wait", json=body)).json()

        for _ in range(ROUNDS):
            ended = await limited(run)
            said = [values["messages"][-1]["content"] if "messages" in values else values for values in ended]
            assert said == [f"it is {number * 3}" for number in range(RUNS)]


async def test_page_may_read_states_beside_the_runs(profile: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Reads open the graph too: on the loop of another run, they broke its client."""
    config = configuration(tmp_path, "agent")
    async with served(config, tmp_path, profile) as url, httpx.AsyncClient(base_url=url, timeout=90) as http:
        threads = [(await http.post("/threads", json={})).json()["thread_id"] for _ in range(5)]
        over = asyncio.Event()

        async def page() -> int:
            reads = 0
            while not over.is_set():
                for thread in threads:
                    for what in ("state", "history"):
                        assert (await http.get(f"/threads/{thread}/{what}")).status_code == 200
                        reads += 1
            return reads

        async def run(number: int) -> Any:
            body = {"assistant_id": "agent", "input": question(number), "multitask_strategy": "enqueue"}
            return (await http.post(f"/threads/{threads[number % 5]}/runs/wait", json=body)).json()

        reading = asyncio.create_task(page())
        ended = await limited(run, 25, 5)
        over.set()
        said = [values["messages"][-1]["content"] for values in ended]
        assert said == [f"it is {number * 3}" for number in range(25)]
        assert await reading > 0


async def test_one_redis_pool_serves_lifespan_auth_handlers_routes_and_nodes(
    profile: pytest.FixtureRequest, tmp_path: Path
) -> None:
    parts = {"http": {"app": f"{FILE}:app"}, "auth": {"path": f"{FILE}:auth"}}
    config = configuration(tmp_path, "counter", **parts)
    async with (
        served(config, tmp_path, profile) as url,
        httpx.AsyncClient(base_url=url, timeout=90, headers={"x-user": "alice"}) as http,
    ):

        async def use(number: int) -> Any:
            if number % 2:
                return (await http.get("/counted")).json()
            return (await http.post("/runs/wait", json={"assistant_id": "counter", "input": {}})).json()

        answers = await limited(use, 60)
    assert all(isinstance(answer, int) for answer in answers[1::2]), answers[1::2]
    assert all(len(answer.get("counts", ())) == 2 for answer in answers[::2]), answers[::2]

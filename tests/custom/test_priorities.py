"""``priority`` of langgraph.json through the API: calls of the function, effects of its results, and its failures."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.priorities import load_priority
from runstead.bootstrap.unsupported import UnsupportedConfiguration

from . import priorities
from .conftest import WITH_AUTH, Configured, Served

HERE = Path(__file__).parent
FILE = HERE / "priorities.py"
GRAPHS = {"noting": f"{FILE}:noting"}
PRIORITY = {"path": f"{FILE}:priority"}
ONE_AT_A_TIME = {"max_concurrent_runs": 1}


@pytest.fixture(autouse=True)
def _forget() -> None:
    for seen in (priorities.ASKED, priorities.LOOPS, priorities.BEGUN):
        seen.clear()


async def begin(client: Any, name: str, thread: str | None = None, *, seconds: float = 0, **fields: Any) -> Any:
    given: dict[str, Any] = {"if_not_exists": "create"} if thread else {}
    return await client.runs.create(thread, "noting", input={"name": name, "seconds": seconds}, **given, **fields)


async def begun(count: int) -> list[str]:
    async with asyncio.timeout(20):
        while len(priorities.BEGUN) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return priorities.BEGUN


def answering(answer: Any) -> dict[str, Any]:
    return {"answer": answer}


async def test_more_urgent_run_starts_first(served: Served) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY, settings=ONE_AT_A_TIME) as url:
        client = get_client(url=url, api_key=None)
        await begin(client, "first", seconds=1)
        await begun(1)
        for name, urgency in (("late", 5), ("usual", None), ("urgent", -5)):
            await begin(client, name, metadata=answering({"priority": urgency}))
        assert await begun(4) == ["first", "urgent", "usual", "late"]


async def test_group_with_many_runs_does_not_delay_the_first_run_of_another(served: Served) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY, settings={"max_concurrent_runs": 2}) as url:
        client = get_client(url=url, api_key=None)
        for number in range(8):
            group = answering({"fairness_group": "batch"})
            await begin(client, f"batch-{number}", seconds=0.4, metadata=group)
        await begun(2)
        await begin(client, "chat", metadata=answering({"fairness_group": "chat"}))
        assert "chat" in (await begun(4))[:4]


async def test_users_take_turns_without_a_priority_function(served: Served) -> None:
    async with served(graphs=GRAPHS, auth=WITH_AUTH, settings={"max_concurrent_runs": 2}) as url:
        ada, bob = (get_client(url=url, api_key=None, headers={"x-user": name}) for name in ("ada", "bob"))
        for number in range(8):
            await begin(ada, f"ada-{number}", seconds=0.4)
        await begun(2)
        await begin(bob, "bob")
        assert "bob" in (await begun(4))[:4]


async def test_user_with_64_long_runs_does_not_delay_the_first_run_of_another(served: Served) -> None:
    async with served(graphs=GRAPHS, auth=WITH_AUTH) as url:
        ada, bob = (get_client(url=url, api_key=None, headers={"x-user": name}) for name in ("ada", "bob"))
        await asyncio.gather(*(begin(ada, "ada", seconds=20) for _ in range(64)))
        await begun(56)
        await asyncio.wait_for(bob.runs.wait(None, "noting", input={"name": "bob"}), 5)
        assert sorted(set(priorities.BEGUN)) == ["ada", "bob"]
        assert len(priorities.BEGUN) == 57


async def test_function_is_called_once_per_thread_on_the_graph_loop(served: Served) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY) as url:
        client = get_client(url=url, api_key=None)
        thread = await client.threads.create(metadata={"plan": "gold"})
        for _ in range(2):
            await client.runs.wait(
                thread["thread_id"], "noting", input={"name": "a"}, metadata=answering({"priority": 1})
            )
        (context,) = priorities.ASKED
        assert (context.thread_id, context.thread_metadata["plan"]) == (thread["thread_id"], "gold")
        assert (context.graph_id, context.cron_id) == ("noting", None)
        assert context.run_metadata["answer"] == {"priority": 1}
        assert (context.user.identity, list(context.permissions), context.user.is_authenticated) == ("", [], False)
        assistant = await client.assistants.get(context.assistant_id)
        assert context.assistant_metadata == assistant["metadata"]
        assert len(set(priorities.LOOPS)) == 1
        await client.runs.wait(None, "noting", input={"name": "b"})
        assert (priorities.ASKED[-1].thread_id, priorities.ASKED[-1].thread_metadata) == (None, {})


async def test_function_receives_the_user(served: Served) -> None:
    async with served(graphs=GRAPHS, auth=WITH_AUTH, priority=PRIORITY) as url:
        client = get_client(url=url, api_key=None, headers={"x-user": "ada"})
        await client.runs.wait(None, "noting", input={"name": "a"})
        assert priorities.ASKED[0].user["identity"] == priorities.ASKED[0].user.identity == "ada"


@pytest.mark.parametrize(
    ("metadata", "status", "said"),
    [
        ({"then": "raise"}, 500, "This server's priority function failed, so no run was created"),
        ({"then": "exit"}, 500, "This server's priority function failed, so no run was created"),
        ({"then": "refuse"}, 429, "enough for today"),
        (answering({"priority": 6}), 500, "an integer from -5 to 5, got int"),
        (answering({"priority": True}), 500, "an integer from -5 to 5, got bool"),
        (answering({"fairness_group": "x" * 257}), 500, "a string of at most 256 characters, got str"),
        (answering({"fairness_group": 7}), 500, "a string of at most 256 characters, got int"),
        (answering("urgent"), 500, "None or a dict with priority and fairness_group, got str"),
    ],
)
async def test_failing_function_creates_no_run_and_is_called_again(
    served: Served, metadata: dict[str, Any], status: int, said: str
) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY) as url, httpx.AsyncClient(base_url=url) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "noting", "input": {"name": "a"}}
        refused = await http.post(f"/threads/{thread}/runs", json={**body, "metadata": metadata})
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), refused.text
        assert (await http.get(f"/threads/{thread}/runs")).json() == []
        assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200
        assert len(priorities.ASKED) == 2


async def test_unknown_thread_is_refused_before_the_function_is_called(served: Served) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY) as url, httpx.AsyncClient(base_url=url) as http:
        body = {"assistant_id": "noting", "input": {"name": "a"}}
        answer = await http.post("/threads/0f6f5a5c-1c2f-4f5e-8d3e-0c7d3f1f7a11/runs", json=body)
        assert (answer.status_code, priorities.ASKED) == (404, [])


async def test_key_without_effect_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async with served(graphs=GRAPHS, priority=PRIORITY) as url:
        client = get_client(url=url, api_key=None)
        with caplog.at_level(logging.WARNING):
            await client.runs.wait(None, "noting", input={"name": "a"}, metadata=answering({"fairness_weight": 3}))
    assert "['fairness_weight'], which have no effect" in caplog.text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("./nowhere.py:priority", "there is no file"),
        ("./priorities.py:missing", "it has no variable 'missing'"),
        ("./priorities.py", "priority.path"),
        ("./priorities.py:without_decorator", "it is a function, not a langgraph_sdk.Priority; write"),
        ("./priorities.py:nothing", "it has no function; write @priority.assign"),
    ],
)
def test_unusable_function_is_refused_at_startup(configured: Configured, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "priorities.py").write_text(FILE.read_text())
    with pytest.raises(UnsupportedConfiguration, match=r"langgraph.json: priority.path: ") as refused:
        load_priority(configured(graphs=GRAPHS, priority={"path": path}).configuration)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "metadata",
    [{"then": "raise with data", "data": "the plan"}, {"answer": "the plan"}, {"answer": {"priority": "the plan"}}],
)
async def test_error_text_of_a_function_is_not_logged_with_encryption(
    metadata: dict[str, Any], served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = {"encryption_keys": base64.b64encode(b"k" * 32).decode()}
    async with served(graphs=GRAPHS, priority=PRIORITY, settings=settings) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            body = {"assistant_id": "noting", "input": {"name": "n"}, "metadata": metadata}
            answer = await client.post("/runs", json=body)
        assert answer.status_code == 500
        assert "priority function" in answer.json()["detail"]
    assert "the priority function" in caplog.text
    assert "the plan" not in caplog.text

"""Configurable keys of the client reach the graph; the authenticated user is set by the server only."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.faults.browser import Browser

from .conftest import Served

REMARK = "runstead-remark"
FORGED = {"user_id": "root", "tenant_id": "root", "tenant": "acme", "langgraph_auth_user_id": "root"}
ASKED: list[dict[str, Any]] = [{"config": {"configurable": FORGED}}, {"context": FORGED}]


async def asked(http: httpx.AsyncClient, path: str = "/runs/wait", **fields: Any) -> httpx.Response:
    answer = await http.post(path, json={"assistant_id": "shown", "input": {}, **fields})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("fields", ASKED, ids=["configurable", "context"])
async def test_keys_of_the_client_reach_the_graph_without_authentication(
    browser: Browser, fields: dict[str, Any]
) -> None:
    answer = await asked(browser.http, **fields)
    assert answer.json()["seen"] == {"user_id": "root", "tenant": "acme"}
    assert answer.json()["log"][0]["user_id"] == "root"
    assert REMARK not in answer.headers


async def test_user_of_the_assistant_counts_without_authentication_and_the_requests_first(browser: Browser) -> None:
    config = {"configurable": {"user_id": "bob"}}
    assistant = (await browser.post("/assistants", {"graph_id": "shown", "config": config}))["assistant_id"]
    assert (await asked(browser.http, assistant_id=assistant)).json()["seen"]["user_id"] == "bob"
    answer = await asked(browser.http, assistant_id=assistant, config={"configurable": {"user_id": "ada"}})
    assert answer.json()["seen"]["user_id"] == "ada"
    assert (await asked(browser.http, config={"configurable": {"user_id": ""}})).json()["seen"]["user_id"] == "default"


async def test_graph_made_for_the_clients_user_is_read_and_resumed_as_theirs(browser: Browser) -> None:
    thread = await browser.new_thread()
    config = {"configurable": {"user_id": "ada"}}
    await browser.wait(thread, "made_for_user", {}, config=config)
    assert (await browser.get(f"{thread}/state"))["next"] == ["for ada"]
    assert (await browser.get(f"{thread}/history"))[0]["next"] == ["for ada"]
    answered = await browser.wait(thread, "made_for_user", None, command={"resume": "yes"})
    assert answered["seen"] == ["yes"]


@pytest.mark.parametrize("fields", ASKED, ids=["configurable", "context"])
async def test_authenticated_user_overrides_client_keys_with_a_remark(served: Served, fields: dict[str, Any]) -> None:
    async with served(users=True) as browser:
        browser.http.headers["x-user"] = "alice"
        thread = await browser.new_thread()
        answer = await asked(browser.http, **fields)
        assert answer.json()["seen"] == {"user_id": "alice", "tenant": "acme"}
        for path in ("/runs", f"{thread}/runs", "/runs/stream", "/runs/crons"):
            schedule = {"schedule": "0 0 1 1 *"} if path.endswith("crons") else {}
            told = (await asked(browser.http, path, **fields, **schedule)).headers[REMARK]
            assert "configurable.user_id has no effect" in told
            assert "configurable.tenant_id has no effect" in told
            assert "configurable.langgraph_auth_user_id has no effect" in told
            assert "configurable.tenant has" not in told
        batch = await browser.http.post("/runs/batch", json=[{"assistant_id": "shown", "input": {}, **fields}])
        assert "configurable.user_id" in batch.headers[REMARK]
        start = {"id": 1, "method": "run.start", "params": {"assistant_id": "shown", "input": {}, **fields}}
        assert "configurable.user_id" in (await browser.http.post(f"{thread}/commands", json=start)).headers[REMARK]


async def test_no_remark_when_client_and_server_agree(served: Served) -> None:
    async with served(users=True) as browser:
        browser.http.headers["x-user"] = "alice"
        answer = await asked(browser.http, config={"configurable": {"user_id": "alice", "tenant": "acme"}})
        assert answer.json()["seen"] == {"user_id": "alice", "tenant": "acme"}
        assert REMARK not in answer.headers

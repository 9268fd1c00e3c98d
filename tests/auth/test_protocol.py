"""The event protocol on a thread of another user: opening is allowed, since the thread might not exist yet."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from .conftest import ClientOf

BOB, GUEST = ({"x-api-key": f"{name}-token"} for name in ("bob", "guest"))


@pytest.fixture
async def thread_id(alice: Any) -> str:
    """A thread of alice's, with a run that has ended."""
    thread: str = (await alice.threads.create())["thread_id"]
    await alice.runs.wait(thread, "teller", input={})
    return thread


async def command(http: httpx.AsyncClient, thread_id: str, who: dict[str, str], method: str, **params: Any) -> Any:
    body = {"id": 1, "method": method, "params": params}
    answered = await http.post(f"/threads/{thread_id}/commands", json=body, headers=who)
    return answered.status_code, answered.json().get("error"), answered.json()


async def test_other_user_cannot_start_or_read_runs(http: httpx.AsyncClient, thread_id: str, alice: Any) -> None:
    status, error, told = await command(http, thread_id, BOB, "run.start", assistant_id="teller", input={})
    assert (status, error) == (200, "unknown_error"), told
    assert "404" in told["message"]
    assert (await command(http, thread_id, BOB, "state.get"))[1] == "no_such_run"
    assert (await command(http, thread_id, BOB, "state.listCheckpoints"))[1] == "no_such_run"
    assert len(await alice.runs.list(thread_id)) == 1


async def test_filter_applies_to_commands_and_streams(http: httpx.AsyncClient, thread_id: str) -> None:
    assert (await command(http, thread_id, GUEST, "state.get"))[0] == 404
    for path in ("stream", "stream/events"):
        body = {"channels": ["values"]}
        assert (await http.post(f"/threads/{thread_id}/{path}", json=body, headers=GUEST)).status_code == 404


async def test_run_that_a_command_starts_is_stamped(http: httpx.AsyncClient, thread_id: str, alice: Any) -> None:
    who = {"x-api-key": "alice-token"}
    status, error, told = await command(http, thread_id, who, "run.start", assistant_id="teller", input={})
    assert (status, error) == (200, None), told
    run = await alice.runs.get(thread_id, told["result"]["run_id"])
    assert run["metadata"]["owner"] == "alice"
    assert run["kwargs"]["config"]["tags"] == ["stamped"]


async def test_stream_of_another_user_receives_no_events(url: str, thread_id: str) -> None:
    async def first(who: dict[str, str]) -> str:
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream(
                "POST", f"{url}/threads/{thread_id}/stream/events", json={"channels": ["values"]}, headers=who
            ) as answer,
        ):
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    return line
        raise AssertionError("the stream ended")

    assert "alice" in await first({"x-api-key": "alice-token"})
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(first(BOB), 0.7)


async def test_web_socket_enforces_authorization(url: str, thread_id: str) -> None:
    place = f"{url.replace('http', 'ws')}/threads/{thread_id}/stream/events"
    for who, code in (({}, 4401), ({"x-api-key": "teapot-token"}, 4418), (GUEST, 4404)):
        async with connect(place, additional_headers=who) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
    async with connect(place, additional_headers=BOB) as socket:
        await socket.send(json.dumps({"id": 1, "method": "run.start", "params": {"assistant_id": "teller"}}))
        told = json.loads(await socket.recv())
        assert (told["type"], "404" in told["message"]) == ("error", True)


async def test_command_with_an_idempotency_key_is_executed_once(http: httpx.AsyncClient, client_of: ClientOf) -> None:
    alice = client_of("alice-token")
    thread = (await alice.threads.create())["thread_id"]
    who = {"x-api-key": "alice-token", "idempotency-key": "k"}
    told = [await command(http, thread, who, "run.start", assistant_id="teller", input={}) for _ in range(2)]
    assert told[0][2]["result"] == told[1][2]["result"]
    assert len(await alice.runs.list(thread)) == 1

"""Feedback over HTTP: given, replaced, listed, searched, deleted; refused if it makes no sense."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

HELLO = {"messages": [{"role": "human", "content": "hi there"}]}


@pytest.fixture
async def place(client: httpx.AsyncClient) -> str:
    thread_id = (await client.post("/threads", json={})).json()["thread_id"]
    await client.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "agent", "input": HELLO})
    (run,) = (await client.get(f"/threads/{thread_id}/runs")).json()
    return f"/threads/{thread_id}/runs/{run['run_id']}/feedback"


async def test_feedback_is_stored_once_per_user_and_subject(client: httpx.AsyncClient, place: str) -> None:
    await client.put(place, json={"score": 0, "comment": "no"})
    given = (await client.put(place, json={"score": True, "value": {"category": "tone"}})).json()
    assert (given["score"], given["value"], given["comment"], given["message_id"]) == (
        1.0,
        {"category": "tone"},
        None,
        None,
    )
    message = (await client.put(place, json={"message_id": "m-1", "score": -1})).json()
    listed = await client.get(place)
    assert (listed.json(), listed.headers["x-pagination-total"]) == ([message, given], "2")
    assert (await client.get(place, params={"message_id": "m-1"})).json() == [message]
    found = (await client.post("/feedback/search", json={"min_score": 0.5})).json()
    assert found == [given]
    assert (await client.delete(place, params={"message_id": "m-1"})).status_code == 204
    again = await client.delete(place, params={"message_id": "m-1"})
    assert (again.status_code, again.json()["detail"][:42]) == (404, "You have given no feedback on message 'm-1")
    assert (await client.get(place)).json() == [given]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "Feedback needs a score, a value or a comment"),
        ({"score": "1"}, "score:"),
        ({"score": 1, "message_id": ""}, "message_id:"),
        ({"message_id": "m-1", "value": None}, "Feedback needs"),
        ({"comment": 1}, "comment:"),
    ],
)
async def test_feedback_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, place: str, body: dict[str, Any], reason: str
) -> None:
    refused = await client.put(place, json=body)
    assert (refused.status_code, refused.json()["detail"][: len(reason)]) == (422, reason)
    assert (await client.get(place)).json() == []


async def test_feedback_on_a_missing_run_is_not_found(client: httpx.AsyncClient, place: str) -> None:
    missing = f"{place[: -len('/feedback') - 4]}0000/feedback"
    for method, body in (("GET", None), ("PUT", {"score": 1}), ("DELETE", None)):
        assert (await client.request(method, missing, json=body)).status_code == 404


async def test_feedback_goes_with_its_thread(client: httpx.AsyncClient, place: str) -> None:
    await client.put(place, json={"score": 1})
    await client.delete(place.partition("/runs/")[0])
    assert (await client.post("/feedback/search", json={})).json() == []


async def test_page_of_messages_has_the_feedback_on_them(client: httpx.AsyncClient, place: str) -> None:
    chat = f"{place.partition('/runs/')[0]}/messages"
    message = (await client.get(chat)).json()["data"][-1]["id"]
    given = (await client.put(place, json={"message_id": message, "score": 1})).json()
    await client.put(place, json={"message_id": "another", "score": 1})
    assert (await client.get(chat)).json()["feedback"] == [given]

"""Messages of a thread are its chat, under the ids of the state, whatever happened to the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from .conftest import eventually, new_thread


async def say(http: httpx.AsyncClient, thread: str, text: str, graph: str = "chat", **fields: Any) -> None:
    said = {"messages": [{"role": "human", "content": text}]}
    body = {"assistant_id": graph, "input": said, **fields}
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200


async def page(http: httpx.AsyncClient, thread: str, **query: Any) -> tuple[list[str], bool]:
    found = await http.get(f"/threads/{thread}/messages", params=query)
    assert found.status_code == 200, found.text
    body = found.json()
    return [message["content"] for message in body["data"]], body["has_more"]


async def chat_of(http: httpx.AsyncClient, thread: str) -> list[str]:
    return (await page(http, thread))[0]


async def ids_of(http: httpx.AsyncClient, thread: str) -> dict[str, str]:
    """Return the ids of the chat's messages by their texts."""
    found = await http.get(f"/threads/{thread}/messages")
    return {message["content"]: message["id"] for message in found.json()["data"]}


async def test_chat_keeps_what_a_summary_replaced_and_pages_both_ways(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    assert await page(http, thread) == ([], False)
    for number in range(8):
        await say(http, thread, f"q{number}")
    whole = [text for number in range(8) for text in (f"q{number}", f"re: q{number}")]
    assert await page(http, thread, limit=16) == (whole, False)
    ids = await ids_of(http, thread)
    state = (await http.get(f"/threads/{thread}/state")).json()["values"]["messages"]
    assert len(state) < 8, "nothing was summarized: the test proves nothing"
    assert {message["id"] for message in state if message["content"] in ids} <= set(ids.values())
    assert await page(http, thread, limit=3) == (whole[-3:], True)
    assert await page(http, thread, limit=3, before=ids["q3"]) == (whole[3:6], True)
    assert await page(http, thread, limit=9, before=ids["q3"]) == (whole[:6], False)
    assert await page(http, thread, limit=3, after=ids["q3"]) == (whole[7:10], True)
    assert await page(http, thread, limit=9, after=ids["re: q3"]) == (whole[8:], False)
    assert await page(http, thread, after=ids["q1"], before=ids["q3"]) == (whole[3:6], False)
    assert await page(http, thread, limit=2, types="human") == (["q6", "q7"], True)
    for query in ({"after": "absent"}, {"types": "system"}):
        assert (await http.get(f"/threads/{thread}/messages", params=query)).status_code == 422


async def test_chat_follows_updates_copies_and_forks(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    for number in range(4):
        await say(http, thread, f"q{number}")
    whole = [text for number in range(4) for text in (f"q{number}", f"re: q{number}")]
    copy = (await http.post(f"/threads/{thread}/copy")).json()["thread_id"]
    assert await ids_of(http, copy) == await ids_of(http, thread)
    last = (await ids_of(http, thread))["re: q3"]
    changes = [{"type": "remove", "id": last, "content": ""}, {"role": "ai", "content": "by hand"}]
    updated = await http.post(f"/threads/{thread}/state", json={"values": {"messages": changes}})
    assert updated.status_code == 200, updated.text
    assert await chat_of(http, thread) == [*whole[:-1], "by hand"]
    assert await chat_of(http, copy) == whole
    history = (await http.post(f"/threads/{copy}/history", json={"limit": 100})).json()
    ends = [state for state in history if not state["next"] and len(state["values"]["messages"]) == 2]
    checkpoint = {"checkpoint_id": ends[-1]["checkpoint"]["checkpoint_id"]}
    await say(http, copy, "another way", checkpoint=checkpoint)
    assert await chat_of(http, copy) == ["q0", "re: q0", "another way", "re: another way"]


async def test_chat_follows_interrupts_and_rollbacks(http: httpx.AsyncClient, tmp_path: Path) -> None:
    thread = await new_thread(http)
    await say(http, thread, "ask", "polite")
    assert await chat_of(http, thread) == ["ask"]
    resume = {"assistant_id": "polite", "command": {"resume": "yes"}}
    await http.post(f"/threads/{thread}/runs/wait", json=resume)
    assert await chat_of(http, thread) == ["ask", "yes"]
    said = {"messages": [{"role": "human", "content": str(tmp_path / "release")}]}
    run = (await http.post(f"/threads/{thread}/runs", json={"assistant_id": "polite", "input": said})).json()

    async def has_begun() -> bool:
        return str(tmp_path / "release") in await chat_of(http, thread)

    await eventually(has_begun)
    await http.post(f"/threads/{thread}/runs/{run['run_id']}/cancel", params={"action": "rollback", "wait": True})
    assert await chat_of(http, thread) == ["ask", "yes"]


async def test_chat_of_a_deep_agent_has_only_the_lead_and_its_tools(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    await say(http, thread, "Do it.", "deep")
    found = (await http.get(f"/threads/{thread}/messages")).json()["data"]
    assert [(message["type"], message["content"]) for message in found] == [
        ("human", "Do it."),
        ("ai", ""),
        ("tool", "Done by a helper."),
        ("ai", "It is done."),
    ]
    assert (await http.get("/threads/01a22e6e-6972-768c-987f-111cd7c852e4/messages")).status_code == 404

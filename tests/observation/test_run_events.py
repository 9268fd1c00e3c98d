"""Events of runs: stored while the run is silent, and named for what happened."""

from __future__ import annotations

from pathlib import Path

import httpx

from .conftest import event_types, eventually, new_thread


async def start_waiting(http: httpx.AsyncClient, release: Path) -> str:
    """Start a run that is silent until ``release`` exists, and return its path when its events are stored."""
    thread = await new_thread(http)
    said = {"messages": [{"role": "human", "content": "Hello"}], "release": str(release)}
    run = await http.post(f"/threads/{thread}/runs", json={"assistant_id": "waiting", "input": said})
    path = f"/threads/{thread}/runs/{run.json()['run_id']}"

    async def has_begun() -> bool:
        return "node_start" in await event_types(http, path)

    await eventually(has_begun)
    return path


async def test_events_of_a_silent_node_are_stored_while_it_works(http: httpx.AsyncClient, tmp_path: Path) -> None:
    path = await start_waiting(http, tmp_path / "release")
    assert await event_types(http, path) == ["human_message", "run_start", "node_start"]
    (tmp_path / "release").touch()
    assert (await http.get(f"{path}/join")).status_code == 200
    assert await event_types(http, path) == ["human_message", "run_start", "node_start", "run_end"]


async def test_run_stopped_by_its_user_has_not_failed(http: httpx.AsyncClient, tmp_path: Path) -> None:
    path = await start_waiting(http, tmp_path / "release")
    await http.post(f"{path}/cancel", params={"wait": True})
    found = (await http.get(f"{path}/events")).json()["data"]
    assert [event["event_type"] for event in found] == ["human_message", "run_start", "node_start", "run_stopped"]
    assert found[-1]["content"] == {"reason": "user_interrupt"}
    assert found[-1]["metadata"] == {"attempt": 1}

"""States and errors that cannot be expressed in JSON, SQL or a log line end a run like any other."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client, new_id
from .frames import Frame
from .graphs import ERRORS, VALUES
from .server import ServerProcess

EVERYTHING = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"]


async def _watched(client: Client, kind: str, where: str, modes: list[str]) -> tuple[str, Any, list[Frame]]:
    """A run of the hostile graph: its thread, its record, and its frames, all of it strict JSON."""
    thread_id = new_id()
    frames = await client.frames(
        thread_id, "hostile", {"kind": kind, "where": where}, stream_mode=modes, stream_resumable=True
    )
    (run,) = await client.runs_of(thread_id)
    assert [frame.json for frame in frames], "every frame parses"
    assert await client.replay(f"/threads/{thread_id}/runs/{run['run_id']}") == frames
    return thread_id, run, frames


async def _is_usable(client: Client, thread_id: str) -> None:
    """Assert that the thread is idle, all requests about it are answered, and it accepts another run."""
    assert (await client.get(f"/threads/{thread_id}"))["status"] in ("idle", "error")
    await client.get(f"/threads/{thread_id}/state")
    await client.get(f"/threads/{thread_id}/history")
    assert (await client.post("/threads/search", {"ids": [thread_id]}))[0]["thread_id"] == thread_id
    await client.wait(thread_id, "noop", {"n": 1})
    assert (await client.get(f"/threads/{thread_id}"))["status"] == "idle"


@pytest.mark.parametrize("kind", VALUES)
async def test_state_not_expressible_in_json_ends_the_run_normally(client: Client, kind: str) -> None:
    modes = ["values", "updates"] if kind == "large" else EVERYTHING
    thread_id, run, frames = await _watched(client, kind, "state", modes)
    if run["status"] == "success":
        values = [frame.json for frame in frames if frame.event == "values"][-1]
        assert values["kind"] == kind
        assert "value" in await client.values(thread_id)
    else:
        assert run["status"] == "error"
        assert run["failure"]["error"]
        assert frames[-1].event == "error"
    await _is_usable(client, thread_id)


@pytest.mark.parametrize("kind", VALUES)
async def test_custom_event_not_expressible_in_json_is_approximated(client: Client, kind: str) -> None:
    thread_id, run, frames = await _watched(client, kind, "custom", ["custom", "values"])
    assert run["status"] == "success"
    assert len([frame for frame in frames if frame.event == "custom"]) == 1
    await _is_usable(client, thread_id)


@pytest.mark.parametrize("kind", ERRORS)
async def test_unprintable_exception_ends_the_run_with_an_error(client: Client, kind: str) -> None:
    thread_id, run, frames = await _watched(client, kind, "error", EVERYTHING)
    assert run["status"] == "error"
    assert run["failure"]["error"]
    assert len(run["failure"]["message"]) <= 20_000
    assert frames[-1].event == "error"
    assert set(frames[-1].json) >= {"error", "message"}
    waited = await client.wait(thread_id, "hostile", {"kind": kind, "where": "error"})
    assert set(waited) == {"__error__"}
    assert (await client.get(f"/threads/{thread_id}"))["status"] == "error"
    await _is_usable(client, thread_id)


async def test_hostile_value_of_one_run_does_not_affect_the_next(client: Client) -> None:
    """A value that only the stream could not express does not remain in the server, the thread or the loop."""
    thread_id = new_id()
    for kind in ("nan", "surrogate", "large", "nan"):
        values = await client.wait(thread_id, "hostile", {"kind": kind, "where": "state"})
        assert values["kind"] == kind


def test_server_process_survives_hostile_values(server: ServerProcess) -> None:
    assert server.resident_bytes() > 0
    assert "its attempt failed unexpectedly" not in server.log
    assert "Task exception was never retrieved" not in server.log

"""Transcripts of concurrent events: a run and its reader, two runs on one thread, a disconnecting client.

The progress of a run at such an event is random on both servers; all else is compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS
from .expected_differences import LIVE, replay
from .transcript import Comparison, Exchange, Frame, read_frames, read_transcript, threads_of

HEARTBEAT = 0.2


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server, for streams that are read while they are written."""
    flags = {
        "data_dir": current_data(tmp_path / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "heartbeat_seconds": HEARTBEAT,
    }
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def faster(exchange: Exchange, delay: float = 0.03) -> Exchange:
    if exchange.body is None or "delay" not in exchange.body.get("input", {}):
        return exchange
    return replace(exchange, body={**exchange.body, "input": {**exchange.body["input"], "delay": delay}})


async def reached(http: httpx.AsyncClient, thread_id: str, *, steps: int) -> None:
    for _ in range(500):
        if (await http.get(f"/threads/{thread_id}/state")).json()["values"].get("done", 0) >= steps:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the run does not come forward")


def shape(frames: list[Frame]) -> tuple[list[str], bool]:
    """Return the kinds of frames, in order of first appearance, and True if one of them had an id."""
    return list(dict.fromkeys(frame.event for frame in frames)), any(frame.has_id for frame in frames)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_run_is_cancelled_while_a_reader_streams(action: str, http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    created, *others = read_transcript(f"cancel_{action}")
    (thread_id,) = threads_of([created])
    await http.post("/threads", json={"thread_id": thread_id})
    run_id = (await replay(http, faster(created), comparison)).json()["run_id"]
    await reached(http, thread_id, steps=1)
    reading = asyncio.create_task(http.get(f"/threads/{thread_id}/runs/{run_id}/stream"))
    await reached(http, thread_id, steps=3)
    for exchange in others:
        await replay(http, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    (watched,) = read_transcript(f"cancel_{action}_observer")
    assert shape(read_frames((await reading).text)) == shape(read_frames(watched.text))


async def test_run_is_cancelled_without_waiting(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    created, cancelled, read = read_transcript("cancel_nowait")
    (thread_id,) = threads_of([created])
    await http.post("/threads", json={"thread_id": thread_id})
    run = (await replay(http, faster(created), comparison)).json()
    await reached(http, thread_id, steps=1)
    await replay(http, cancelled, comparison)
    await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
    await replay(http, read, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_many_runs_are_cancelled_at_once(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    created, *others = read_transcript("cancel_many")
    (thread_id,) = threads_of([created])
    await http.post("/threads", json={"thread_id": thread_id})
    run = (await replay(http, faster(created), comparison)).json()
    for exchange in others:
        await replay(http, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
    assert (await http.get(f"/threads/{thread_id}/runs/{run['run_id']}")).json()["status"] == "interrupted"


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback", "enqueue"])
async def test_second_run_is_created_while_the_first_runs(strategy: str, http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    (first,) = read_transcript(f"multitask_{strategy}_first")
    second, *others = read_transcript(f"multitask_{strategy}")
    (thread_id,) = threads_of([first])
    await http.post("/threads", json={"thread_id": thread_id})
    body = {**first.body, "input": {"steps": 8, "delay": 0.15}}
    reading = asyncio.create_task(http.post(first.path, json=body))
    await reached(http, thread_id, steps=1)
    await replay(http, faster(second, 0.05), comparison)
    # The events that the first reader saw to its end, whichever that was, and then the remaining exchanges.
    assert shape(read_frames((await reading).text)) == shape(read_frames(first.text))
    for exchange in others:
        await replay(http, exchange, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


@pytest.mark.parametrize("name", ["disconnect_cancel", "disconnect_continue"])
async def test_client_disconnects_mid_stream(name: str, http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    streamed, listed = read_transcript(name)
    (thread_id,) = threads_of([streamed])
    await http.post("/threads", json={"thread_id": thread_id})
    async with http.stream("POST", streamed.path, json=faster(streamed).body) as stream:
        comparison.same(streamed.answer_headers["location"], stream.headers["location"], "location")
        async for line in stream.aiter_lines():
            if "tick 1" in line:
                break
    run_id = stream.headers["location"].split("/")[-2]
    await http.get(f"/threads/{thread_id}/runs/{run_id}/join")
    await replay(http, listed, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_long_silence_sends_heartbeats(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    (exchange,) = read_transcript("heartbeat")
    (thread_id,) = threads_of([exchange])
    await http.post("/threads", json={"thread_id": thread_id})
    response = await replay(http, faster(exchange, 0.7), comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    pieces = response.text.split("\r\n\r\n")
    assert pieces[2:4] == [": heartbeat", ": heartbeat"]
    assert [piece.partition("\r\n")[0] for piece in pieces[-2:]] == ["event: values", ""]


async def test_long_wait_sends_newlines(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    (exchange,) = read_transcript("wait_keepalive")
    (thread_id,) = threads_of([exchange])
    await http.post("/threads", json={"thread_id": thread_id})
    began = time.monotonic()
    response = await replay(http, faster(exchange, 0.5), comparison)
    elapsed = time.monotonic() - began
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    newlines, brace, _ = response.text.partition("{")
    assert (newlines.strip("\n"), brace) == ("", "{")
    # One per heartbeat: two while the node sleeps, and more only if the machine was slower.
    assert 2 <= len(newlines) <= elapsed / HEARTBEAT


async def test_run_is_rejoined_from_the_last_event_id(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    created, _, replayed, resumed, late = read_transcript("join_stream_resumable")
    (thread_id,) = threads_of([created])
    await http.post("/threads", json={"thread_id": thread_id})
    await replay(http, faster(created), comparison)
    everything = await replay(http, replayed, comparison)
    (place,) = [block for block in everything.text.split("\r\n\r\n") if '"tick 3"' in block and '"tick 4"' not in block]
    await replay(http, replace(resumed, headers={"Last-Event-ID": place.rpartition("id: ")[2]}), comparison)
    await replay(http, late, comparison)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def test_joined_thread_shows_its_run_and_a_state_update(http: httpx.AsyncClient) -> None:
    comparison = Comparison(LIVE)
    waited, updated, watched = read_transcript("thread_join_stream")
    (thread_id,) = threads_of([waited])
    await http.post("/threads", json={"thread_id": thread_id})
    async with http.stream("GET", watched.path) as stream:
        comparison.same(watched.status, stream.status_code, "status")
        for name in ("content-type", "cache-control", "x-accel-buffering"):
            comparison.same(watched.answer_headers.get(name), stream.headers.get(name), name)
        for exchange in (waited, updated):
            await replay(http, exchange, comparison)
        text = ""
        async for piece in stream.aiter_text():
            text += piece
            if "state_update" in text and text.endswith("\r\n\r\n"):
                break
    ours = read_frames(text)
    # The change came after the run. The reference reports it in the middle, under an id that is out of order.
    theirs = sorted(read_frames(watched.text), key=lambda frame: frame.event == "state_update")
    comparison.same_frames(theirs, ours)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)
    assert [frame.event for frame in ours][-2:] == ["metadata", "state_update"]


async def test_ended_run_streams_nothing_more(http: httpx.AsyncClient) -> None:
    (exchange,) = read_transcript("join_stream_finished_nonresumable")
    (thread_id,) = threads_of([exchange])
    body: dict[str, Any] = {"assistant_id": "agent", "input": {"messages": []}, "if_not_exists": "create"}
    body["input"] = {"messages": [{"role": "human", "content": "hi there"}]}
    run = (await http.post(f"/threads/{thread_id}/runs", json=body)).json()
    await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
    response = await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/stream")
    assert (response.status_code, response.text) == (200, exchange.text)

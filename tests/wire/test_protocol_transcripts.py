"""The event protocol: recorded events of the reference, compared with Runstead's. Each wanted difference is named,
with its reason.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS
from .event_reader import Event, endings, following
from .expected_differences import NUMBERS, PROTOCOL, SILENT, with_our_ids
from .transcript import Comparison, Exchange, read_frames, read_socket, read_transcript


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    flags = {
        "data_dir": current_data(tmp_path / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "heartbeat_seconds": 0.2,
    }
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    async with serving(application) as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("name", ["agent", "fail", "fanout", "hitl", "nested", "nested_hitl", "since", "tools"])
async def test_events_equal_those_of_the_reference(name: str, http: httpx.AsyncClient) -> None:
    comparison = Comparison(PROTOCOL)
    seen: list[Event] = []
    for exchange in read_transcript(f"v2_{name}"):
        asked = with_our_ids(exchange, comparison)
        if not exchange.is_stream:
            response = await http.request(asked.method, asked.path, json=asked.body)
            comparison.same(exchange.status, response.status_code, "status")
            if "/commands" in exchange.path:
                comparison.same(json.loads(exchange.text), response.json())
            continue
        theirs = [frame.data for frame in read_frames(exchange.text)]
        seen = await our_events(http, asked, theirs, seen)
        compare(comparison, theirs, seen)
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)


async def our_events(
    http: httpx.AsyncClient, exchange: Exchange, theirs: Sequence[Event], before: Sequence[Event]
) -> list[Event]:
    """Return Runstead's events for the same request, up to the same end of a run."""
    wanted = dict(exchange.body)
    since = wanted.pop("since", None)
    if since is not None:
        # Their sequence number, replaced by that of Runstead's event in the same position.
        since = wanted["since"] = next(event for event in before if event["method"] == "values")["seq"]
    thread_id = exchange.path.split("/")[2]
    async with following(http, thread_id, **wanted) as follower:
        assert follower.headers["content-type"] == exchange.answer_headers["content-type"]
        assert follower.headers["cache-control"] == exchange.answer_headers["cache-control"]
        assert follower.headers["x-accel-buffering"] == exchange.answer_headers["x-accel-buffering"]
        return list(await follower.run_ended(len(endings(theirs))))


def compare(comparison: Comparison, theirs: Sequence[Event], ours: Sequence[Event]) -> None:
    """Compare event by event, within each channel; wanted differences are SILENT, IN_ONE_PIECE and LAST."""
    assert [event["seq"] for event in ours] == sorted({event["seq"] for event in ours}), NUMBERS
    assert len({event["event_id"] for event in ours}) == len(ours)
    whole = whole_messages(ours)
    ours = [event for event in ours if event["method"] not in SILENT and id(event) not in whole]
    for method in ("lifecycle", "values", "messages", "input.requested"):
        one = ends_last([event for event in theirs if event["method"] == method])
        other = ends_last([event for event in ours if event["method"] == method])
        comparison.same([shown(event) for event in one], [shown(event) for event in other], method)


def whole_messages(events: Sequence[Event]) -> set[int]:
    """Replace events of messages in one piece (IN_ONE_PIECE): those not streamed by a model have other ids."""
    found: set[int] = set()
    is_whole = False
    for event in events:
        if event["method"] == "messages":
            if event["params"]["data"]["event"] == "message-start":
                is_whole = not event["params"]["data"]["id"].startswith("lc_run--")
            if is_whole:
                found.add(id(event))
    return found


def ends_last(events: Sequence[Event]) -> list[Event]:
    """Move the end of each run behind its other events (LAST)."""
    ordered: list[Event] = []
    ended: list[Event] = []
    for event in events:
        if event["params"]["data"].get("event") == "running":
            ordered += ended
            ended = []
        if event in endings([event]):
            ended.append(event)
        else:
            ordered.append(event)
    return ordered + ended


def shown(event: Event) -> dict[str, Any]:
    """Return an event without its number and times; the id is kept if derived from the event's content."""
    event_id = event["event_id"] if event["event_id"].endswith(("|running", "|completed", "|failed")) else ""
    data = plain(event["params"]["data"])
    return {"id": event_id, "type": event["type"], "namespace": event["params"]["namespace"], "data": data}


def plain(value: Any) -> Any:
    """Return content blocks as plain text: the reference's models are asked for blocks, Runstead's are not."""
    if isinstance(value, list):
        if value and all(isinstance(one, dict) and one.get("type") == "text" and "index" in one for one in value):
            return "".join(one["text"] for one in value)
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: found for key, one in value.items() if (found := plain(one)) != {} and not _is_blocks(key, one)}
    return value


def _is_blocks(key: str, value: Any) -> bool:
    return key == "response_metadata" and value == {"output_version": "v1"}


async def test_wrong_commands_are_refused_in_the_same_way(http: httpx.AsyncClient) -> None:
    different: list[str] = []
    for exchange in read_transcript("v2_errors"):
        response = await http.post(exchange.path, json=exchange.body)
        theirs, ours = json.loads(exchange.text), response.json()
        if "state.get" in json.dumps(exchange.body):
            # The reference does not know the command, which is in the specification.
            assert (ours["type"], ours["error"]) == ("error", "no_such_run")
            continue
        for one in (theirs, ours):
            if "Allowed: " in one.get("detail", ""):
                # The list names channels that the reference accepts too.
                one["detail"] = one["detail"].partition("Allowed: ")[0]
        if (exchange.status, theirs) != (response.status_code, ours):
            different.append(f"{exchange.body}: theirs {theirs}, ours {ours}")
    assert different == []


async def test_stream_opens_before_its_thread_exists(http: httpx.AsyncClient) -> None:
    (exchange,) = read_transcript("v2_subscribe_before_thread")
    async with following(http, exchange.path.split("/")[2], **exchange.body) as follower:
        assert follower.status == exchange.status
        assert follower.headers["content-type"] == exchange.answer_headers["content-type"]
        # Open, with heartbeats only: the reference's stream was closed by the client in the end.
        await follower.until(lambda it: it.comments >= 2)
        assert follower.events == []


async def test_web_socket_messages_equal_those_of_the_reference(url: str) -> None:
    sent, said = read_socket("v2_websocket")
    theirs = [json.loads(text) for text in said]
    comparison = Comparison(PROTOCOL)
    thread_id = "8fc87c5e-351c-4d1f-acd9-3d15ab439631"
    ours: list[Any] = []
    async with connect(f"{url.replace('http', 'ws')}/threads/{thread_id}/stream/events") as socket:
        for text in sent[:2]:
            await socket.send(text)
        while not endings([one for one in ours if one["type"] == "event"]):
            ours.append(json.loads(await socket.recv()))
        for text in sent[2:]:
            await socket.send(text)
            ours.append(json.loads(await socket.recv()))
    comparison.same(
        [one for one in theirs if one["type"] != "event"], [one for one in ours if one["type"] != "event"], "answers"
    )
    compare(
        comparison,
        [one for one in theirs if one["type"] == "event"],
        [one for one in ours if one["type"] == "event"],
    )
    assert not comparison.differences, "\n" + "\n".join(comparison.differences)

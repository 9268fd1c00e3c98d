"""The event protocol over WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS
from .event_reader import EVERYTHING, HI, endings, following


class Socket:
    """The client side. Responses and events share one connection and are separated here."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._count = 0
        self.events: list[Any] = []

    async def ask(self, method: str, **params: Any) -> Any:
        self._count += 1
        await self._connection.send(json.dumps({"id": self._count, "method": method, "params": params}))
        async with asyncio.timeout(60):
            while (said := await self._next()).get("id") != self._count:
                self.events.append(said)
        return said

    async def until_ended(self, runs: int = 1) -> None:
        async with asyncio.timeout(60):
            while len(endings(self.events)) < runs:
                self.events.append(await self._next())

    async def silence(self, seconds: float = 0.3) -> None:
        """Return when nothing more has arrived for a while."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    self.events.append(await self._next())
            except TimeoutError:
                return

    async def _next(self) -> Any:
        return json.loads(await self._connection.recv())


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
async def small(tmp_path: Path) -> AsyncIterator[str]:
    """A server that accepts bodies of 100 kB."""
    flags = {
        "data_dir": current_data(tmp_path / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "max_body_bytes": 100_000,
    }
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    async with serving(application) as url:
        yield url


@pytest.fixture
def thread_id() -> str:
    return str(uuid4())


def address(url: str, thread_id: str, path: str = "stream/events") -> str:
    return f"{url.replace('http', 'ws')}/threads/{thread_id}/{path}"


@pytest.mark.parametrize("path", ["stream/events", "stream"])
async def test_socket_sends_the_events_of_a_stream(path: str, url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id, path)) as connection:
        socket = Socket(connection)
        await socket.ask("subscription.subscribe", channels=EVERYTHING)
        await socket.ask("run.start", assistant_id="nested", input=HI)
        await socket.until_ended()
    async with httpx.AsyncClient(base_url=url) as http, following(http, thread_id) as follower:
        await follower.run_ended()
    assert socket.events == follower.events


async def test_response_has_the_applied_sequence(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        subscribed = await socket.ask("subscription.subscribe", channels=["lifecycle"])
        assert subscribed["meta"] == {"applied_through_seq": 0}
        await socket.ask("run.start", assistant_id="agent", input=HI)
        await socket.until_ended()
        tree = await socket.ask("agent.getTree")
    assert tree["meta"] == {"applied_through_seq": socket.events[-1]["seq"]}


async def test_event_of_two_subscriptions_is_sent_once(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        await socket.ask("subscription.subscribe", channels=["lifecycle", "values"])
        await socket.ask("subscription.subscribe", channels=["lifecycle", "input"])
        await socket.ask("run.start", assistant_id="hitl", input=HI)
        await socket.until_ended()
        await socket.silence()
    ids = [event["event_id"] for event in socket.events]
    assert len(ids) == len(set(ids))
    assert {event["method"] for event in socket.events} == {"lifecycle", "values", "input.requested"}


async def test_late_subscription_replays_past_events(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        await socket.ask("subscription.subscribe", channels=["lifecycle"])
        await socket.ask("run.start", assistant_id="agent", input=HI)
        await socket.until_ended()
        late = await socket.ask("subscription.subscribe", channels=["values"])
        assert late["result"]["replayed_events"] == 2
        await socket.silence()
    assert [event["method"] for event in socket.events] == ["lifecycle", "lifecycle", "values", "values"]


async def test_late_subscription_replays_events_of_another_subscription(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        await socket.ask("subscription.subscribe", channels=["lifecycle"])
        await socket.ask("run.start", assistant_id="agent", input=HI)
        await socket.until_ended()
        await socket.ask("subscription.subscribe", channels=["lifecycle", "values"])
        await socket.until_ended(2)
    assert [event["method"] for event in socket.events[2:]] == ["lifecycle", "values", "values", "lifecycle"]


async def test_concurrent_subscriptions_replay_in_thread_order(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        await socket.ask("subscription.subscribe", channels=["lifecycle"])
        await socket.ask("run.start", assistant_id="agent", input=HI)
        await socket.until_ended()
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        for number, channels in ((101, ["lifecycle"]), (102, ["values"])):
            command = {"id": number, "method": "subscription.subscribe", "params": {"channels": channels}}
            await connection.send(json.dumps(command))
        await socket.ask("subscription.subscribe", channels=["messages"])
        socket.events = [said for said in socket.events if said["type"] == "event"]
        await socket.until_ended()
    seqs = [event["seq"] for event in socket.events]
    assert seqs == sorted(seqs)
    assert len(seqs) > 8


async def test_unsubscribe_ends_the_subscription(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        socket = Socket(connection)
        subscribed = await socket.ask("subscription.subscribe", channels=["values"])
        found = subscribed["result"]["subscription_id"]
        assert (await socket.ask("subscription.unsubscribe", subscription_id=found))["type"] == "success"
        again = await socket.ask("subscription.unsubscribe", subscription_id=found)
        assert (again["type"], again["error"]) == ("error", "no_such_subscription")
        await socket.ask("run.start", assistant_id="agent", input=HI)
        await socket.silence()
    assert socket.events == []


async def test_reconnecting_client_continues_at_its_sequence(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        before = Socket(connection)
        await before.ask("subscription.subscribe", channels=["values", "lifecycle"])
        await before.ask("run.start", assistant_id="nested", input=HI)
        await before.until_ended()
    async with connect(address(url, thread_id)) as connection:
        after = Socket(connection)
        restored = await after.ask("subscription.reconnect", since=before.events[2]["seq"])
        assert restored["result"]["restored"] is True
        await after.ask("subscription.subscribe", channels=["values", "lifecycle"])
        await after.until_ended()
    assert after.events == before.events[3:]


async def test_client_reconnecting_too_late_is_refused(tmp_path: Path, thread_id: str) -> None:
    place = {"data_dir": current_data(tmp_path / "data"), "port": 0}
    flags = {**place, "shutdown_grace_seconds": 0.1, "stream_archive": False}
    settings = load_settings(flags, project=tmp_path)
    async with (
        serving(Application(settings, read_configuration(GRAPHS))) as url,
        connect(address(url, thread_id)) as connection,
    ):
        before = Socket(connection)
        await before.ask("subscription.subscribe", channels=["values", "lifecycle"])
        await before.ask("run.start", assistant_id="agent", input=HI)
        await before.until_ended()
    async with (
        serving(Application(settings, read_configuration(GRAPHS))) as url,
        connect(address(url, thread_id)) as connection,
    ):
        since = before.events[0]["seq"]
        refused = await Socket(connection).ask("subscription.reconnect", since=since)
    assert (refused["type"], refused["error"]) == ("error", "resume_gap")
    assert refused["meta"]["since"] == since < refused["meta"]["min_available_seq"]


async def test_invalid_message_is_refused_and_the_socket_stays_open(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        for nonsense in (
            "notjson",
            "[]",
            '{"id": "x", "method": "run.start"}',
            '{"id": 1, "method": "m", "params": 3}',
        ):
            await connection.send(nonsense)
            told = json.loads(await connection.recv())
            assert (told["type"], told["error"]) == ("error", "invalid_argument")
        socket = Socket(connection)
        assert (await socket.ask("subscription.subscribe", channels=["bogus"]))["error"] == "invalid_argument"
        assert (await socket.ask("bogus"))["error"] == "unknown_command"


async def test_invalid_thread_id_closes_the_socket_with_4422(url: str) -> None:
    async with connect(address(url, "not-a-thread")) as connection:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    assert connection.close_code == 4422


async def test_shutdown_closes_the_socket_with_a_restart_code(tmp_path: Path, thread_id: str) -> None:
    flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "shutdown_grace_seconds": 0.1}
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    async with serving(application) as url:
        connection = await connect(address(url, thread_id))
        await Socket(connection).ask("subscription.subscribe", channels=["values"])
    with pytest.raises(ConnectionClosed):
        await connection.recv()
    assert connection.close_code == 1012


async def test_binary_message_is_answered_with_an_error(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        await connection.send(b'{"id": 1, "method": "run.start"}')
        async with asyncio.timeout(20):
            refused = json.loads(await connection.recv())
        assert (refused["type"], refused["id"], refused["error"]) == ("error", None, "invalid_argument")
        assert "text" in refused["message"]
        # The connection stays open.
        socket = Socket(connection)
        assert (await socket.ask("subscription.subscribe", channels=["lifecycle"]))["type"] == "success"


@pytest.mark.parametrize("message", ["x" * 200_000, b"x" * 200_000], ids=["text", "binary"])
async def test_message_has_the_limit_of_a_body(message: str | bytes, small: str, thread_id: str) -> None:
    async with connect(address(small, thread_id), compression=None) as connection:
        await connection.send(message)
        assert await closing(connection) == 1009


async def test_message_has_the_limit_of_a_body_also_when_it_is_compressed(small: str, thread_id: str) -> None:
    async with connect(address(small, thread_id), compression="deflate") as connection:
        await connection.send("x" * 200_000)
        assert await closing(connection) == 1009


async def test_flood_of_commands_is_closed_with_a_code(url: str, thread_id: str) -> None:
    async with connect(address(url, thread_id)) as connection:
        command = json.dumps({"id": 1, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}})
        with suppress(ConnectionClosed):
            for _ in range(20_000):
                await connection.send(command)
        assert await closing(connection) == 1008


async def test_messages_that_are_no_commands_are_answered_and_then_closed(url: str, thread_id: str) -> None:
    answers = 0
    async with connect(address(url, thread_id)) as connection:
        with suppress(ConnectionClosed):
            for _ in range(1000):
                await connection.send("{")
                assert json.loads(await connection.recv())["error"] == "invalid_argument"
                answers += 1
        assert 1 < answers < 1000
        assert await closing(connection) == 1008


async def test_pings_whose_answers_are_not_read_end_the_connection(url: str, thread_id: str) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    upgrade = (
        f"GET /threads/{thread_id}/stream/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    writer.write(upgrade.encode())
    ping = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + b"x" * 125

    async def flood() -> None:
        # 250 MiB: more than any buffer of the system holds.
        for _ in range(4000):
            writer.write(ping * 500)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 60)
    writer.close()


async def closing(connection: ClientConnection) -> int:
    """Return the server's close code."""

    async def read() -> None:
        while True:
            await connection.recv()

    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(read(), 60)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code

"""Agents that misbehave and readers that do not read: the server does not notice, and with a loop for each run
(``agent_isolation: run``) no other run does.

Everything is measured from outside, over real connections. Whoever were held up would wait for as long as the agent
computes; what is allowed is a small part of that, for a machine that has other things to do too.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from .client import Client, eventually, location_of, new_id
from .conftest import StartServer
from .frames import FrameReader
from .server import ServerProcess

SECONDS = 4.0
HEARTBEAT = 0.5
LEASE = 2.0
PROMISED = SECONDS / 4
OF_THE_API = 0.5
"""Seconds that an answer of the API may take while user code holds its loop."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Heartbeats and leases so short that a server which stands still for 4 s misses several of each."""
    settings = {
        "heartbeat_seconds": HEARTBEAT,
        "lease_term_seconds": LEASE,
        "max_concurrent_runs": 300,
        "stop_grace_seconds": 1,
    }
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data", settings=settings)
    server.start()
    yield server
    server.stop()


@dataclass
class Delays:
    """How long things took, by kind, in seconds."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    async def measure(self, kind: str, doing: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        result = await doing
        self.add(kind, time.perf_counter() - began)
        return result

    def add(self, kind: str, seconds: float) -> None:
        self.taken.setdefault(kind, []).append(seconds)

    def worst(self, kind: str) -> float:
        return max(self.taken[kind])

    def __str__(self) -> str:
        return "; ".join(
            f"{kind}: median {statistics.median(taken) * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms ({len(taken)})"
            for kind, taken in self.taken.items()
        )


async def _repeat(until: asyncio.Event, do: Callable[[], Awaitable[None]]) -> None:
    while not until.is_set():
        await do()
        await asyncio.sleep(0.02)


async def _watch_stream(client: Client, delays: Delays, over: asyncio.Event) -> None:
    """The silences of a run that says a token every 20 ms, and of a quiet one that heartbeats."""

    async def talker() -> None:
        talk = {"messages": [{"role": "human", "content": "go on"}], "tokens": 600, "pause": 0.02}
        async with client.stream(new_id(), "talker", talk, stream_mode="messages-tuple") as response:
            before: float | None = None
            async for _ in response.aiter_raw():
                now = time.perf_counter()
                if before is not None:
                    delays.add("next token", now - before)
                before = now
                if over.is_set():
                    return

    async def quiet() -> None:
        async with client.stream(new_id(), "steps", {"name": "quiet", "steps": 1, "pause": 30.0}) as response:
            reader, before = FrameReader(), time.perf_counter()
            async for data in response.aiter_raw():
                had = reader.comments
                reader.feed(data)
                if reader.comments > had:
                    now = time.perf_counter()
                    delays.add("heartbeat late by", abs(now - before - HEARTBEAT) if had else 0.0)
                    before = now
                if over.is_set():
                    await client.post(f"{location_of(response)}/cancel")
                    return

    await asyncio.gather(talker(), quiet())


async def _life_beside(client: Client, rude: Callable[[], Awaitable[Any]]) -> tuple[Delays, Any]:
    """What others experience while ``rude`` goes on."""
    delays, over = Delays(), asyncio.Event()

    async def requests() -> None:
        await delays.measure("GET /ok", client.get("/ok"))
        await delays.measure("search", client.post("/threads/search", {"limit": 1}))
        await delays.measure("create", client.post("/threads"))

    async def runs() -> None:
        await delays.measure("whole run", client.wait(None, "noop", {"n": 1}))

    others = [
        asyncio.create_task(_repeat(over, requests)),
        asyncio.create_task(_repeat(over, runs)),
        asyncio.create_task(_watch_stream(client, delays, over)),
    ]
    await asyncio.sleep(1.0)
    result = await rude()
    over.set()
    await asyncio.gather(*others)
    return delays, result


async def _run_of(client: Client, graph: str) -> Any:
    """The record of a run that holds its thread for so long."""
    thread_id = new_id()
    await client.wait(thread_id, graph, {"seconds": SECONDS})
    (run,) = await client.runs_of(thread_id)
    return run


@pytest.mark.parametrize("graph", ["blocks_alone", "burns_alone"])
async def test_a_node_that_holds_its_thread_for_four_seconds_delays_nobody(
    client: Client, server: ServerProcess, graph: str
) -> None:
    delays, run = await _life_beside(client, lambda: _run_of(client, graph))
    print(f"\n{graph}: {delays}")
    for kind in ("GET /ok", "search", "next token", "heartbeat late by"):
        assert delays.worst(kind) < PROMISED, str(delays)
    assert delays.worst("whole run") < 2 * PROMISED, str(delays)
    # Its lease was renewed all the while: nobody took the run for lost.
    assert (run["status"], run["attempt"]) == ("success", 1)


@pytest.mark.parametrize("graph", ["blocks", "burns"])
async def test_a_node_that_holds_the_loop_of_all_user_code_delays_other_user_code_alone(
    client: Client, server: ServerProcess, graph: str
) -> None:
    """Other runs wait, as on the reference server. The API, heartbeats and leases do not."""
    delays, run = await _life_beside(client, lambda: _run_of(client, graph))
    print(f"\n{graph}: {delays}")
    for kind in ("GET /ok", "search", "create"):
        assert delays.worst(kind) < OF_THE_API, str(delays)
    assert delays.worst("heartbeat late by") < PROMISED, str(delays)
    # They went on when the block was over, and were taken from nobody.
    for kind in ("next token", "whole run"):
        assert delays.worst(kind) < SECONDS + 2 * PROMISED, str(delays)
    assert (run["status"], run["attempt"]) == ("success", 1)
    assert f"node={'block' if graph == 'blocks' else 'burn'} at " in server.log
    assert "user code blocked its event loop for" in server.log


@pytest.mark.parametrize("graph", ["blocks_alone", "burns_alone"])
async def test_a_run_that_holds_its_thread_is_settled_when_it_is_cancelled(client: Client, graph: str) -> None:
    """Its code cannot be stopped, but the thread is free again after the grace."""
    thread_id = new_id()
    run = await client.create(thread_id, graph, {"seconds": 4.0})
    location = f"/threads/{thread_id}/runs/{run['run_id']}"

    async def begun() -> Any:
        return (await client.get(location))["status"] == "running"

    await eventually(begun)
    began = time.monotonic()
    await client.post(f"{location}/cancel", params={"wait": "1"})
    assert time.monotonic() - began < 3
    assert (await client.get(location))["status"] == "interrupted"
    assert (await client.wait(thread_id, "noop", {"n": 1}))["n"] == 2


@pytest.mark.parametrize("graph", ["blocks", "burns"])
async def test_a_run_that_holds_the_loop_of_all_is_settled_when_it_is_cancelled(client: Client, graph: str) -> None:
    """Settling needs none of its code; what reads its values does, and waits for the loop."""
    thread_id = new_id()
    run = await client.create(thread_id, graph, {"seconds": 4.0})
    location = f"/threads/{thread_id}/runs/{run['run_id']}"

    async def begun() -> Any:
        return (await client.get(location))["status"] == "running"

    await eventually(begun)
    began = time.monotonic()
    await client.post(f"{location}/cancel", params={"wait": "0"})
    assert (await client.ended(location))["status"] == "interrupted"
    assert time.monotonic() - began < 3
    assert (await client.wait(thread_id, "noop", {"n": 1}))["n"] == 2


async def test_a_hundred_waits_and_a_hundred_and_twenty_idle_readers_at_once(client: Client) -> None:
    """Each of them costs next to nothing, and new runs are as quick as without them."""
    quiet = await client.create(new_id(), "steps", {"name": "quiet", "steps": 1, "pause": 6.0})
    location = f"/threads/{quiet['thread_id']}/runs/{quiet['run_id']}"
    waits = [asyncio.create_task(client.get(f"{location}/join")) for _ in range(50)]
    waits += [
        asyncio.create_task(client.wait(new_id(), "steps", {"name": f"w{n}", "steps": 1, "pause": 4.0}))
        for n in range(50)
    ]
    async with AsyncExitStack() as readers:
        for _ in range(120):
            response = await readers.enter_async_context(client.http.stream("GET", f"{location}/stream"))
            assert response.status_code == 200
        delays = Delays()
        for _ in range(30):
            await delays.measure("GET /ok", client.get("/ok"))
            await delays.measure("whole run", client.wait(None, "noop", {"n": 1}))
        print(f"\n{delays}")
        assert delays.worst("GET /ok") < PROMISED, str(delays)
        assert delays.worst("whole run") < PROMISED, str(delays)
        results = await asyncio.gather(*waits)
    assert [values["log"] for values in results[:50]] == [["quiet:0"]] * 50
    assert [values["log"] for values in results[50:]] == [[f"w{n}:0"] for n in range(50)]


async def test_a_reader_who_stops_reading_holds_up_nobody_and_gets_all_of_it_later(
    client: Client, server: ServerProcess
) -> None:
    """Fifty of them, each behind the smallest socket buffer there is, and a run that says megabytes."""
    talk = {"messages": [{"role": "human", "content": "go on"}], "tokens": 1_500, "pause": 0.001}
    run = await client.create(
        new_id(), "talker", talk, stream_mode=["messages-tuple", "messages"], stream_resumable=True
    )
    location = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    stalled = [_stalled_reader(server.port, f"{location}/stream") for _ in range(50)]
    try:
        delays = Delays()
        for _ in range(30):
            await delays.measure("GET /ok", client.get("/ok"))
            await delays.measure("whole run", client.wait(None, "noop", {"n": 1}))
        began = time.monotonic()
        ended = await client.ended(location)
        print(f"\n{delays}; the run ended {time.monotonic() - began:.1f} s later")
        assert ended["status"] == "success"
        assert delays.worst("GET /ok") < PROMISED, str(delays)
        assert delays.worst("whole run") < 2 * PROMISED, str(delays)
        whole = await client.replay(location)
        late = await asyncio.to_thread(_read_all, stalled[0])
        assert [(frame.id, frame.data) for frame in FrameReader().feed(late)] == [
            (frame.id, frame.data) for frame in whole
        ]
    finally:
        for one in stalled:
            one.close()


async def test_clients_that_hang_up_leave_nothing_behind(client: Client, server: ServerProcess) -> None:
    """Two hundred streams and waits, abandoned: their runs go on, and their sockets and tasks are gone."""
    await client.wait(None, "noop", {"n": 1})
    files = server.open_files()
    run = await client.create(new_id(), "steps", {"name": "it", "steps": 20, "pause": 0.2})
    location = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    for _ in range(4):
        hasty = [_connection(server.port, f"{location}/{what}") for what in ("stream", "join") for _ in range(25)]
        await asyncio.sleep(0.1)
        for one in hasty:
            # A reset, not a polite end.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            one.close()

    async def closed() -> Any:
        return server.open_files() <= files + 10

    await eventually(closed, within=10)
    ended = await client.ended(location)
    assert (ended["status"], ended["attempt"]) == ("success", 1)
    assert "Traceback" not in server.log


async def test_a_client_that_asked_for_it_stops_its_run_by_hanging_up(client: Client) -> None:
    async with client.stream(
        new_id(), "steps", {"name": "it", "steps": 100, "pause": 0.2}, on_disconnect="cancel"
    ) as response:
        location = location_of(response)
        await anext(response.aiter_raw())
    assert (await client.ended(location, within=10))["status"] == "interrupted"


async def _median_answer(client: Client) -> float:
    delays = Delays()
    for _ in range(100):
        await delays.measure("GET", client.http.get(f"/threads/{new_id()}"))
    # A new connection is acknowledged at once for its first packets.
    return statistics.median(delays.taken["GET"][40:])


async def test_small_answers_on_a_kept_connection_leave_at_once(client: Client) -> None:
    """Forty milliseconds each is what it costs when headers and body wait for each other's acknowledgement."""
    assert await _median_answer(client) < 0.03


async def test_so_they_do_on_a_connection_that_was_made_while_the_server_was_starting(
    start_server: StartServer,
) -> None:
    server = start_server()
    server.kill()
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    async with Client(server.url) as client:

        async def answered() -> bool:
            try:
                return (await client.http.get("/ok")).is_success
            except httpx.TransportError:
                return False

        # Whoever comes early waits in the listening socket's queue.
        await eventually(answered, every=0.005)
        await starting
        assert await _median_answer(client) < 0.03


async def test_threads_are_bounded_by_the_limit_of_runs_and_used_again(start_server: StartServer) -> None:
    server = start_server(settings={"max_concurrent_runs": 4})
    async with Client(server.url) as client:

        async def burst() -> int:
            runs = [client.wait(None, "steps", {"name": "it", "steps": 1, "pause": 0.02}) for _ in range(60)]
            assert all(values["log"] == ["it:0"] for values in await asyncio.gather(*runs))
            return server.threads()

        threads = await burst()
        assert await burst() <= threads + 1
        assert threads < 30


def _connection(port: int, path: str, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    headers = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nLast-Event-ID: -1\r\n\r\n"
    connection.sendall(headers.encode())
    return connection


def _stalled_reader(port: int, path: str) -> socket.socket:
    return _connection(port, path, receive_buffer=2_048)


def _read_all(connection: socket.socket) -> bytes:
    """The body of an answer that ends with its connection."""
    connection.settimeout(20)
    data = b"".join(iter(lambda: connection.recv(65_536), b""))
    return data.partition(b"\r\n\r\n")[2]

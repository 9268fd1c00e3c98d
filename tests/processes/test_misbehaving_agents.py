"""Agents that block and readers that stall: the server is not affected, and with a loop per run (``agent_isolation:
run``) no other run is.

All measurements are external, over real connections, by the order of events and by ratios: on a busy machine
everything takes longer, but blocked requests still complete after the code that blocks them.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .client import Client, eventually, location_of, new_id
from .conftest import StartServer
from .frames import FrameReader
from .server import ServerProcess

SECONDS = 5.0
HEARTBEAT = 0.5
LEASE = 3.0
AT_LEAST = 3
"""Number of requests of each kind that start and end while user code blocks its loop; zero for blocked kinds."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Heartbeats and leases so short that a server which is blocked for 5 s misses some of each."""
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
    """Start and end of operations, by kind, on the machine's monotonic clock."""

    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    async def measure(self, kind: str, doing: Awaitable[Any]) -> Any:
        began = time.monotonic()
        result = await doing
        self.add(kind, began, time.monotonic())
        return result

    def add(self, kind: str, began: float, ended: float) -> None:
        self.spans.setdefault(kind, []).append((began, ended))

    def within(self, kind: str, held: tuple[float, float]) -> int:
        """Number of operations that both started and ended within a period."""
        return sum(held[0] <= began and ended <= held[1] for began, ended in self.spans.get(kind, ()))

    def __str__(self) -> str:
        taken = {kind: [1e3 * (ended - began) for began, ended in spans] for kind, spans in self.spans.items()}
        return "; ".join(
            f"{kind}: median {statistics.median(those):.0f} ms, worst {max(those):.0f} ms ({len(those)})"
            for kind, those in taken.items()
        )


async def _repeat(until: asyncio.Event, do: Callable[[], Awaitable[None]]) -> None:
    while not until.is_set():
        await do()
        await asyncio.sleep(0.02)


async def _watch_stream(client: Client, delays: Delays, over: asyncio.Event) -> None:
    """Gaps between frames of a run that emits a token every 20 ms, and of a silent one with heartbeats."""

    async def talker() -> None:
        talk = {"messages": [{"role": "human", "content": "go on"}], "tokens": 2_000, "pause": 0.02}
        async with client.stream(new_id(), "talker", talk, stream_mode="messages-tuple") as response:
            before: float | None = None
            async for _ in response.aiter_raw():
                now = time.monotonic()
                if before is not None:
                    delays.add("next token", before, now)
                before = now
                if over.is_set():
                    return

    async def quiet() -> None:
        async with client.stream(new_id(), "steps", {"name": "quiet", "steps": 1, "pause": 30.0}) as response:
            reader, before = FrameReader(), time.monotonic()
            async for data in response.aiter_raw():
                had = reader.comments
                reader.feed(data)
                if reader.comments > had:
                    now = time.monotonic()
                    delays.add("next heartbeat", before, now)
                    before = now
                if over.is_set():
                    await client.post(f"{location_of(response)}/cancel")
                    return

    await asyncio.gather(talker(), quiet())


async def _life_beside(client: Client, rude: Callable[[], Awaitable[Any]]) -> tuple[Delays, Any]:
    """Latencies of other clients while ``rude`` runs."""
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


async def _run_of(client: Client, graph: str) -> tuple[Any, tuple[float, float]]:
    """Return the record of a run that blocks its thread for this long, and the start and end of the block."""
    thread_id = new_id()
    began, ended = (await client.wait(thread_id, graph, {"seconds": SECONDS}))["held"]
    (run,) = await client.runs_of(thread_id)
    return run, (began, ended)


@pytest.mark.parametrize("graph", ["blocks_alone", "burns_alone"])
async def test_node_blocking_its_thread_delays_no_other_request(
    client: Client, server: ServerProcess, graph: str
) -> None:
    delays, (run, held) = await _life_beside(client, lambda: _run_of(client, graph))
    print(f"\n{graph}: {delays}")
    for kind in ("GET /ok", "search", "create", "next token", "next heartbeat", "whole run"):
        assert delays.within(kind, held) >= AT_LEAST, f"{kind}: {delays}"
    # Its lease was renewed all the time: no worker took the run for lost.
    assert (run["status"], run["attempt"]) == ("success", 1)


@pytest.mark.parametrize("graph", ["blocks", "burns"])
async def test_node_blocking_the_user_loop_delays_only_user_code(
    client: Client, server: ServerProcess, graph: str
) -> None:
    """Other runs wait, as on the reference server. The API, heartbeats and leases do not."""
    delays, (run, held) = await _life_beside(client, lambda: _run_of(client, graph))
    print(f"\n{graph}: {delays}")
    for kind in ("GET /ok", "search", "create", "next heartbeat"):
        assert delays.within(kind, held) >= AT_LEAST, f"{kind}: {delays}"
    # A run in progress continued after the block, and was not taken from its worker.
    assert max(ended for _, ended in delays.spans["whole run"]) > held[1], str(delays)
    assert (run["status"], run["attempt"]) == ("success", 1)
    assert f"node={'block' if graph == 'blocks' else 'burn'} at " in server.log
    assert "user code blocked its event loop for" in server.log


@pytest.mark.parametrize("graph", ["blocks_alone", "burns_alone"])
async def test_cancelled_run_blocking_its_thread_is_settled(client: Client, graph: str) -> None:
    """Its code cannot be stopped, but the thread is free again after the grace."""
    thread_id = new_id()
    began = time.monotonic()
    run = await client.create(thread_id, graph, {"seconds": SECONDS})
    location = f"/threads/{thread_id}/runs/{run['run_id']}"

    async def begun() -> Any:
        return (await client.get(location))["status"] == "running"

    await eventually(begun)
    await client.post(f"{location}/cancel", params={"wait": "1"})
    assert time.monotonic() < began + SECONDS, "it was settled when its code had ended"
    assert (await client.get(location))["status"] == "interrupted"
    assert (await client.wait(thread_id, "noop", {"n": 1}))["n"] == 2


@pytest.mark.parametrize("graph", ["blocks", "burns"])
async def test_cancelled_run_blocking_the_user_loop_is_settled(client: Client, graph: str) -> None:
    """Settling needs none of its code; reading its values does, and waits for the loop."""
    thread_id = new_id()
    began = time.monotonic()
    run = await client.create(thread_id, graph, {"seconds": SECONDS})
    location = f"/threads/{thread_id}/runs/{run['run_id']}"

    async def begun() -> Any:
        return (await client.get(location))["status"] == "running"

    await eventually(begun)
    await client.post(f"{location}/cancel", params={"wait": "0"})
    assert (await client.ended(location))["status"] == "interrupted"
    assert time.monotonic() < began + SECONDS, "it was settled when its code had ended"
    assert (await client.wait(thread_id, "noop", {"n": 1}))["n"] == 2


async def _is_running(client: Client, thread_id: str) -> bool:
    found = (await client.http.get(f"/threads/{thread_id}/runs")).json()
    return isinstance(found, list) and [run["status"] for run in found] == ["running"]


async def _thirty_runs(client: Client, server: ServerProcess, delays: Delays) -> float:
    """CPU seconds that they use."""
    before = server.processor_seconds()
    for _ in range(30):
        await delays.measure("GET /ok", client.get("/ok"))
        await delays.measure("whole run", client.wait(None, "noop", {"n": 1}))
    return server.processor_seconds() - before


async def test_hundred_waits_and_idle_readers_do_not_delay_new_runs(
    client: Client, server: ServerProcess, tmp_path: Path
) -> None:
    """Each of them costs almost nothing, and new runs end before them."""
    gate, delays = tmp_path / "gate", Delays()

    def gated(name: str) -> dict[str, Any]:
        return {"name": name, "steps": 1, "gate": str(gate)}

    alone = await _thirty_runs(client, server, delays)
    quiet = await client.create(new_id(), "steps", gated("quiet"))
    location = f"/threads/{quiet['thread_id']}/runs/{quiet['run_id']}"
    waits = [asyncio.create_task(client.get(f"{location}/join")) for _ in range(50)]
    threads = [new_id() for _ in range(50)]
    waits += [asyncio.create_task(client.wait(thread, "steps", gated(f"w{n}"))) for n, thread in enumerate(threads)]
    for thread in threads:
        await eventually(partial(_is_running, client, thread))
    async with AsyncExitStack() as readers:
        for _ in range(120):
            response = await readers.enter_async_context(client.http.stream("GET", f"{location}/stream"))
            assert response.status_code == 200
        beside = await _thirty_runs(client, server, delays)
        print(f"\n{delays}; {alone:.2f} s of a processor alone, {beside:.2f} s beside them")
        assert not any(wait.done() for wait in waits)
        assert beside < 3 * alone, f"{alone:.2f} s of a processor alone, {beside:.2f} s beside them"
        gate.touch()
        results = await asyncio.gather(*waits)
    assert [values["log"] for values in results[:50]] == [["quiet:0"]] * 50
    assert [values["log"] for values in results[50:]] == [[f"w{n}:0"] for n in range(50)]


async def test_stalled_reader_delays_no_one_and_gets_everything_later(client: Client, server: ServerProcess) -> None:
    """Fifty readers, each with the smallest possible socket buffer, and a run that streams megabytes."""
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
        # None of them has read a byte yet.
        ended = await client.ended(location)
        print(f"\n{delays}")
        assert ended["status"] == "success"
        whole = await client.replay(location)
        late = await asyncio.to_thread(_read_all, stalled[0])
        assert [(frame.id, frame.data) for frame in FrameReader().feed(late)] == [
            (frame.id, frame.data) for frame in whole
        ]
    finally:
        for one in stalled:
            one.close()


async def test_disconnected_clients_leave_no_resources(client: Client, server: ServerProcess) -> None:
    """Two hundred streams and waits are abandoned: their runs continue, and their sockets and tasks are gone."""
    await client.wait(None, "noop", {"n": 1})
    files = server.open_files()
    run = await client.create(new_id(), "steps", {"name": "it", "steps": 20, "pause": 0.2})
    location = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    for _ in range(4):
        hasty = [_connection(server.port, f"{location}/{what}") for what in ("stream", "join") for _ in range(25)]
        await asyncio.sleep(0.1)
        for one in hasty:
            # A reset, not an orderly close.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            one.close()

    async def closed() -> Any:
        return server.open_files() <= files + 10

    await eventually(closed)
    ended = await client.ended(location)
    assert (ended["status"], ended["attempt"]) == ("success", 1)
    assert "Traceback" not in server.log


async def test_disconnect_cancels_the_run_if_requested(client: Client) -> None:
    async with client.stream(
        new_id(), "steps", {"name": "it", "steps": 100, "pause": 0.2}, on_disconnect="cancel"
    ) as response:
        location = location_of(response)
        await anext(response.aiter_raw())
    assert (await client.ended(location))["status"] == "interrupted"


def _lost_to_acknowledgements(connection: socket.socket) -> float:
    """Extra seconds of a response on a kept connection if its client delays acknowledgements.

    Forty milliseconds if a body waits until its headers are acknowledged. Both kinds of client take turns, so that
    other load delays both.
    """
    if not hasattr(socket, "TCP_QUICKACK"):
        pytest.skip("only Linux lets a client choose when it acknowledges")
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(120):
        is_quick = number % 2 == 0
        began = time.monotonic()
        connection.sendall(b"GET /threads/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % new_id().encode())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, is_quick)
        _read_answer(connection)
        # The first packets of a new connection are acknowledged immediately.
        if number >= 40:
            taken[is_quick].append(time.monotonic() - began)
    return statistics.median(taken[False]) - statistics.median(taken[True])


def _read_answer(connection: socket.socket) -> None:
    """Read one response with a content length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    while len(body) < length:
        body += connection.recv(65_536)


async def test_small_responses_on_keep_alive_are_sent_immediately(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        assert await asyncio.to_thread(_lost_to_acknowledgements, connection) < 0.02


def _early_connection(port: int, patience: float = 60.0) -> socket.socket:
    """A connection that waits in the listen queue before the server accepts connections."""
    until = time.monotonic() + patience
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < until, "nothing listens"
            time.sleep(0.001)


async def test_small_responses_on_an_early_connection_are_sent_immediately(
    start_server: StartServer,
) -> None:
    server = start_server()
    server.kill()
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    with await asyncio.to_thread(_early_connection, server.port) as connection:
        await starting
        assert await asyncio.to_thread(_lost_to_acknowledgements, connection) < 0.02


async def test_threads_are_bounded_by_the_run_limit_and_reused(start_server: StartServer) -> None:
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
    """Return the body of a response that ends with its connection."""
    connection.settimeout(20)
    data = b"".join(iter(lambda: connection.recv(65_536), b""))
    return data.partition(b"\r\n\r\n")[2]

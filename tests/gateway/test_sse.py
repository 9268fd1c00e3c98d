"""Server-sent events step by step: order of output, and clients that stall or disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runstead.gateway.sse import EventStream
from runstead.runtime.stream_bridge.contract import END_SENTINEL, HEARTBEAT_SENTINEL, StreamEvent, StreamItem
from runstead.runtime.stream_bridge.exceptions import BridgeClosed

from .asgi import HTTP, Connection, until


class ScriptedReader:
    """Yields the batches that the test puts in; an exception is raised."""

    def __init__(self, *batches: Sequence[StreamItem] | Exception) -> None:
        self._batches: asyncio.Queue[Sequence[StreamItem] | Exception] = asyncio.Queue()
        for batch in batches:
            self._batches.put_nowait(batch)
        self.reads = 0
        self.closed = 0

    async def read(self) -> Sequence[StreamItem]:
        batch = await self._batches.get()
        self.reads += 1
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def aclose(self) -> None:
        self.closed += 1


def event(number: int, data: bytes = b"1") -> StreamEvent:
    return StreamEvent(f"1-{number}", "values", data)


def frame(number: int) -> bytes:
    return f"event: values\r\ndata: 1\r\nid: 1-{number}\r\n\r\n".encode()


@pytest.fixture
def connection() -> Connection:
    return Connection()


def serve(reader: ScriptedReader, connection: Connection) -> asyncio.Task[None]:
    response = EventStream(reader, {"location": "/x"}, with_ids=True)
    return asyncio.create_task(response(HTTP, connection.receive, connection.send))


async def test_headers_are_sent_before_the_first_event(connection: Connection) -> None:
    task = serve(ScriptedReader(), connection)
    await until(lambda: connection.sent)
    assert connection.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        "location": "/x",
    }
    connection.hang_up()
    await task


async def test_frames_of_a_batch_are_sent_in_one_chunk(connection: Connection) -> None:
    end = StreamEvent("1-4", "end", b"null", "end")
    reader = ScriptedReader([event(1), event(2)], [event(3)], [end, END_SENTINEL], [])
    await serve(reader, connection)
    assert connection.bodies == [frame(1) + frame(2), frame(3), b""]
    assert connection.is_complete
    assert reader.closed == 1


async def test_silent_stream_sends_heartbeats(connection: Connection) -> None:
    await serve(ScriptedReader([HEARTBEAT_SENTINEL], [HEARTBEAT_SENTINEL], []), connection)
    assert connection.bodies[:2] == [b": heartbeat\r\n\r\n"] * 2


async def test_disconnect_is_noticed_while_the_run_is_silent(connection: Connection) -> None:
    reader = ScriptedReader([event(1)])
    task = serve(reader, connection)
    await until(lambda: connection.bodies)
    connection.hang_up()
    await task
    assert reader.closed == 1


async def test_stream_is_not_read_ahead_of_a_stalled_client(connection: Connection) -> None:
    reader = ScriptedReader(*([event(number)] for number in range(100)))
    task = serve(reader, connection)
    await until(lambda: len(connection.bodies) == 100)
    connection.stall()
    for number in range(50):
        reader._batches.put_nowait([event(number)])
    for _ in range(200):
        await asyncio.sleep(0)
    assert reader.reads == 101
    connection.flow()
    await until(lambda: reader.reads == 150)
    connection.hang_up()
    await task


async def test_stalled_client_that_disconnects_is_released(connection: Connection) -> None:
    reader = ScriptedReader([event(1)])
    connection.stall()
    task = serve(reader, connection)
    connection.flow()
    await until(lambda: connection.bodies)
    connection.stall()
    reader._batches.put_nowait([event(2)])
    connection.hang_up()
    await task
    assert reader.closed == 1


async def test_large_batch_is_sent_in_several_chunks(connection: Connection) -> None:
    await serve(ScriptedReader([event(1, b'"' + b"x" * 1_000_000 + b'"')], []), connection)
    assert max(len(body) for body in connection.bodies) == 256 * 1024
    assert b"".join(connection.bodies).count(b"x") == 1_000_000


async def test_shutdown_ends_the_stream_without_a_final_frame(connection: Connection) -> None:
    """The stream is cut off: the received part is not taken as complete, and the SDKs reconnect for the rest."""
    reader = ScriptedReader([event(1)], BridgeClosed())
    await serve(reader, connection)
    assert connection.bodies == [frame(1)]
    assert not connection.is_complete


async def test_unexpected_exception_propagates(connection: Connection) -> None:
    reader = ScriptedReader(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        await serve(reader, connection)
    assert reader.closed == 1

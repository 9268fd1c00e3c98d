"""Responses that take long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from runstead.gateway.keepalive_response import KeepaliveResponse, wait_body
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import (
    AssistantId,
    RunFailure,
    RunId,
    RunRecord,
    RunResult,
    RunSpec,
    RunStatus,
    ThreadId,
)
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.stream_bridge.exceptions import BridgeClosed
from runstead.wire.errors import MASKED

from .asgi import HTTP, Connection, until


class Away(StorageFault):
    kind = "away"


class Full(StorageFault):
    kind = "full"


class Waiting:
    """The awaited value; the test decides its time and content."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.cancelled = False

    async def __call__(self) -> bytes:
        try:
            return await self.came
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


def serve(waiting: Waiting, connection: Connection, keep_alive: float = 60) -> asyncio.Task[None]:
    response = KeepaliveResponse(waiting(), {"location": "/x/join"}, keep_alive=keep_alive)
    return asyncio.create_task(response(HTTP, connection.receive, connection.send))


async def test_headers_are_sent_before_the_value(waiting: Waiting, connection: Connection) -> None:
    task = serve(waiting, connection)
    await until(lambda: connection.sent)
    assert connection.headers == {"content-type": "application/json", "location": "/x/join"}
    waiting.came.set_result(b'{"a":1}')
    await task
    assert connection.bodies == [b'{"a":1}']
    assert connection.is_complete


async def test_newlines_are_sent_until_the_value(waiting: Waiting, connection: Connection) -> None:
    task = serve(waiting, connection, keep_alive=0.001)
    await connection.heard(3)
    waiting.came.set_result(b"{}")
    await task
    assert connection.bodies[:3] == [b"\n"] * 3
    assert connection.bodies[-1] == b"{}"


async def test_disconnect_cancels_the_wait(waiting: Waiting, connection: Connection) -> None:
    task = serve(waiting, connection)
    await until(lambda: connection.sent)
    connection.hang_up()
    await task
    assert waiting.cancelled
    assert connection.bodies == []


async def test_unexpected_error_is_masked_in_the_response(
    waiting: Waiting, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    waiting.came.set_exception(RuntimeError("the password is x"))
    await serve(waiting, connection)
    assert connection.bodies == [b'{"__error__":{"error":"InternalError","message":"%s"}}' % MASKED.encode()]
    assert "the password is x" in caplog.text


async def test_shutdown_leaves_an_incomplete_response(waiting: Waiting, connection: Connection) -> None:
    """The SDKs then fetch the other half, using the Location header."""
    waiting.came.set_exception(BridgeClosed())
    await serve(waiting, connection)
    assert connection.headers["location"] == "/x/join"
    assert connection.bodies == []
    assert not connection.is_complete


async def test_unavailable_storage_leaves_an_incomplete_response(waiting: Waiting, connection: Connection) -> None:
    """The result of a run is unknown then, and an empty response would be wrong."""
    waiting.came.set_exception(Away())
    await serve(waiting, connection)
    assert connection.bodies == []
    assert not connection.is_complete


async def test_permanent_storage_error_is_reported(waiting: Waiting, connection: Connection) -> None:
    waiting.came.set_exception(Full())
    await serve(waiting, connection)
    assert b"The server's disk is full" in connection.bodies[-1]


def test_wait_body_has_output_or_error() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    spec = RunSpec(AssistantId("assistant"), "agent")
    record = RunRecord(
        RunId("r"), ThreadId("t"), spec.assistant_id, spec, ActorContext("u"), RunStatus.SUCCESS, noon, noon, noon
    )
    assert wait_body(RunResult(record, output=b'{"a":1}')) == b'{"a":1}'
    assert wait_body(RunResult(record)) == b"{}"
    failed = RunResult(record, failure=RunFailure("ValueError", "boom"))
    assert wait_body(failed) == b'{"__error__":{"error":"ValueError","message":"boom"}}'

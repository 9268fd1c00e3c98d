"""An ASGI app on another event loop behaves as if it were on the caller's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from runstead.gateway.loop_bridge import Submit, bridged
from runstead.runtime.user_code.thread_loop import UserCodeExit, submit_to
from runstead.runtime.user_code.user_loop import UserLoop

from .asgi import HTTP, Connection

WHO: ContextVar[str] = ContextVar("who", default="unknown")
CHUNK = b"x" * 64 * 1024


@pytest.fixture
async def user_loop() -> AsyncIterator[UserLoop]:
    async with UserLoop.running() as user_loop:
        yield user_loop


@pytest.fixture
def submit(user_loop: UserLoop) -> Submit:
    return user_loop.submit


def scope_of(**more: Any) -> Scope:
    return {**HTTP, "headers": [], "query_string": b"", **more}


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def app_of(endpoint: Callable[[Request], Awaitable[Response]], **more: Any) -> Starlette:
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])], **more)


class Upload:
    """A body in chunks, which counts the fetched ones."""

    def __init__(self, pieces: int) -> None:
        self.left, self.fetched = pieces, 0

    async def receive(self) -> Message:
        if not self.left:
            await asyncio.Event().wait()
        self.left -= 1
        self.fetched += 1
        return {"type": "http.request", "body": CHUNK, "more_body": self.left > 0}


async def test_app_runs_on_its_loop_with_the_callers_context(user_loop: UserLoop, submit: Submit) -> None:
    async def endpoint(request: Request) -> Response:
        assert user_loop.is_current
        return PlainTextResponse(WHO.get())

    WHO.set("alice")
    connection = Connection()
    await bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send)
    assert b"".join(connection.bodies) == b"alice"


async def test_client_that_reads_nothing_pauses_the_app(submit: Submit) -> None:
    sent = 0

    async def endpoint(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(100):
                yield CHUNK
                sent += 1

        return StreamingResponse(pieces())

    connection = Connection(stalls_after=3)
    call = asyncio.create_task(bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send))
    await connection.heard(3)
    stood = -1
    while sent != stood:
        stood = sent
        await asyncio.sleep(0.1)
    assert stood < 40
    connection.flow()
    await call
    assert b"".join(connection.bodies) == CHUNK * 100


async def test_upload_is_fetched_as_the_app_reads_it(submit: Submit) -> None:
    upload, go_on, read = Upload(50), threading.Event(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal read
        async for piece in request.stream():
            read += len(piece)
            if read == 2 * len(CHUNK):
                await asyncio.to_thread(go_on.wait, 10)
        return PlainTextResponse(str(read))

    connection = Connection()
    call = asyncio.create_task(
        bridged(app_of(endpoint), submit)(scope_of(method="POST"), upload.receive, connection.send)
    )
    await eventually(lambda: read >= 2 * len(CHUNK))
    await asyncio.sleep(0.05)
    assert upload.fetched <= 3
    go_on.set()
    await call
    assert b"".join(connection.bodies) == str(50 * len(CHUNK)).encode()


async def test_disconnect_mid_request_reaches_the_app(submit: Submit) -> None:
    closed = threading.Event()

    async def endpoint(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"piece"
                    await asyncio.sleep(0.005)
            finally:
                closed.set()

        return StreamingResponse(pieces())

    connection = Connection()
    call = asyncio.create_task(bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send))
    await connection.heard(2)
    connection.hang_up()
    await asyncio.wait_for(call, 60)
    assert closed.is_set()


async def test_app_can_poll_for_a_disconnect(submit: Submit) -> None:
    looked: list[bool] = []

    async def endpoint(request: Request) -> Response:
        while not (looked and looked[-1]):
            looked.append(await request.is_disconnected())
            await asyncio.sleep(0.01)
        return PlainTextResponse("gone")

    connection = Connection()
    call = asyncio.create_task(bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send))
    await eventually(lambda: len(looked) > 3)
    assert not any(looked)
    connection.hang_up()
    await asyncio.wait_for(call, 60)


async def test_cancelled_receive_loses_no_message(submit: Submit) -> None:
    got: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while len(got) < 20:
            # Like a handler that waits for a message and for another event.
            waiting = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait({waiting}, timeout=0.002)
            if done:
                got.append(waiting.result()["body"])
            else:
                waiting.cancel()

    numbers = iter(range(1000))

    async def receive() -> Message:
        await asyncio.sleep(0.004)
        return {"type": "http.request", "body": b"%d" % next(numbers), "more_body": True}

    await bridged(app, submit)(scope_of(), receive, Connection().send)
    assert got == [b"%d" % number for number in range(20)]


async def test_cancelled_caller_cancels_the_app_and_waits_for_it(submit: Submit) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def endpoint(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()
        raise AssertionError

    connection = Connection()
    call = asyncio.create_task(bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send))
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


@pytest.mark.parametrize(
    ("raised", "expected"), [(ValueError("theirs"), ValueError), (SystemExit(3), UserCodeExit), (None, None)]
)
async def test_exception_of_the_app_is_raised(
    submit: Submit, raised: BaseException | None, expected: type[BaseException] | None
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if raised is not None:
            raise raised

    connection = Connection()
    if expected is None:
        await bridged(app, submit)(scope_of(), connection.receive, connection.send)
    else:
        with pytest.raises(expected):
            await bridged(app, submit)(scope_of(), connection.receive, connection.send)
    assert [message["type"] for message in connection.sent] == ["http.response.start"]


@pytest.mark.parametrize("swallowed", [True, False])
async def test_connection_that_breaks_fails_the_apps_next_send(submit: Submit, swallowed: bool) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for _ in range(1_000):
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        except OSError as error:
            seen.append(str(error))
            if not swallowed:
                raise

    async def broken(message: Message) -> None:
        raise ConnectionResetError("broken")

    call = bridged(app, submit)(scope_of(), Connection().receive, broken)
    if swallowed:
        await call
    else:
        with pytest.raises(ConnectionResetError):
            await call
    assert seen == ["broken"]


async def test_app_that_sent_everything_ends_despite_a_broken_connection(submit: Submit) -> None:
    async def broken(message: Message) -> None:
        raise ConnectionResetError("broken")

    with pytest.raises(ConnectionResetError):
        await bridged(PlainTextResponse("hello"), submit)(scope_of(), Connection().receive, broken)


async def test_response_is_sent_before_background_tasks_start(submit: Submit) -> None:
    go_on, done = threading.Event(), threading.Event()

    async def later() -> None:
        await asyncio.to_thread(go_on.wait, 10)
        done.set()

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("hello", background=BackgroundTask(later))

    connection = Connection()
    call = asyncio.create_task(bridged(app_of(endpoint), submit)(scope_of(), connection.receive, connection.send))
    await eventually(lambda: connection.bodies == [b"hello"])
    assert not call.done()
    go_on.set()
    await call
    assert done.is_set()


class Socket:
    """Both ends of a WebSocket, controlled by a test."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Message] = asyncio.Queue()


async def test_web_socket_messages_are_answered_immediately(submit: Submit) -> None:
    left: list[int] = []

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text((await socket.receive_text()).upper())
        except WebSocketDisconnect as error:
            left.append(error.code)

    socket = Socket()
    app = bridged(Starlette(routes=[WebSocketRoute("/", echo)]), submit)
    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "subprotocols": []}
    call = asyncio.create_task(app(scope, socket.incoming.get, socket.outgoing.put))
    await socket.incoming.put({"type": "websocket.connect"})
    assert (await socket.outgoing.get())["type"] == "websocket.accept"
    for word in ("one", "two", "three"):
        await socket.incoming.put({"type": "websocket.receive", "text": word})
        assert (await asyncio.wait_for(socket.outgoing.get(), 60))["text"] == word.upper()
    await socket.incoming.put({"type": "websocket.disconnect", "code": 1001})
    await call
    assert left == [1001]


class Passing:
    """Middleware on the user loop, around an app on the server's loop."""

    def __init__(self, app: ASGIApp, home: asyncio.AbstractEventLoop) -> None:
        self._app = bridged(app, lambda work: submit_to(home, work))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.body" and message["body"]:
                message = {**message, "body": b"<" + message["body"] + b">"}
            await send(message)

        await self._app(scope, receive, marked)


async def test_round_trip_is_prompt_and_keeps_the_order(submit: Submit) -> None:
    """User middleware around a Runstead stream: every chunk reaches the client before the next one is made."""
    home = asyncio.get_running_loop()
    connection = Connection()

    async def ours(scope: Scope, receive: Receive, send: Send) -> None:
        assert asyncio.get_running_loop() is home
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(20):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await asyncio.wait_for(connection.heard(number + 1), 60)
        for number in range(20, 500):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app = bridged(Passing(ours, home), submit)
    await app(scope_of(), connection.receive, connection.send)
    assert b"".join(connection.bodies) == b"".join(b"<%d>" % number for number in range(500))


async def test_disconnect_and_cancellation_propagate_to_the_app(submit: Submit) -> None:
    home = asyncio.get_running_loop()
    seen: list[str] = []

    async def ours(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            seen.append((await receive())["type"])
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    connection = Connection()
    app = bridged(Passing(ours, home), submit)
    call = asyncio.create_task(app(scope_of(), connection.receive, connection.send))
    connection.hang_up()
    await eventually(lambda: seen == ["http.disconnect"])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert seen == ["http.disconnect", "cancelled"]


async def test_receive_after_the_end_returns_a_disconnect(user_loop: UserLoop, submit: Submit) -> None:
    later: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        later.append(receive)

    await bridged(app, submit)(scope_of(), Connection().receive, Connection().send)
    assert await user_loop.run(later[0]) == {"type": "http.disconnect"}


async def test_starlette_middleware_works_across_the_bridge(submit: Submit) -> None:
    """BaseHTTPMiddleware has its own tasks and cancel scopes around receive and send."""
    from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

    class Timed(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            answer = await call_next(request)
            answer.headers["x-timed"] = "yes"
            return answer

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    upload, connection = Upload(3), Connection()
    app = app_of(endpoint, middleware=[Middleware(Timed)])
    await bridged(app, submit)(scope_of(method="POST"), upload.receive, connection.send)
    assert connection.headers["x-timed"] == "yes"
    assert b"".join(connection.bodies) == CHUNK * 3


async def test_disconnect_during_an_upload_raises_in_the_app(submit: Submit) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    connection = Connection()
    call = asyncio.create_task(
        bridged(app_of(endpoint), submit)(scope_of(method="POST"), connection.receive, connection.send)
    )
    connection.hang_up()
    with pytest.raises(ClientDisconnect):
        await call

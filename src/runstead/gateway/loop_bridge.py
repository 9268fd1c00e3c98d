"""Bridge to an ASGI app on another event loop, which the caller uses like an app on its own loop.

Messages of the app are transferred in batches, and the app waits if its client is slow; messages to the app are fetched
one by one, on request. Context variables, exceptions and cancellation are transferred too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, Protocol, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.user_code.cross_loop_queue import CrossLoopQueue
from runstead.runtime.user_code.thread_loop import LoopTask

Work: TypeAlias = Callable[[], Coroutine[object, object, None]]
Bridged: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[object, object, None]]

_AHEAD: Final = 128 * 1024
"""Maximum bytes that an app may have sent and its client not yet received, plus the last message."""
_MESSAGE: Final = 256
"""Bytes that a message counts in addition to its body."""
_CANCELLED_WITHIN: Final = 5.0
"""Seconds to wait for an app whose caller was cancelled."""


class Submit(Protocol):
    """Start work on the app's loop with the caller's context variables: a method of UserLoop, or `submit_to`."""

    def __call__(self, work: Work, /) -> LoopTask[None]: ...


def bridged(app: ASGIApp, submit: Submit) -> Bridged:
    """Return an app of another loop as an app for any loop."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await _Call(receive, send).run(app, scope, submit)

    return call


class _Call:
    """One request of the caller's loop, processed by an app on another loop."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._incoming, self._send = _Incoming(receive), send
        self._outgoing: CrossLoopQueue[Message] = CrossLoopQueue(_AHEAD, size=_size)
        self._failure: BaseException | None = None
        self._app_knows = False

    async def run(self, app: ASGIApp, scope: Scope, submit: Submit) -> None:
        self._incoming.ends_with = "websocket.disconnect" if scope["type"] == "websocket" else "http.disconnect"

        async def work() -> None:
            await app(scope, self._incoming.receive, self._put)

        task = submit(work)
        task.when_ended(self._outgoing.finish)
        try:
            await self._pass_on()
            await task.wait()
        except BaseException:
            # Cancelled. As on a single loop, the app is cancelled too, and has time to clean up.
            self._outgoing.close()
            task.cancel()
            await task.wait(_CANCELLED_WITHIN)
            raise
        finally:
            self._incoming.close()
        task.result()
        if self._failure is not None and not self._app_knows:
            raise self._failure

    async def _put(self, message: Message) -> None:
        """Send a message of the app. Call on the app's loop."""
        self._app_knows = self._failure is not None
        await self._outgoing.put(message)

    async def _pass_on(self) -> None:
        """Forward the app's messages until it has ended or the connection fails."""
        while True:
            finished = self._outgoing.finished
            for message in await self._outgoing.read():
                try:
                    await self._send(message)
                except Exception as error:
                    self._failure = error
                    self._outgoing.fail(error)
                    return
            if finished:
                return


def _size(message: Message) -> int:
    return _MESSAGE + len(message.get("body") or message.get("bytes") or message.get("text") or b"")


class _Incoming:
    """The caller's ``receive``, callable on the app's loop."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._home = asyncio.get_running_loop()
        self._fetching: asyncio.Future[Message] | None = None
        self._next: Future[Message] | None = None
        self._closed = False
        self.ends_with = "http.disconnect"
        """Type of the message that is received after the end of the call."""

    async def receive(self) -> Message:
        """Return the next message. Call on the app's loop."""
        while True:
            if (pending := self._next) is None:
                pending = self._next = Future()
                self._home.call_soon_threadsafe(self._fetch, pending)
            if not pending.done():
                # Cancelling the wait does not lose the message: the next caller gets it.
                waiting = asyncio.wrap_future(pending)
                waiting.add_done_callback(_retrieve)
                await asyncio.wait({waiting})
            if self._next is pending:
                self._next = None
                return pending.result()

    def close(self) -> None:
        """Stop receiving. Call on the caller's loop."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()

    def _fetch(self, pending: Future[Message]) -> None:
        if self._closed:
            pending.set_result({"type": self.ends_with})
            return
        self._fetching = asyncio.ensure_future(self._receive())
        self._fetching.add_done_callback(lambda done: self._deliver(done, pending))

    def _deliver(self, done: asyncio.Future[Message], pending: Future[Message]) -> None:
        with contextlib.suppress(InvalidStateError):
            if done.cancelled():
                pending.set_result({"type": self.ends_with})
            elif (error := done.exception()) is not None:
                pending.set_exception(error)
            else:
                pending.set_result(done.result())


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()

"""Clients and servers: requests with delays, connections that break when a process dies, slow readers.

A request is handled by a task of the server's own loop, as in a gateway. The response reaches the client over a
simulated connection that preserves the order, has delays, and buffers only a few unread messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.facade import RunsFacade, RunStream
from runstead.runtime.stream_bridge.contract import StreamItem
from runstead.runtime.stream_bridge.exceptions import BridgeClosed

from .kernel import Kernel
from .ports import LatencyProfile, Outage
from .world import World

T = TypeVar("T")

_UNREAD: Final = 4
"""Maximum number of unread messages on a connection; the server then waits, as with a socket."""


class Disconnected(ConnectionError):
    """The connection broke, or no server answers at the address."""


class Address:
    """The address at which clients find the server, whichever process that is now."""

    def __init__(self, world: World, weather: LatencyProfile) -> None:
        self._world, self._weather = world, weather
        self.kernel: Kernel | None = None

    async def call(self, verb: Callable[[RunsFacade], Awaitable[T]], actor: ActorContext) -> T:
        """Send one request and return its response. Cancelling the call disconnects."""

        async def handled(kernel: Kernel) -> T:
            with acting(actor):
                return await verb(kernel.facade)

        return await self._request(handled)

    async def stream(self, verb: Callable[[RunsFacade], Awaitable[RunStream]], actor: ActorContext) -> Connection:
        """Send a request that is answered by a stream."""
        connection = Connection(self._world, self._weather)

        async def opened(kernel: Kernel) -> None:
            with acting(actor):
                stream = await verb(kernel.facade)
            connection.serve(kernel, stream)

        try:
            await self._request(opened)
        except BaseException:
            # The client disconnected before the response; the response may have begun all the same.
            connection.hang_up()
            raise
        return connection

    async def _request(self, handle: Callable[[Kernel], Coroutine[Any, Any, T]]) -> T:
        world = self._world
        await asyncio.sleep(self._weather.trip(world.chance))
        kernel = self.kernel
        if kernel is None or not kernel.process.alive:
            raise Disconnected
        answer: asyncio.Future[T] = world.outside.loop.create_future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            if not answer.done():
                task = kernel.process.spawn(handle(kernel), name="request")
                tasks.append(task)
                task.add_done_callback(finished)

        def finished(task: asyncio.Task[T]) -> None:
            if kernel.process.alive:
                world.outside.loop.call_later(self._weather.trip(world.chance), lambda: _copy(task, answer))

        kernel.process.on_death(lambda: _break(answer))
        kernel.process.loop.call_soon(begin)
        try:
            return await answer
        except asyncio.CancelledError:
            for task in tasks:
                kernel.process.loop.call_soon(task.cancel)
            raise


class Connection:
    """A stream on its way to one client."""

    def __init__(self, world: World, weather: LatencyProfile) -> None:
        self._world, self._weather = world, weather
        self._wire: deque[Sequence[StreamItem] | None] = deque()
        self._arrived: deque[Sequence[StreamItem] | None] = deque()
        self._readable = asyncio.Event()
        self._unread = 0
        self._drained: asyncio.Event | None = None
        self._kernel: Kernel | None = None
        self._task: asyncio.Task[None] | None = None
        self.broken = False
        self.process = ""

    def serve(self, kernel: Kernel, stream: RunStream) -> None:
        """Begin to send, in the server's process."""
        self._kernel, self.process = kernel, kernel.process.name
        self._drained = asyncio.Event()
        self._task = kernel.process.spawn(self._send_all(kernel, stream), name="stream response")
        kernel.process.on_death(self._break)
        if self.broken:
            self._task.cancel()

    async def receive(self) -> Sequence[StreamItem]:
        """Return the next batch; an empty one at the end. Raises Disconnected."""
        while not self._arrived:
            if self.broken:
                raise Disconnected
            self._readable.clear()
            await self._readable.wait()
        batch = self._arrived.popleft()
        self._unread -= 1
        self._wake_sender()
        if batch is None:
            raise Disconnected
        return batch

    @property
    def stands_still(self) -> bool:
        """Return whether the server at the other end is frozen, or was until a moment ago."""
        if self._kernel is None:
            return True
        thawed_at = self._kernel.process.thawed_at
        return self._kernel.process.frozen or (thawed_at is not None and self._world.now - thawed_at < 30)

    def hang_up(self) -> None:
        """Disconnect the client: the server notices as a gateway does, and its response is cancelled."""
        self.broken = True
        if self._kernel is not None and self._kernel.process.alive and self._task is not None:
            self._kernel.process.loop.call_soon(self._task.cancel)

    async def _send_all(self, kernel: Kernel, stream: RunStream) -> None:
        assert self._drained is not None
        try:
            while True:
                items = await stream.read()
                self._send(kernel, items)
                if not items:
                    return
                while self._unread >= _UNREAD:
                    self._drained.clear()
                    await self._drained.wait()
        except (BridgeClosed, Outage):
            self._send(kernel, None)
        except Exception as error:
            kernel.durable.witness.surprises.append(f"reading {stream.record.run_id} raised {error!r}")
            self._send(kernel, None)
        finally:
            await stream.aclose()

    def _send(self, kernel: Kernel, batch: Sequence[StreamItem] | None) -> None:
        if kernel.process.alive:
            self._wire.append(batch)
            self._unread += 1
            self._world.outside.loop.call_later(self._weather.trip(self._world.chance), self._arrive)

    def _arrive(self) -> None:
        if not self.broken:
            self._arrived.append(self._wire.popleft())
            self._readable.set()

    def _wake_sender(self) -> None:
        kernel, drained = self._kernel, self._drained
        if kernel is not None and drained is not None and kernel.process.alive:
            kernel.process.loop.call_soon(drained.set)

    def _break(self) -> None:
        self.broken = True
        self._readable.set()


def _copy(task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
    if answer.done():
        return
    if task.cancelled() or isinstance(task.exception(), BridgeClosed):
        # A gateway that shuts down has its clients retry, which reaches another server.
        answer.set_exception(Disconnected())
    elif (error := task.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


def _break(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(Disconnected())

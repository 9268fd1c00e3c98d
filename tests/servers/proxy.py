"""A TCP proxy on a free loopback port: a balancer before several servers, or a slow connection to one."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

_CHUNK = 65_536


class TcpProxy:
    """Each connection goes to the next server that accepts it. ``delay``: seconds by which data from clients is
    delayed; it may be changed at any time.
    """

    def __init__(self, ports: Sequence[int], delay: float) -> None:
        self.delay = delay
        self.port = 0
        self._ports, self._turns = ports, itertools.count()

    @classmethod
    @contextmanager
    def running(cls, ports: Sequence[int], delay: float = 0.0) -> Iterator[Self]:
        """Run for the length of a block, in a thread with its own event loop."""
        proxy, loop = cls(ports, delay), asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(proxy._listen(), loop).result(10)
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await self._connected()
        except OSError:
            to_client.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(client, to_server, is_late=True))
                group.create_task(self._pass_on(server, to_client, is_late=False))
        except* OSError:
            pass
        finally:
            to_server.close()
            to_client.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        begin = next(self._turns)
        for last, place in enumerate(range(begin, begin + len(self._ports)), 1 - len(self._ports)):
            try:
                return await asyncio.open_connection("127.0.0.1", self._ports[place % len(self._ports)])
            except OSError:
                if last == 0:
                    raise
        raise AssertionError("there is at least one server")

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_late: bool) -> None:
        while data := await source.read(_CHUNK):
            if is_late and self.delay:
                await asyncio.sleep(self.delay)
            sink.write(data)
            await sink.drain()
        with suppress(OSError):
            # One direction of a connection may end before the other.
            sink.write_eof()


async def _end_all() -> None:
    tasks: list[asyncio.Task[Any]] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Server process around an application: uvicorn, which drains before it closes connections.

The order matters: the server reports not ready and keeps listening until load balancers have noticed. Then runs finish
or are handed back, streams end and waits are cut off, connections close, and finally the storage. In the opposite
order, every open stream would block the process until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Final

import uvicorn

from runstead.runtime.json_types import JsonObject
from runstead.settings import Settings

from .application import Application
from .connection_limit import ConnectionLimit, most_connections
from .shutdown import DrainingMiddleware
from .timed_connections import BoundedWebSocket, TimedHttp

_NOTICE_IN_CLUSTER: Final = 5.0
_CLOSE_WITHIN: Final = 5
"""Seconds that responses may take to end after the drain."""
THREAD_TURN: Final = 0.001
"""Seconds that one thread may execute Python while others wait."""
_ACCEPTED_AT_ONCE: Final = 32
"""Maximum connections accepted per turn of the event loop. Without file descriptors, each attempt fails and is logged,
up to this often per second."""
_KEEP_ALIVE: Final = 75
"""Seconds. Longer than clients keep idle connections, so that the client closes them."""


def serve(
    application: Application,
    *,
    listener: socket.socket | None = None,
    on_started: Callable[[str], None] | None = None,
    replaceable: bool = False,
) -> int | None:
    """Serve in the foreground until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    ``listener`` is a bound socket that replaces the address in the settings; it is closed at the end. ``on_started`` is
    called with the URL once requests are served. Raises errors of the start: OSError for an unavailable address, and as
    `Application.running`.

    Return None or, if the process is ``replaceable`` and user code blocked its event loop permanently, a file
    descriptor of the listening socket for the process that replaces this one.
    """
    listener = _prompt(listener or _listen(application))
    server = _DrainingServer(application, listener, catch_signals=True, on_started=on_started)
    # Threads that use the CPU release the interpreter sooner than after Python's default of 5 ms (docs/adr/0001).
    sys.setswitchinterval(THREAD_TURN)
    if replaceable:
        application.replace_process = server.end_to_be_replaced
    try:
        server.run(sockets=[listener])
        server.check_start()
    except SystemExit:
        server.check_start()
        raise
    finally:
        listener.close()
    return server.kept_socket


@asynccontextmanager
async def serving(application: Application) -> AsyncIterator[str]:
    """Run a real server on the running loop for the duration of a block, and yield its URL."""
    listener = _prompt(_listen(application))
    server = _DrainingServer(application, listener, catch_signals=False)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http-server")
    try:
        started = asyncio.create_task(server.ready.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if not server.started:
            server.check_start()
        yield server.url
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


class _DrainingServer(uvicorn.Server):
    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        *,
        catch_signals: bool,
        on_started: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(_config(application, lambda: len(self.server_state.connections)))
        self._application, self._catch_signals, self._on_started = application, catch_signals, on_started
        self.url = _url(listener) + (application.configuration.http.mount_prefix or "")
        self.ready = asyncio.Event()
        self._listener = listener
        self.kept_socket: int | None = None
        """File descriptor of the listening socket, if another process is to replace this one."""

    def end_to_be_replaced(self) -> None:
        """Shut down soon, so that another process can replace this one."""
        if self.kept_socket is None:
            self.kept_socket = os.dup(self._listener.fileno())
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Failed start: uvicorn raises SystemExit since 0.50, and returned before.
        if not self.started:
            return
        # asyncio has set the backlog to the number of connections that it accepts at once.
        self._listener.listen(self._application.settings.connection_backlog)
        self.ready.set()
        if self._on_started is not None:
            self._on_started(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.leave()
        if self.kept_socket is None:
            await self._unless_forced(asyncio.sleep(_notice(self._application.settings)))
        for server in self.servers:
            server.close()
        await self._unless_forced(self._application.drain())
        await super().shutdown(sockets)

    async def _unless_forced(self, step: Coroutine[object, object, None]) -> None:
        """Run a step of the shutdown, which a second signal skips."""
        task = asyncio.create_task(step)
        while not task.done() and not self.force_exit:
            await asyncio.wait({task}, timeout=0.1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not recorded for raising it again at the end, as uvicorn does: a drained server has ended normally.
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if not self._catch_signals:
            yield
            return
        with super().capture_signals():
            yield

    def check_start(self) -> None:
        """Raise the error of the start: the lifespan protocol passes on only its text."""
        if not self.started and (failure := self._application.failure) is not None:
            raise failure


def _notice(settings: Settings) -> float:
    """Return the seconds between reporting not ready and closing the listener."""
    if settings.shutdown_notice_seconds is not None:
        return settings.shutdown_notice_seconds
    return _NOTICE_IN_CLUSTER if settings.is_cluster else 0.0


def _config(application: Application, connections: Callable[[], int]) -> uvicorn.Config:
    settings = application.settings
    options: JsonObject = {
        "lifespan": "on",
        "http": partial(TimedHttp, seconds=settings.request_timeout_seconds),
        "ws": BoundedWebSocket,
        "ws_max_size": settings.max_body_bytes,
        # The process configures logging; access logs cost more than many requests.
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE,
        "backlog": _ACCEPTED_AT_ONCE,
        "timeout_graceful_shutdown": _CLOSE_WITHIN,
    }
    app = DrainingMiddleware(application.asgi, lambda: application.is_leaving)
    probe = f"{application.configuration.http.mount_prefix or ''}/ok"
    return uvicorn.Config(ConnectionLimit(app, connections, most_connections(settings), (probe,)), **options)


def _listen(application: Application) -> socket.socket:
    """Bind the socket here instead of in uvicorn: the port is known earlier, and an address in use is an exception
    instead of an exit."""
    settings = application.settings
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=settings.connection_backlog)


def _prompt(listener: socket.socket) -> socket.socket:
    """Return the same socket with its protocol set.

    Small writes must not wait for acknowledgement of earlier ones (40 ms each). asyncio ensures that, but only if it
    knows that the socket is TCP. An option on the listener would be too late for connections that were made while the
    server was still starting.
    """
    return socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

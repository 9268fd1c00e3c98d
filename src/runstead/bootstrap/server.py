"""A server process around an application: uvicorn, that drains before it closes connections.

The order matters: it is not ready, and still listens, until load balancers have noticed. Then runs finish or are handed
back, then streams end and waits are cut, then connections close, then the storage. The other way round, every open
stream would hold the process until it is killed.
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
from typing import Any, Final

import uvicorn

from runstead.settings import Settings

from .application import Application
from .connection_limit import ConnectionLimit, most_connections
from .last_requests import LastRequests
from .timed_connections import BoundedWebSocket, TimedHttp

_NOTICE_IN_CLUSTER: Final = 5.0
_CLOSE_WITHIN: Final = 5
"""Seconds that answers may take to end after the drain."""
THREAD_TURN: Final = 0.001
"""Seconds that one thread may run Python while others wait."""
_ACCEPTED_AT_ONCE: Final = 32
"""Connections in one turn of the event loop. Without file descriptors asyncio fails, and logs, as often a second."""
_KEEP_ALIVE: Final = 75
"""Seconds; longer than clients keep idle connections, so that the client is the one who closes them."""


def serve(
    application: Application,
    *,
    listener: socket.socket | None = None,
    on_started: Callable[[str], None] | None = None,
    replaceable: bool = False,
) -> int | None:
    """Serve in the foreground until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    ``listener`` is a bound socket to serve on, instead of the address in the settings; it is taken over, and closed at
    the end. ``on_started`` hears the URL once requests are answered. Raises what prevents the start: OSError for an
    address that cannot be had, and what `Application.running` raises.

    Return None, or, only when the caller says that this process is ``replaceable``, a file descriptor of the listening
    socket for the process that is to take this one's place: user code did not give its event loop back.
    """
    listener = _prompt(listener or _listen(application))
    server = _DrainingServer(application, listener, catch_signals=True, on_started=on_started)
    # Threads that burn CPU give the interpreter back sooner than after Python's own 5 ms (docs/adr/0001).
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
    """A real server on the running loop for the length of a block, which gets its URL."""
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
        """The socket, listening on, where another process is to take this one's place."""

    def end_to_be_replaced(self) -> None:
        """End soon, for a process that takes this one's place."""
        if self.kept_socket is None:
            self.kept_socket = os.dup(self._listener.fileno())
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # A start that failed: uvicorn raises SystemExit from 0.50 on, and returned before.
        if not self.started:
            return
        # asyncio has set the queue of connections to what it accepts at once.
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

    async def _unless_forced(self, step: Coroutine[Any, Any, None]) -> None:
        """A step of the end, which a second signal does not wait for."""
        task = asyncio.create_task(step)
        while not task.done() and not self.force_exit:
            await asyncio.wait({task}, timeout=0.1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not kept for being raised again at the end, as uvicorn does: a drained server has ended well.
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
        """Raise what the start failed with: the lifespan protocol carries only its text."""
        if not self.started and (failure := self._application.failure) is not None:
            raise failure


def _notice(settings: Settings) -> float:
    """Seconds between not being ready and not listening."""
    if settings.shutdown_notice_seconds is not None:
        return settings.shutdown_notice_seconds
    return _NOTICE_IN_CLUSTER if settings.is_cluster else 0.0


def _config(application: Application, connections: Callable[[], int]) -> uvicorn.Config:
    settings = application.settings
    options: dict[str, Any] = {
        "lifespan": "on",
        "http": partial(TimedHttp, seconds=settings.request_timeout_seconds),
        "ws": BoundedWebSocket,
        "ws_max_size": settings.max_body_bytes,
        # Logging is the process's own business; access logs cost more than many of the requests.
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE,
        "backlog": _ACCEPTED_AT_ONCE,
        "timeout_graceful_shutdown": _CLOSE_WITHIN,
    }
    app = LastRequests(application.asgi, lambda: application.is_leaving)
    probe = f"{application.configuration.http.mount_prefix or ''}/ok"
    return uvicorn.Config(ConnectionLimit(app, connections, most_connections(settings), (probe,)), **options)


def _listen(application: Application) -> socket.socket:
    """Bound here and not by uvicorn: the port is known before, and a taken address is an error, not an exit."""
    settings = application.settings
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=settings.connection_backlog)


def _prompt(listener: socket.socket) -> socket.socket:
    """The same socket, with its protocol named. Small pieces must not wait for each other's acknowledgement (40 ms
    each); asyncio sees to that, but only where it knows that this is TCP. An option on the listener would not do: it
    comes too late for connections that were made while the server was still starting.
    """
    return socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

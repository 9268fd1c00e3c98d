"""``runstead serve``, ``worker`` and ``dev``: run in the foreground until a signal."""

from __future__ import annotations

import gc
import json
import logging
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runstead.settings import Settings

from .logs import configure_logging
from .output import USAGE, CommandError, Output
from .preflight import load_graphs, load_handlers, refuse_strangers, refuse_unprotected, warn
from .process_replacement import replace_process
from .request import ServeRequest
from .start_failures import reporting_failure

if TYPE_CHECKING:
    from runstead.bootstrap.application import Application
    from runstead.graphs.configuration import GraphConfiguration


def serve_forever(
    request: ServeRequest,
    output: Output,
    *,
    socket_fd: int | None = None,
    parent_fd: int | None = None,
    failure_fd: int | None = None,
    after_reload: bool = False,
    snippet: bool = False,
) -> None:
    """Serve until a signal.

    ``socket_fd``: a bound socket to serve on. ``parent_fd``: end when its other end closes. ``failure_fd``: receives
    the report of a failed start. ``after_reload``: the previous server was ended for new code, and its runs lose no
    attempt.
    """
    began = time.monotonic()
    if parent_fd is not None:
        end_with_parent(parent_fd)
    with reporting_failure(failure_fd), _prepared(request, output) as (settings, configuration):
        refuse_strangers(configuration, settings)
        # Before the imports, which take seconds: a port in use is reported at once.
        listening = socket.socket(fileno=socket_fd) if socket_fd is not None else listen_on(settings)
        application = _application(settings, configuration, output)
        application.after_reload = after_reload
        from runstead.bootstrap.server import serve

        # A failed start is raised, and reported in one sentence; uvicorn would log its whole traceback first.
        uvicorn_log = logging.getLogger("uvicorn.error")
        level = uvicorn_log.level
        uvicorn_log.setLevel(logging.CRITICAL)

        def started(url: str) -> None:
            uvicorn_log.setLevel(level)
            announce(url, configuration, settings, output, seconds=time.monotonic() - began)
            if snippet:
                show_snippet(url, configuration, output)

        kept = serve(application, listener=listening, on_started=started, replaceable=os.name == "posix")
        if kept is not None:
            replace_process(socket_fd=kept, parent_fd=parent_fd, failure_fd=failure_fd)


def work_forever(request: ServeRequest, output: Output, *, parent_fd: int | None = None) -> None:
    """Execute runs of a cluster until a signal. ``parent_fd``: end when its other end closes."""
    if parent_fd is not None:
        end_with_parent(parent_fd)
    with _prepared(request, output) as (settings, configuration):
        if not settings.is_cluster:
            raise CommandError(
                "a worker executes runs of other servers, and none is configured",
                "set RUNSTEAD_DATABASE_URL and RUNSTEAD_REDIS_URL to those of the servers; "
                "without a cluster, `runstead serve` executes runs itself",
                exit_code=USAGE,
            )
        if settings.max_concurrent_runs == 0:
            raise CommandError("a worker that executes 0 runs at once has nothing to do", "give --workers more")
        application = _application(settings, configuration, output)
        from runstead.bootstrap.worker import work

        def started() -> None:
            graph_ids = [source.graph_id for source in configuration.graphs]
            queues = list(settings.queues) if settings.queues else None
            output.line("started", pid=os.getpid(), graphs=graph_ids, queues=queues)
            from_queues = f" from the queues {', '.join(settings.queues)}" if settings.queues else ""
            output.say(f"Runstead executes {', '.join(graph_ids)}{from_queues}", style="bold")

        if work(application, on_started=started, replaceable=os.name == "posix"):
            replace_process(parent_fd=parent_fd)


@contextmanager
def _prepared(request: ServeRequest, output: Output) -> Iterator[tuple[Settings, GraphConfiguration]]:
    """Yield the settings and the configuration, checked before anything is imported. Later errors are reported in one
    sentence."""
    # Imports create a million permanent objects; collecting garbage among them costs a fifth of the start time.
    gc.disable()
    settings = request.settings()
    configure_logging(settings)
    configuration = request.configuration(settings)
    refuse_unprotected(configuration, settings)
    warn(configuration, output)
    from runstead.resources.storage_errors import StorageError

    try:
        yield settings, configuration
    except StorageError as error:
        raise CommandError(str(error)) from error


def _application(settings: Settings, configuration: GraphConfiguration, output: Output) -> Application:
    load_graphs(configuration)
    load_handlers(configuration, settings)
    from runstead.bootstrap.application import Application

    from .run_lines import RunLines

    lines = RunLines(output, lambda: application.services)
    application = Application(settings, configuration, observers=[lines])
    gc.enable()
    gc.freeze()
    return application


def develop(request: ServeRequest, output: Output, *, reload: bool, socket_fd: int | None = None) -> None:
    """Serve for development. ``socket_fd``: a bound socket to serve on."""
    # Passing a socket from server to server requires POSIX.
    if not reload or os.name != "posix":
        serve_forever(request, output, socket_fd=socket_fd, snippet=True)
        return
    from .reloader import reload_forever

    reload_forever(request, output)


def listen_on(settings: Settings) -> socket.socket:
    """Return a bound socket. Raises CommandError, with the reason if the port is in use."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CommandError(
            f"{settings.host} is not an address of this machine: {error.strerror}", exit_code=USAGE
        ) from error
    listening = socket.socket(family, kind)
    if os.name == "posix":
        # A port that was just released may be reused. On Windows, the same option would let two servers share a port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(settings.connection_backlog)
    except OSError as error:
        listening.close()
        way_out = "choose another with --port, or a free one with --port 0"
        raise CommandError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}", way_out) from error
    return listening


def announce(
    url: str, configuration: GraphConfiguration, settings: Settings, output: Output, *, seconds: float
) -> None:
    """Print that the server has started, after ``seconds``: its URL, its graphs, and how to try it."""
    graph_ids = [source.graph_id for source in configuration.graphs]
    output.line("started", url=url, pid=os.getpid(), graphs=graph_ids, data_dir=settings.data_dir)
    output.say(f"Runstead serves {', '.join(graph_ids)} at {url}", style="bold")
    output.say(f"  data  {'PostgreSQL and Redis, shared' if settings.is_cluster else settings.data_dir}")
    if not configuration.http.disable_meta:
        output.say(f"  docs  {url}/docs")
    if settings.console:
        output.say(f"  open  {url}/console/")
    output.say(f"  ready in {seconds:.1f} s")
    output.say(f'  try   runstead run {shlex.quote(graph_ids[0])} "hello"{_url_option(url, settings)}')


def show_snippet(url: str, configuration: GraphConfiguration, output: Output) -> None:
    """Print Python code for the first graph, with the standard client."""
    graph = json.dumps(configuration.graphs[0].graph_id, ensure_ascii=False)
    output.say(
        f"""
from langgraph_sdk import get_sync_client

client = get_sync_client(url="{url}")
question = {{"messages": [{{"role": "human", "content": "hello"}}]}}
for part in client.runs.stream(None, {graph}, input=question, stream_mode="messages-tuple"):
    print(part.event, part.data)
""",
        style="dim",
    )


def url_of(listening: socket.socket, settings: Settings) -> str:
    """Return the URL of a socket whose port may have been chosen automatically."""
    return settings.model_copy(update={"port": listening.getsockname()[1]}).url


def end_with_parent(parent_fd: int) -> None:
    """Drain when the parent has ended, in whatever way: its end of the pipe closes with it."""

    def wait() -> None:
        while os.read(parent_fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _url_option(url: str, settings: Settings) -> str:
    default = Settings.model_fields["port"].default
    return "" if url.endswith(f":{default}") and settings.is_loopback else f" --url {url}"

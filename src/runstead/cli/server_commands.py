"""``demo``, ``dev``, ``serve``, ``worker`` and ``cluster``: commands that run in the foreground."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from .options import Assign, Config, DataDir, Host, Json, Port, SettingsFile, Targets, Unauthenticated, Workers
from .output import Output


def demo(
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask before the payment, instead of approving it automatically.")
    ] = False,
    json: Json = False,
) -> None:
    """Kill the process of a run, and watch the run survive it.

    A new process resumes the run, and the result is the same as without the kill."""
    from .demo.run import show_demo

    output = Output(as_json=json)
    with output.handle_errors():
        raise typer.Exit(show_demo(output, ask=ask))


def dev(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Restart the server when code changes.")] = True,
    json: Json = False,
    socket_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve graphs and restart when their code changes.

    Runs in flight continue after the restart.
    """
    from .request import ServeRequest
    from .serving import develop

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    flags["allow_unauthenticated"] = allow_unauthenticated
    with output.handle_errors():
        request = ServeRequest.for_graphs(flags, targets, settings, assign, defaults={"show_errors": True})
        develop(request, output, reload=reload, socket_fd=socket_fd)


def serve(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    json: Json = False,
    socket_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    failure_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    after_reload: Annotated[bool, typer.Option("--after-reload", hidden=True)] = False,
    snippet: Annotated[bool, typer.Option("--snippet", hidden=True)] = False,
) -> None:
    """Serve graphs in the foreground.

    SIGTERM lets runs finish for a while, and hands the rest back to be resumed.
    """
    from .request import ServeRequest
    from .serving import serve_forever

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir, "max_concurrent_runs": workers}
    flags["allow_unauthenticated"] = allow_unauthenticated
    with output.handle_errors():
        request = ServeRequest.for_graphs(flags, targets, settings, assign)
        serve_forever(
            request,
            output,
            socket_fd=socket_fd,
            parent_fd=parent_fd,
            failure_fd=failure_fd,
            after_reload=after_reload,
            snippet=snippet,
        )


def worker(
    targets: Targets = None,
    config: Config = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Runs to execute at once, at least one.  [default: 64]")
    ] = None,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Execute only runs of this queue; may be repeated.")
    ] = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Execute runs of a cluster, without an HTTP server.

    Needs RUNSTEAD_DATABASE_URL and RUNSTEAD_REDIS_URL, those of its servers.
    SIGTERM lets runs finish for a while, and hands the rest to other workers.
    """
    from .request import ServeRequest
    from .serving import work_forever

    output = Output(as_json=json)
    flags = {"config": config, "max_concurrent_runs": workers, "queues": tuple(queue) if queue else None}
    with output.handle_errors():
        request = ServeRequest.for_graphs(flags, targets, settings, assign)
        work_forever(request, output, parent_fd=parent_fd)


def cluster(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Worker processes.")] = 2,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    json: Json = False,
) -> None:
    """Start a complete cluster on this machine, without Docker.

    PostgreSQL, Valkey, one gateway and some workers, which all end with this command. Data is kept.
    """
    from .cluster import run_cluster
    from .request import ServeRequest

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    flags["allow_unauthenticated"] = allow_unauthenticated
    with output.handle_errors():
        request = ServeRequest.for_graphs(flags, targets, settings, assign)
        raise typer.Exit(run_cluster(request, output, workers=workers))

"""``runstead serve`` and ``worker``, and what ``dev`` and ``doctor`` share with them: from flags to the foreground."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runstead.settings import CONFIG_FILE, Settings, SettingsError, load_settings, unknown_variables

from .logs import configure_logging
from .output import USAGE, CommandError, Output

if TYPE_CHECKING:
    from runstead.bootstrap.application import Application
    from runstead.graphs.configuration import GraphConfiguration


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What was asked for on the command line. ``targets`` are graphs to serve without a langgraph.json."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    assigned: Sequence[str] = ()
    settings_file: Path | None = None
    targets: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What this command sets where nobody else does."""

    def settings(self) -> Settings:
        """Flags, file and environment together."""
        settings = self._given()
        unset = {name: value for name, value in self.defaults.items() if name not in settings.model_fields_set}
        return settings.model_copy(update=unset)

    def _given(self) -> Settings:
        assigned = dict(_assignment(text) for text in self.assigned)
        config = self.flags.get("config")
        try:
            return load_settings(
                {**assigned, **{name: value for name, value in self.flags.items() if value is not None}},
                file=self.settings_file,
                project=Path(config).resolve().parent if config else None,
            )
        except SettingsError as error:
            raise CommandError(str(error), exit_code=USAGE) from error

    def configuration(self, settings: Settings) -> GraphConfiguration:
        """The graphs to serve, not yet imported."""
        from runstead.graphs.configuration import ConfigurationError, configuration_of, read_configuration
        from runstead.graphs.sources import SourceError

        if self.targets and self.flags.get("config"):
            raise CommandError("graphs were named, and a --config too; give one of the two", exit_code=USAGE)
        try:
            if self.targets:
                return configuration_of(self.targets, Path.cwd())
            return read_configuration(settings.config or Path.cwd() / CONFIG_FILE)
        except (ConfigurationError, SourceError) as error:
            raise CommandError(str(error), exit_code=USAGE) from error

    def arguments(self) -> list[str]:
        """The same request for a process of its own."""
        arguments = list(self.targets)
        for name, value in self.flags.items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                arguments.append(option)
            elif value is not None:
                arguments += [option, str(value)]
        for text in self.assigned:
            arguments += ["--set", text]
        return arguments + (["--settings", str(self.settings_file)] if self.settings_file else [])


def serve_forever(
    request: ServeRequest,
    output: Output,
    *,
    socket_fd: int | None = None,
    parent_fd: int | None = None,
    snippet: bool = False,
) -> None:
    """Serve until a signal. ``socket_fd``: a bound socket to serve on. ``parent_fd``: end when its far end closes."""
    if parent_fd is not None:
        end_with_parent(parent_fd)
    with _prepared(request, output) as (settings, configuration):
        # Before the imports, which take seconds: a port that is taken is told at once.
        listening = socket.socket(fileno=socket_fd) if socket_fd is not None else listen_on(settings)
        application = _application(settings, configuration)
        from runstead.bootstrap.server import serve

        # A start that fails is raised, and told in a sentence; uvicorn would log its whole traceback first.
        uvicorn_log = logging.getLogger("uvicorn.error")
        level = uvicorn_log.level
        uvicorn_log.setLevel(logging.CRITICAL)

        def started(url: str) -> None:
            uvicorn_log.setLevel(level)
            announce(url, configuration, settings, output)
            if snippet:
                show_snippet(url, configuration, output)

        serve(application, listener=listening, on_started=started)


def work_forever(request: ServeRequest, output: Output, *, parent_fd: int | None = None) -> None:
    """Execute runs of a cluster until a signal. ``parent_fd``: end when its far end closes."""
    if parent_fd is not None:
        end_with_parent(parent_fd)
    with _prepared(request, output) as (settings, configuration):
        if not settings.is_cluster:
            raise CommandError(
                "a worker shares its work with servers, and none is named",
                "set RUNSTEAD_DATABASE_URL and RUNSTEAD_REDIS_URL to those of the servers; "
                "without a cluster, `runstead serve` executes runs by itself",
                exit_code=USAGE,
            )
        if settings.max_concurrent_runs == 0:
            raise CommandError("a worker that executes 0 runs at once has nothing to do", "give --workers more")
        application = _application(settings, configuration)
        from runstead.bootstrap.worker import work

        def started() -> None:
            graph_ids = [source.graph_id for source in configuration.graphs]
            queues = list(settings.queues) if settings.queues else None
            output.line("started", pid=os.getpid(), graphs=graph_ids, queues=queues)
            told = f" from the queues {', '.join(settings.queues)}" if settings.queues else ""
            output.say(f"Runstead executes {', '.join(graph_ids)}{told}", style="bold")

        work(application, on_started=started)


@contextmanager
def _prepared(request: ServeRequest, output: Output) -> Iterator[tuple[Settings, GraphConfiguration]]:
    """What was asked for, looked at before anything is imported; what goes wrong later is told in a sentence."""
    # Importing makes a million objects that stay; looking for garbage among them costs a fifth of the start.
    gc.disable()
    settings = request.settings()
    configure_logging(settings)
    configuration = request.configuration(settings)
    refuse_strangers(configuration, settings)
    refuse_unprotected(configuration, settings)
    warn(configuration, output)
    from runstead.infra.engines.exceptions import StorageError

    try:
        yield settings, configuration
    except StorageError as error:
        raise CommandError(str(error)) from error


def _application(settings: Settings, configuration: GraphConfiguration) -> Application:
    load_graphs(configuration)
    load_handlers(configuration, settings)
    from runstead.bootstrap.application import Application

    application = Application(settings, configuration)
    gc.enable()
    gc.freeze()
    return application


def develop(request: ServeRequest, output: Output, *, reload: bool) -> None:
    """Serve for somebody who works on the graphs."""
    # Handing a socket from server to server is a thing of POSIX.
    if not reload or os.name != "posix":
        serve_forever(request, output, snippet=True)
        return
    from .reloading import reload_forever

    reload_forever(request, output)


def load_graphs(configuration: GraphConfiguration) -> None:
    """Import every graph, so that a mistake in one is told before anything is opened."""
    from runstead.graphs.environment import apply_environment
    from runstead.graphs.modules import GraphLoadError
    from runstead.graphs.registry import GraphRegistry

    apply_environment(configuration, os.environ)
    try:
        GraphRegistry(configuration).load()
    except GraphLoadError as error:
        raise CommandError(str(error), "correct it and start again; `runstead doctor` checks all graphs") from error
    except ExceptionGroup as errors:
        raise CommandError("\n".join(str(error) for error in errors.exceptions)) from errors


def load_handlers(configuration: GraphConfiguration, settings: Settings) -> None:
    """Import the auth handlers, where users have to prove who they are to them."""
    from runstead.bootstrap.doors import load_auth
    from runstead.bootstrap.refusals import UnsupportedConfiguration

    try:
        load_auth(settings, configuration)
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), "correct it and start again") from error


def load_app(configuration: GraphConfiguration) -> None:
    """Import the user's own app, where there is one."""
    from runstead.bootstrap.custom_apps import load_custom_app
    from runstead.bootstrap.refusals import UnsupportedConfiguration

    try:
        load_custom_app(configuration)
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), "correct it and start again") from error


def load_embeddings(configuration: GraphConfiguration) -> None:
    """Import the embedder of the store, where there is one."""
    from runstead.bootstrap.embedders import load_embedder
    from runstead.bootstrap.refusals import UnsupportedConfiguration

    try:
        load_embedder(configuration)
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), "correct it and start again") from error


def refuse_strangers(configuration: GraphConfiguration, settings: Settings) -> None:
    """Where nobody has to log in, nobody from elsewhere is let in unless that was asked for."""
    from runstead.bootstrap.refusals import auth_mode

    if settings.is_loopback or settings.allow_unauthenticated:
        return
    if auth_mode(settings, configuration) == "none":
        raise CommandError(
            f"{settings.host} can be reached by others, and nobody would have to log in",
            "make a key with `runstead keys create` and say --set auth=keys, name auth handlers in langgraph.json, "
            "or say --allow-unauthenticated",
            exit_code=USAGE,
        )


def refuse_unprotected(configuration: GraphConfiguration, settings: Settings) -> None:
    """Told before anything is imported, where the server itself would tell it later."""
    from runstead.bootstrap.refusals import UnsupportedConfiguration, refuse_what_cannot_be_kept

    try:
        refuse_what_cannot_be_kept(configuration, settings)
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), exit_code=USAGE) from error


def warn(configuration: GraphConfiguration, output: Output) -> None:
    """Tell of what was given and will have no effect."""
    remarks = [f"{name}: no setting has this name, ignored" for name in unknown_variables()]
    for remark in (*configuration.warnings, *remarks):
        output.line("warning", warning=remark)
        output.say(f"warning: {remark}", style="yellow")


def listen_on(settings: Settings) -> socket.socket:
    """A bound socket, or an error that says whether the port is taken."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CommandError(
            f"{settings.host} is no address of this machine: {error.strerror}", exit_code=USAGE
        ) from error
    listening = socket.socket(family, kind)
    if os.name == "posix":
        # A port left a moment ago may be taken again. On Windows the same option would let two servers share one.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        way_out = "choose another with --port, or let --port 0 take a free one"
        raise CommandError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}", way_out) from error
    return listening


def announce(url: str, configuration: GraphConfiguration, settings: Settings, output: Output) -> None:
    """The server is up: where, with what, and how to talk to it."""
    graph_ids = [source.graph_id for source in configuration.graphs]
    output.line("started", url=url, pid=os.getpid(), graphs=graph_ids, data_dir=settings.data_dir)
    output.say(f"Runstead serves {', '.join(graph_ids)} at {url}", style="bold")
    output.say(f"  data  {'PostgreSQL and Redis, shared' if settings.is_cluster else settings.data_dir}")
    output.say(f'  try   runstead run {graph_ids[0]} "hello"{_url_option(url, settings)}')


def show_snippet(url: str, configuration: GraphConfiguration, output: Output) -> None:
    """How to reach the first graph from Python, with the client everybody has."""
    graph_id = configuration.graphs[0].graph_id
    output.say(
        f"""
from langgraph_sdk import get_sync_client

client = get_sync_client(url="{url}")
question = {{"messages": [{{"role": "human", "content": "hello"}}]}}
for part in client.runs.stream(None, "{graph_id}", input=question, stream_mode="messages-tuple"):
    print(part.event, part.data)
""",
        style="dim",
    )


def url_of(listening: socket.socket, settings: Settings) -> str:
    """Where a socket that may have taken a free port is found."""
    return settings.model_copy(update={"port": listening.getsockname()[1]}).url


def end_with_parent(parent_fd: int) -> None:
    """Drain when the parent is gone, however it went: its end of the pipe closes with it."""

    def wait() -> None:
        while os.read(parent_fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: write it as NAME=VALUE, such as max_attempts=5", exit_code=USAGE)
    return name.strip(), value


def _url_option(url: str, settings: Settings) -> str:
    default = Settings.model_fields["port"].default
    return "" if url.endswith(f":{default}") and settings.is_loopback else f" --url {url}"

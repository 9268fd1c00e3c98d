"""Application: takes settings and graphs, provides an ASGI app and the runs facade.

Creating one opens nothing. It starts with its lifespan, which a Runstead server, another server, or a block of code can
drive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Self, overload

from fastapi import FastAPI

from runstead.channels.contract import Channel
from runstead.gateway.api import ApiEnvironment, Noun, create_api
from runstead.gateway.auth.policy import METRICS, OPEN_PATHS
from runstead.gateway.request_log import RequestSpan, no_trace
from runstead.gateway.routes.console import ConsoleLogin
from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration, configuration_of_graphs, read_configuration
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.observer import RunObserver
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore
from runstead.runtime.stream_bridge.contract import StreamBridge
from runstead.settings import CONFIG_FILE, Settings, load_settings
from runstead.wire.credentials import Authenticator, Credentials
from runstead.wire.errors import Unavailable

from .adapters import Adapters, DispatcherFactory, split_adapters
from .assembly import Assembly, build_application
from .loopback import loopback
from .memory_limits import byte_budget
from .metrics_server import metrics_server
from .options import logged_headers
from .web_origins import cors_options, page_policy


class Application:
    """One complete server. With ``execute=False`` it accepts and streams runs, but executes none.

    ``Application({"agent": graph})`` serves graphs that are objects of this program; settings may follow by name.
    Raises SourceError for a value that cannot be a graph.

    To mount it in another app, ``application = Application.from_file("langgraph.json")`` needs two more lines: ``app =
    FastAPI(lifespan=application.lifespan)`` and ``app.mount("/agents", application.asgi)``.
    """

    @overload
    def __init__(
        self,
        settings: Settings,
        configuration: GraphConfiguration,
        *,
        execute: bool = True,
        observers: Sequence[RunObserver] = (),
        channels: Sequence[Channel] = (),
        authenticator: Authenticator | None = None,
        event_store: RunEventStore | None = None,
        bridge: StreamBridge | None = None,
        checkpointer: RunCheckpointStore | None = None,
        dispatcher: DispatcherFactory | None = None,
        clock: Clock | None = None,
    ) -> None: ...

    @overload
    def __init__(self, settings: Mapping[str, object], *, execute: bool = True, **options: Any) -> None: ...

    def __init__(
        self,
        settings: Settings | Mapping[str, object],
        configuration: GraphConfiguration | None = None,
        *,
        execute: bool = True,
        **options: Any,
    ) -> None:
        """The adapters replace, or the observers join, those of the profile and of the settings; see `Adapters`."""
        supplied, named = split_adapters(options)
        if not isinstance(settings, Settings):
            configuration = configuration_of_graphs(settings, Path.cwd())
            settings = load_settings(named)
        elif configuration is None:
            raise TypeError('give the graphs: Application({"agent": graph}), or settings and a configuration')
        elif unknown := [name for name, value in named.items() if value is not None and value != ()]:
            raise TypeError(f"unknown options: {', '.join(unknown)}; put settings into the Settings")
        if "authenticator" in supplied and settings.auth is None:
            settings = settings.model_copy(update={"auth": "custom"})
        self._adapters = Adapters(**supplied).over(settings)
        self.settings, self.configuration = settings, configuration
        self.failure: BaseException | None = None
        self.replace_process: Callable[[], None] | None = None
        """Callback that ends and restarts this process when user code blocks its event loop permanently. None if
        another app owns the process: user code then gets a new loop."""
        self.after_reload = False
        """True if the previous process was ended to load new code: runs that it held are handed back, as at a
        shutdown."""
        self._execute = execute
        self._parts: Assembly | None = None
        self._draining: asyncio.Task[None] | None = None
        self.asgi: FastAPI = create_api(
            self,
            authenticator=self,
            lifespan=self.lifespan,
            cors=cors_options(settings, configuration),
            disabled=_disabled(configuration),
            surroundings=self._surroundings(),
        )

    def _surroundings(self) -> ApiEnvironment:
        settings, configuration = self.settings, self.configuration
        return ApiEnvironment(
            mount_prefix=configuration.http.mount_prefix,
            custom=lambda: self._parts.custom if self._parts else None,
            security=_security(configuration),
            logged_headers=logged_headers(configuration),
            pages=page_policy(settings, configuration),
            access_check_seconds=settings.access_check_seconds,
            memory=byte_budget(settings),
            count_request=self._count_request,
            trace_request=self._trace_request,
            open_paths=OPEN_PATHS | {METRICS} if settings.metrics_scope == "*" else OPEN_PATHS,
            has_console=settings.console,
            console_login=_console_login(settings),
        )

    @classmethod
    def from_file(cls, config: str | Path = CONFIG_FILE, **settings: object) -> Self:
        """Create an application for the graphs of a langgraph.json, with the settings that ``runstead serve`` finds,
        and those given here; adapters may be objects too (``observers=[...]``)."""
        file = Path(config).resolve()
        adapters, named = split_adapters(settings)
        return cls(load_settings({**named, "config": file}, project=file.parent), read_configuration(file), **adapters)

    @property
    def services(self) -> Services:
        """Services behind the routes. Raises Unavailable unless the application runs."""
        return self._running.services

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """Authenticate with the configured authenticator, which exists while the application runs. See
        Authenticator."""
        return await self._running.authenticator.authenticate(credentials)

    def _count_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        if self._parts is not None:
            self._parts.telemetry.metrics.request(method, route, status, seconds)

    def _trace_request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[RequestSpan]:
        return (self._parts.telemetry.trace_request if self._parts is not None else no_trace)(method, headers)

    @property
    def _running(self) -> Assembly:
        if self._parts is None:
            raise Unavailable(
                "Runstead has not been started, or is stopped; when it is mounted in another app, "
                "give that app lifespan=application.lifespan"
            )
        return self._parts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Services]:
        """Start the application for the duration of a block, then drain and close it.

        Raises StorageError for unusable data, GraphLoadError for graphs that cannot be loaded, and
        UnsupportedConfiguration for a configuration that is only partly supported.
        """
        self._draining = None
        async with build_application(
            self.settings,
            self.configuration,
            execute=self._execute,
            replace_process=self.replace_process,
            after_reload=self.after_reload,
            adapters=self._adapters,
        ) as parts:
            self._parts = parts
            try:
                # The custom app may send loopback requests while it starts and ends, and runs may do so until the end
                # of their grace time.
                with loopback(self.asgi, self.configuration.http.mount_prefix, parts.user_loop, parts.own_actor):
                    async with metrics_server(self.settings, parts.services), parts.executing():
                        try:
                            yield parts.services
                        finally:
                            await self.drain()
            finally:
                self._parts = None

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Lifespan for FastAPI and Starlette."""
        self.failure = None
        try:
            async with self.running():
                yield
        except BaseException as error:
            self.failure = error
            raise

    def leave(self) -> None:
        """Report not ready, so that load balancers choose other servers. Requests are still served."""
        if self._parts is not None:
            self._parts.closing.leave()

    @property
    def is_leaving(self) -> bool:
        """True after `leave`, until the next start."""
        return self._parts is not None and self._parts.closing.is_leaving

    async def drain(self) -> None:
        """Claim no more runs, let held runs finish for the grace time, hand the rest back, and end all streams.

        Idempotent: a second call waits for the first.
        """
        if self._parts is None:
            return
        if self._draining is None:
            self._draining = asyncio.create_task(self._parts.closing.drain(), name="drain")
        await asyncio.shield(self._draining)


def _disabled(configuration: GraphConfiguration) -> set[Noun]:
    http = configuration.http
    switches: dict[Noun, bool] = {
        "assistants": http.disable_assistants,
        "threads": http.disable_threads,
        "runs": http.disable_runs,
        "store": http.disable_store,
        "meta": http.disable_meta,
        "event_streaming": http.disable_event_streaming,
    }
    return {noun for noun, is_off in switches.items() if is_off}


def _security(configuration: GraphConfiguration) -> JsonObject:
    openapi = configuration.auth.openapi if configuration.auth else None
    return openapi.model_dump(exclude_unset=True) if openapi else {}


def _console_login(settings: Settings) -> ConsoleLogin | None:
    client = settings.console_oidc_client_id
    if client is None or settings.oidc_issuer is None:
        return None
    return ConsoleLogin(settings.oidc_issuer, client, settings.console_oidc_scope)

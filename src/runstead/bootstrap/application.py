"""The application: settings and graphs in, an ASGI app and the runs facade out.

Nothing is opened by making one. It starts with its lifespan, whoever drives that: a server of ours, a
server of somebody else's, or a block of code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from fastapi import FastAPI

from runstead.gateway.api import Noun, Surroundings, create_api
from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration, read_configuration
from runstead.runtime.actor_context import ActorContext
from runstead.settings import CONFIG_FILE, Settings, load_settings
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unavailable

from .assembly import Assembly, assembled
from .browsers import cors_options, page_policy
from .loopback import loopback
from .memory import byte_budget
from .parts import logged_headers


class Application:
    """One server's worth of everything. With ``execute=False`` it accepts and streams runs, and executes none.

    Mounted in an app of somebody else's, ``application = Application.from_file("langgraph.json")`` is two lines more:
    ``app = FastAPI(lifespan=application.lifespan)`` and ``app.mount("/agents", application.asgi)``.
    """

    def __init__(self, settings: Settings, configuration: GraphConfiguration, *, execute: bool = True) -> None:
        self.settings, self.configuration = settings, configuration
        self.failure: BaseException | None = None
        self.replace_process: Callable[[], None] | None = None
        """Makes this process end and start anew, when user code never gives its event loop back. None where the process
        is somebody else's: user code gets a fresh loop then.
        """
        self.after_reload = False
        """The process before this one was ended for new code: runs that it held are handed back as at a shutdown."""
        self._execute = execute
        self._parts: Assembly | None = None
        self._draining: asyncio.Task[None] | None = None
        self.asgi: FastAPI = create_api(
            self,
            authenticator=self,
            lifespan=self.lifespan,
            cors=cors_options(settings, configuration),
            disabled=_disabled(configuration),
            surroundings=Surroundings(
                mount_prefix=configuration.http.mount_prefix,
                custom=lambda: self._parts.custom if self._parts else None,
                security=_security(configuration),
                logged_headers=logged_headers(configuration),
                pages=page_policy(settings, configuration),
                access_check_seconds=settings.access_check_seconds,
                memory=byte_budget(settings),
            ),
        )

    @classmethod
    def from_file(cls, config: str | Path = CONFIG_FILE, **settings: Any) -> Self:
        """The graphs of a langgraph.json, with the settings that ``runstead serve`` finds, and those given here."""
        file = Path(config).resolve()
        return cls(load_settings({**settings, "config": file}, project=file.parent), read_configuration(file))

    @property
    def services(self) -> Services:
        """Everything behind the routes. Raises Unavailable unless the application runs."""
        return self._running.services

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """See Authenticator: the one that the settings ask for, which is there while the application runs."""
        return await self._running.authenticator.authenticate(credentials)

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
        """Started for the length of a block, drained and closed after it.

        Raises StorageError for data that cannot be used, GraphLoadError for graphs that cannot be loaded, and
        UnsupportedConfiguration for a configuration that could only be kept in part.
        """
        self._draining = None
        async with assembled(
            self.settings,
            self.configuration,
            execute=self._execute,
            replace_process=self.replace_process,
            after_reload=self.after_reload,
        ) as parts:
            self._parts = parts
            try:
                # Their app may make such requests while it starts and ends, and runs to the end of their grace time.
                with loopback(self.asgi, self.configuration.http.mount_prefix, parts.user_loop, parts.own_actor):
                    async with parts.executing():
                        try:
                            yield parts.services
                        finally:
                            await self.drain()
            finally:
                self._parts = None

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """As FastAPI and Starlette take it."""
        self.failure = None
        try:
            async with self.running():
                yield
        except BaseException as error:
            self.failure = error
            raise

    def leave(self) -> None:
        """Say that it is not ready, so that load balancers turn to others; requests are answered as before."""
        if self._parts is not None:
            self._parts.closing.leave()

    @property
    def is_leaving(self) -> bool:
        """It has said that it goes, and has not started anew since."""
        return self._parts is not None and self._parts.closing.is_leaving

    async def drain(self) -> None:
        """Claim nothing more, let runs finish for the grace time, hand the rest back, and end all streams.

        Safe to call twice: the second call waits for the first.
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


def _security(configuration: GraphConfiguration) -> dict[str, Any]:
    told = configuration.auth.openapi if configuration.auth else None
    return told.model_dump(exclude_unset=True) if told else {}

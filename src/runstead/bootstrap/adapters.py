"""Adapters from outside: what an application or the settings supply instead of, or beside, the profile's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeAlias

from runstead.auth.custom import CustomAuthentication
from runstead.channels.contract import Channel
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.modules import GraphLoadError, extend_search_path, load_variable
from runstead.graphs.sources import SourceError, parse_source
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.dispatch import RunDispatcher
from runstead.runtime.runs.observer import ExceptEnds, RunObserver
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore, RunLeaseStore
from runstead.runtime.stream_bridge.contract import StreamBridge
from runstead.settings import Settings
from runstead.wire.credentials import Authenticator

from .profile import Profile
from .unsupported import UnsupportedConfiguration

DispatcherFactory: TypeAlias = Callable[[RunLeaseStore, Clock], RunDispatcher]
"""Makes the dispatcher. If it has a method ``notify``, that is called when a run may have become claimable."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Adapters supplied from outside; None keeps the profile's own.

    Each is an object that implements the port, or a class or function that returns one, or an async context manager of
    one, which is entered when the server starts; or the name of these, as ``module:object``.
    """

    observers: Sequence[RunObserver | str] = ()
    channels: Sequence[Channel | str] = ()
    authenticator: Authenticator | str | None = None
    event_store: RunEventStore | str | None = None
    bridge: StreamBridge | str | None = None
    checkpointer: RunCheckpointStore | str | None = None
    dispatcher: DispatcherFactory | str | None = None
    clock: Clock | None = None
    """Time of a single server, for tests; the machine's otherwise."""

    def auth_or(self, loaded: object) -> object:
        """Return the authenticator that an application supplies as an object, or else what was ``loaded``."""
        if self.authenticator is None or isinstance(self.authenticator, str):
            return loaded
        return CustomAuthentication(self.authenticator)

    def over(self, settings: Settings) -> Adapters:
        """Return these, and those of the settings where these name none."""
        return Adapters(
            observers=(*self.observers, *settings.observers),
            channels=(*self.channels, *settings.channels),
            authenticator=self.authenticator or settings.authenticator,
            event_store=self.event_store or settings.event_store,
            bridge=self.bridge or settings.bridge,
            checkpointer=self.checkpointer or settings.checkpointer,
            dispatcher=self.dispatcher or settings.dispatcher,
            clock=self.clock,
        )


def split_adapters(given: Mapping[str, object]) -> tuple[JsonObject, JsonObject]:
    """Return the adapters that are objects, and the settings that are left, names of adapters included."""
    names = {field.name for field in fields(Adapters)}
    objects = {name: value for name, value in given.items() if name in names and not _is_named(value)}
    return objects, {name: value for name, value in given.items() if name not in objects}


def _is_named(value: object) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, tuple) and all(map(_is_named, value)))


NO_ADAPTERS: Final = Adapters()


@dataclass(frozen=True, slots=True)
class Observers:
    """The observers from outside. Those whose attribute ``required`` is true can fail a run."""

    all: Sequence[RunObserver] = ()

    @property
    def required(self) -> Sequence[RunObserver]:
        return [observer for observer in self.all if getattr(observer, "required", False)]

    @property
    def notified_at_once(self) -> Sequence[RunObserver]:
        """The observers that the executing process notifies; the outbox notifies required ones of ends."""
        return [ExceptEnds(observer) if observer in self.required else observer for observer in self.all]


async def open_adapters(
    stack: AsyncExitStack, profile: Profile, adapters: Adapters, configuration: GraphConfiguration
) -> tuple[Profile, Observers]:
    """Return the profile with the adapters from outside, open until the end of ``stack``.

    Raises UnsupportedConfiguration for one that cannot be loaded, or lacks a method of its port.
    """

    async def supplied(name: str, value: object, port: type) -> Any:
        return await _opened(stack, name, value, configuration, port)

    if adapters.event_store is not None:
        profile = replace(profile, events=await supplied("event_store", adapters.event_store, RunEventStore))
    if adapters.bridge is not None:
        profile = replace(profile, bridge=await supplied("bridge", adapters.bridge, StreamBridge))
    if adapters.checkpointer is not None:
        profile = replace(
            profile, checkpoints=await supplied("checkpointer", adapters.checkpointer, RunCheckpointStore)
        )
    if adapters.dispatcher is not None:
        profile = _with_dispatcher(profile, _loaded("dispatcher", adapters.dispatcher, configuration))
    observers = [await supplied("observers", one, RunObserver) for one in adapters.observers]
    return profile, Observers(observers)


def _with_dispatcher(profile: Profile, factory: DispatcherFactory) -> Profile:
    queue, made = profile.queue, list[RunDispatcher]()

    def dispatcher(leases: RunLeaseStore, _: bool) -> RunDispatcher:
        made.append(factory(leases, profile.clock))
        return made[-1]

    def notify() -> None:
        queue.notify()
        for one in made:
            if (notified := getattr(one, "notify", None)) is not None:
                notified()

    return replace(profile, queue=replace(queue, dispatcher=dispatcher, notify=notify))


async def _opened(
    stack: AsyncExitStack, name: str, value: object, configuration: GraphConfiguration, port: type
) -> object:
    found = _loaded(name, value, configuration)
    if isinstance(found, type) or inspect.isroutine(found):
        found = found()
    if hasattr(found, "__aenter__"):
        found = await stack.enter_async_context(found)
    _check_methods(name, found, port)
    return found


def load_adapter(name: str, value: object, configuration: GraphConfiguration, port: type) -> object:
    """Return an object, the one that a setting names, or what the class or function of that name returns.

    Raises UnsupportedConfiguration.
    """
    found: object = _loaded(name, value, configuration)
    if isinstance(found, type) or inspect.isroutine(found):
        found = found()
    _check_methods(name, found, port)
    return found


def _check_methods(name: str, found: object, port: type) -> None:
    missing = [method for method in vars(port) if not method.startswith("_") and getattr(found, method, None) is None]
    if missing:
        raise UnsupportedConfiguration(
            f"{name}: {type(found).__name__} cannot be a {port.__name__}: it has no {', '.join(missing)}"
        )


def _loaded(name: str, value: object, configuration: GraphConfiguration) -> Any:
    if not isinstance(value, str):
        return value
    extend_search_path(configuration.search_paths)
    try:
        return load_variable(parse_source(name, value, configuration.directory))
    except SourceError as error:
        raise UnsupportedConfiguration(f"{name}: {error.problem}") from error
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{name}: {value} cannot be loaded: {error.problem}") from error

"""Conversion of a user's variable to an agent for one run.

The variable may be a compiled graph (also a functional entrypoint), a builder, or a factory of one: a sync or async
function or context manager, which takes nothing, the config, the server's runtime, or both.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Literal, TypeAlias

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from runstead.runtime.json_types import JsonMapping, JsonObject

from .modules import GraphLoadError
from .server_runtime import context_schema_of, is_server_runtime, server_runtime
from .sources import GraphSource

Wanted: TypeAlias = Literal["config", "runtime"]


class NoGraphReturned(TypeError):
    """The factory returned something other than a graph. A TypeError, so that clients get its text."""

    def __init__(self, source: GraphSource, gave: str) -> None:
        """Create the error. ``gave`` is a verb with its object, such as "returned None"."""
        expected = "a compiled graph, a StateGraph or an @entrypoint"
        verb = "yield" if gave.startswith("yielded") else "return"
        super().__init__(f"graph {source.graph_id!r}: the factory {source.variable}() {gave}; {verb} {expected}")


class UserFactory:
    """Factory that opens the agent of a run from the user's variable. Raises GraphLoadError if the variable cannot be
    an agent."""

    def __init__(self, source: GraphSource, value: object) -> None:
        self._source, self._value = source, value
        if is_graph(value):
            return
        if not callable(value):
            raise GraphLoadError(source, f"{source.variable!r} is {_kind(value)}; {_EXPECTED}")
        self._call, self._parameters = _opener(value), _wanted(source, value)

    @property
    def graph_name(self) -> str | None:
        """Name of a compiled graph; None for a builder or a factory."""
        return getattr(self._value, "name", None) if is_graph(self._value) else None

    @property
    def context_schema(self) -> object | None:
        """Type of the graph's context; None for a graph that is built per run."""
        return getattr(self._value, "context_schema", None) if is_graph(self._value) else None

    @asynccontextmanager
    async def open(self, config: JsonMapping, store: object = None) -> AsyncIterator[object]:
        """Yield the compiled graph, or the builder, for the duration of a block; then close everything that the factory
        opened.

        ``store`` is the store of the factory's runtime. Raises NoGraphReturned, and the errors of the factory.
        """
        if is_graph(self._value):
            yield self._value
            return
        async with AsyncExitStack() as stack:
            yield await self._made(self._call(**self._arguments(config, store)), stack)

    async def _made(self, made: object, stack: AsyncExitStack) -> object:
        """Return the graph from ``made``, after entering the context managers around it."""
        verb = "returned"
        # An async function may return a context manager: continue until there is a graph.
        while not is_graph(made):
            if inspect.isawaitable(made):
                made = await made
            elif isinstance(made, AbstractAsyncContextManager | AbstractContextManager):
                made, verb = await self._entered(made, stack), "yielded"
            else:
                raise NoGraphReturned(self._source, f"{verb} {_kind(made)}")
        return made

    async def _entered(self, manager: Any, stack: AsyncExitStack) -> object:
        try:
            if isinstance(manager, AbstractAsyncContextManager):
                return await stack.enter_async_context(manager)
            return stack.enter_context(manager)
        except RuntimeError as error:
            # Raised by contextlib, which does not name the generator.
            if str(error) != "generator didn't yield":
                raise
            raise NoGraphReturned(self._source, "yielded nothing") from error

    def _arguments(self, config: JsonMapping, store: object) -> JsonObject:
        arguments: JsonObject = {}
        for name, (wanted, schema) in self._parameters.items():
            arguments[name] = dict(config) if wanted == "config" else server_runtime(config, store, schema)
        return arguments


_EXPECTED = "expected a compiled graph, a StateGraph, an @entrypoint, or a function that makes one of them"


def is_graph(value: object) -> bool:
    """Return whether the value is a compiled graph, or a builder still to be compiled."""
    return isinstance(value, Pregel | StateGraph)


def _opener(factory: Callable[..., Any]) -> Callable[..., object]:
    # A plain generator function is a context manager without its decorator.
    if inspect.isasyncgenfunction(factory):
        return asynccontextmanager(factory)
    if inspect.isgeneratorfunction(factory):
        return contextmanager(factory)
    return factory


def _wanted(source: GraphSource, factory: Callable[..., Any]) -> dict[str, tuple[Wanted, type[Any] | None]]:
    """Return the factory's parameters with the kind of value that each gets: by annotation first, by name without
    one."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:
        return {}
    hints = _hints(factory)
    wanted: dict[str, tuple[Wanted, type[Any] | None]] = {}
    alone = sum(parameter.default is parameter.empty for parameter in parameters.values()) == 1
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(name, parameter.empty)
        if is_server_runtime(hint) or (hint is parameter.empty and name == "runtime"):
            wanted[name] = ("runtime", context_schema_of(hint))
        elif _is_config(hint) or name == "config" or (hint is parameter.empty and alone and not wanted):
            wanted[name] = ("config", None)
        elif parameter.default is parameter.empty:
            problem = f"{source.variable}() needs {name!r}, but a factory is given only config: RunnableConfig"
            raise GraphLoadError(source, f"{problem} and runtime: ServerRuntime; give {name!r} a default")
    if positional := [name for name in wanted if parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY]:
        raise GraphLoadError(source, f"{source.variable}() takes {positional[0]!r} by position only; remove the slash")
    return wanted


def _hints(factory: Callable[..., Any]) -> JsonMapping:
    function = factory if inspect.isroutine(factory) else inspect.getattr_static(type(factory), "__call__", factory)
    try:
        return typing.get_type_hints(function)
    except Exception:
        # An annotation contains a name that only type checkers know. Use the annotations as written.
        return dict(getattr(function, "__annotations__", {}))


def _is_config(hint: object) -> bool:
    if isinstance(hint, str):
        return "RunnableConfig" in hint
    options = (hint, *typing.get_args(hint))
    return any(getattr(option, "__name__", "") in ("RunnableConfig", "dict") for option in options)


def _kind(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"

"""Ports as a process sees them through a network: slow, and cut off at any moment.

A call first travels, then takes effect at one instant, then its response travels. In between the process can die, so
that a test covers both the call that was never made and the one that was made and never answered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar, cast

from .world import Process

P = TypeVar("P")


class Outage(ConnectionError):
    """The other side could not be reached, or its response was lost."""


@dataclass(frozen=True, slots=True)
class LatencyProfile:
    """Network delays and faults.

    The share ``instant`` of trips takes no time, the others take up to ``slowest`` seconds.
    """

    instant: float = 0.5
    slowest: float = 0.02
    outages: Mapping[str, float] = field(default_factory=dict)
    """The share of calls that fail, by the method's name; half of them fail only after they took effect."""

    @property
    def worst(self) -> float:
        """Return the longest possible duration of a trip in seconds."""
        return 0.0 if self.instant >= 1 else self.slowest

    def trip(self, chance: Random) -> float:
        return 0.0 if chance.random() < self.instant else chance.random() * self.slowest


def through_network(
    port: P,
    process: Process,
    weather: LatencyProfile,
    *,
    name: str,
    at_once: Collection[str] = (),
    silent: Collection[str] = (),
) -> P:
    """Return ``port`` as ``process`` sees it through the network.

    Methods in ``at_once`` take effect before they travel, since the fence before them is checked at the same instant;
    those in ``silent`` are not written to the trace.
    """
    return cast("P", _Remote(port, process, weather, name, frozenset(at_once), frozenset(silent)))


class _Remote:
    def __init__(
        self,
        port: Any,
        process: Process,
        weather: LatencyProfile,
        name: str,
        at_once: frozenset[str],
        silent: frozenset[str],
    ) -> None:
        self._port, self._process, self._weather, self._name = port, process, weather, name
        self._at_once, self._silent = at_once, silent

    def __getattr__(self, method: str) -> Any:
        value = getattr(self._port, method)
        if inspect.isasyncgenfunction(value):
            wrapped: Any = self._listing(value)
        elif inspect.iscoroutinefunction(value):
            wrapped = self._calling(method, value)
        else:
            return value
        setattr(self, method, wrapped)
        return wrapped

    def _calling(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        process, chance, weather = self._process, self._process.world.chance, self._weather
        failing = weather.outages.get(method, 0.0)

        async def remote(*args: Any, **kwargs: Any) -> Any:
            await process.port_call()
            fails = failing > 0 and chance.random() < failing
            if method not in self._at_once:
                await self._travel()
            if fails and chance.random() < 0.5:
                raise Outage(f"{self._name}.{method} was not reached")
            if method not in self._silent:
                # A worker's name differs in every process, but a trace must be repeatable.
                shown = args[:1] if method == "claim" else args[:2]
                process.world.note(process.name, f"{self._name}.{method}{_arguments(shown)}")
            result = await call(*args, **kwargs)
            await process.port_call()
            await self._travel()
            if fails:
                raise Outage(f"the answer of {self._name}.{method} was lost")
            return result

        return remote

    def _listing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def remote(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            await self._process.port_call()
            await self._travel()
            items = [item async for item in call(*args, **kwargs)]
            await self._process.port_call()
            for item in items:
                yield item

        return remote

    async def _travel(self) -> None:
        seconds = self._weather.trip(self._process.world.chance)
        if seconds:
            await asyncio.sleep(seconds)
        if not self._process.alive:
            await self._process.hang()


def _arguments(args: tuple[Any, ...]) -> str:
    """Return the arguments that identify a call in the trace."""
    said = [str(getattr(arg, "run_id", arg)) for arg in args if isinstance(arg, str) or hasattr(arg, "run_id")]
    return f"({', '.join(said)})"

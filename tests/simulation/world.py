"""A world of processes on one virtual time, which can be frozen, killed and started.

Each process has an event loop of its own. A killed process is never stepped again, at whatever await it is; a frozen
one is not stepped for a while, and finds all its timers overdue when it wakes. The outside, where clients live, is a
process that is never killed or frozen. One seeded random source decides everything else, so a seed determines a
schedule.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from .loop import LoopClock, VirtualTimeLoop

T = TypeVar("T")


class Deadlock(AssertionError):
    """Nothing is ready and no timer runs: waiting tasks would wait forever."""


class NotQuiescent(AssertionError):
    """The allowed time has passed and some task still waits."""


class ProcessGone(BaseException):
    """Raised in the tasks of a dead process when it is swept.

    Not an Exception, so that no task handles it and continues.
    """


class Process:
    """One event loop, and whether it is alive."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.loop = VirtualTimeLoop(lambda: world.now)
        self.clock = LoopClock(lambda: world.now)
        self.alive = True
        self.frozen = False
        self.swept = False
        self.thawed_at: float | None = None
        self.calls = 0
        self.dies_at_call: int | None = None
        self._dying: list[Callable[[], None]] = []

    def spawn(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        return self.loop.create_task(work, name=name)

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, outside of the process, when it dies; like a peer that notices closed connections."""
        self._dying.append(callback)

    def kill(self) -> None:
        """Kill the process (SIGKILL): none of its awaits ever returns, and nothing it does has an effect any more."""
        if self.alive:
            self.alive = False
            self.world.note(self.name, "dies")
            for callback in self._dying:
                callback()

    def freeze(self) -> None:
        """Freeze the process (SIGSTOP): it stops, and its connections stay open."""
        if self.alive and not self.frozen:
            self.frozen = True
            self.world.note(self.name, "freezes")

    def thaw(self) -> None:
        """Thaw the process (SIGCONT): it continues as if no time had passed, but all of it has."""
        if self.frozen:
            self.frozen, self.thawed_at = False, self.world.now
            self.world.note(self.name, "wakes")

    async def port_call(self) -> None:
        """Mark a point at which this process may die: between a call of a port and its effect."""
        if not self.alive:
            await self.hang()
        self.calls += 1
        if self.dies_at_call is not None and self.calls >= self.dies_at_call:
            self.dies_at_call = None
            self.kill()
            await self.hang()

    async def hang(self) -> None:
        """Never return. In a swept process, raise ProcessGone instead."""
        if not self.swept:
            await self.loop.create_future()
        raise ProcessGone

    def waiting(self) -> list[str]:
        """Return the waiting tasks of this process, for the text of a failure."""
        return sorted(f"{self.name}: {_where(task)}" for task in asyncio.all_tasks(self.loop))

    def sweep(self) -> None:
        """Take the loop apart. Tasks of a dead process find every port closed, and end without an effect."""
        self.alive, self.swept = False, True
        self.loop.set_exception_handler(lambda loop, context: None)
        for _ in range(100):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.step()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class World:
    """Processes, their time, and their random source."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.now = 0.0
        self.trace: list[str] = []
        self.steps = 0
        self.processes: list[Process] = []
        self.outside = self.process("outside")
        self._names = itertools.count(1)

    def process(self, name: str) -> Process:
        process = Process(self, name)
        self.processes.append(process)
        return process

    def note(self, who: str, what: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.now:10.4f} {who}: {what}")

    def run(self, done: Callable[[], bool], until: float) -> None:
        """Let time pass until ``done``. Raises Deadlock, or NotQuiescent if ``until`` comes first."""
        while not done():
            if self._step():
                continue
            upcoming = [at for process in self._running() if (at := process.loop.next_time()) is not None]
            if not upcoming:
                raise Deadlock("nothing is ready and no timer runs; waiting:\n" + self._all_waiting())
            if min(upcoming) > until:
                raise NotQuiescent(f"something still waits at {until:.1f} s:\n" + self._all_waiting())
            self.now = max(self.now, min(upcoming))

    def sleep_until(self, moment: float) -> None:
        """Let everything happen that happens until ``moment``."""
        while True:
            if self._step():
                continue
            upcoming = [at for process in self._running() if (at := process.loop.next_time()) is not None]
            if not upcoming or min(upcoming) > moment:
                self.now = max(self.now, moment)
                return
            self.now = max(self.now, min(upcoming))

    def complete(self, process: Process, work: Awaitable[T], until: float) -> T:
        """Run the world until ``work`` has ended in ``process``, and return its result."""

        async def waited() -> T:
            return await work

        task = process.spawn(waited())
        self.run(task.done, until)
        return task.result()

    def close(self) -> None:
        """Take every process apart."""
        for process in self.processes:
            process.sweep()

    def _running(self) -> list[Process]:
        return [process for process in self.processes if process.alive and not process.frozen]

    def _step(self) -> bool:
        """Step every process that has work now; return whether there was one."""
        stepped = False
        for process in self._running():
            at = process.loop.next_time()
            # Checked again: one process may have killed or frozen another a moment ago.
            if at is not None and at <= self.now and process.alive and not process.frozen:
                process.loop.step()
                self.steps += 1
                stepped = True
        return stepped

    def _all_waiting(self) -> str:
        return "\n".join(line for process in self._running() for line in process.waiting())


def _where(task: asyncio.Task[Any]) -> str:
    """Return the task's name and the lines at which it waits, from the outermost to the innermost."""
    lines = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            lines.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return f"{task.get_name()} at {' > '.join(lines)}"

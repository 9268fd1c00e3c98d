"""One schedule: a world is created from a seed, run to its end, and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId

from .clients import ACTOR, Clients
from .kernel import Durable, Kernel
from .laws import broken_laws
from .network import Address
from .plan import Crash, Fault, Freeze, Plan, Restart
from .ports import LatencyProfile
from .recorder import Wanted
from .workload import draw
from .world import NotQuiescent, Process, World

_CALM: Final = 240.0
"""Virtual seconds within which everything must have ended after the last fault."""
_RETENTION: Final = 25.0
"""More than the bridges of a simulation keep a stream after its end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a schedule."""

    seed: int
    broken: tuple[str, ...]
    trace: tuple[str, ...]
    steps: int

    def report(self, lines: int = 400) -> str:
        """Return a report for the text of a failed test."""
        shown = self.trace[-lines:]
        return "\n".join(
            (
                f"seed {self.seed} breaks {len(self.broken)} law(s); replay with RUNSTEAD_SIM_SEED={self.seed}",
                *self.broken,
                f"--- the last {len(shown)} of {len(self.trace)} lines of the trace ---",
                *shown,
            )
        )


def run_schedule(seed: int) -> Verdict:
    """Run the schedule of ``seed`` and check it."""
    return Schedule(draw(seed)).run()


class Schedule:
    """A world, its server processes, and its clients."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.durable = Durable(self.world)
        self.address = Address(self.world, LatencyProfile(instant=0.6, slowest=0.01))
        self.clients = Clients(self.world, self.durable, self.address)
        self.kernels: list[Kernel] = []
        self._patience = self.world.outside.clock
        for spec in plan.specs:
            wanted = Wanted(spec, plan.scripts[RunId(spec.run_id or "")])
            self.durable.witness.wanted[wanted.run_id] = wanted

    def run(self) -> Verdict:
        broken: list[str] = []
        try:
            self._live()
        except AssertionError as stuck:
            broken.append(f"{type(stuck).__name__}: {stuck}")
        finally:
            if not broken:
                broken = broken_laws(self.plan, self.durable)
            self.world.close()
        return Verdict(self.plan.seed, tuple(broken), tuple(self.world.trace), self.world.steps)

    def _live(self) -> None:
        world = self.world
        self._outside(self._threads())
        self._start_kernel()
        chaos = world.outside.spawn(self._suffer(), name="misfortunes")
        clients = [world.outside.spawn(self.clients.act(action), name=f"{action}") for action in self.plan.actions]
        last = max([action.at for action in self.plan.actions] + [each.at for each in self.plan.misfortunes] + [0.0])
        limit = last + _CALM
        world.run(lambda: chaos.done() and all(client.done() for client in clients), limit)
        for task in (chaos, *clients):
            task.result()
        try:
            world.run(self._quiet, limit)
        except NotQuiescent as error:
            raise NotQuiescent(f"runs that never ended: {self._unfinished()}\n{error}") from None
        self._outside(self.clients.strangers_see_nothing())
        self._part()

    def _part(self) -> None:
        """Check that nothing is left in memory after the streams' retention; then close everything."""
        world, surprises = self.world, self.durable.witness.surprises
        world.sleep_until(world.now + _RETENTION)
        for kernel in self.kernels:
            if not kernel.process.alive:
                continue
            name = kernel.process.name
            if kernel.facade.active_runs:
                surprises.append(f"law 10: {name} still holds {kernel.facade.active_runs} runs")
            # A worker that was late keeps the streams of runs that went elsewhere; one that failed has no end.
            climate = self.plan.climate
            is_judged = not self._had_rivals and not climate.failing_streams
            if is_judged and (kept := world.complete(kernel.process, kernel.kept_streams(), world.now + 60)):
                surprises.append(f"law 10: {name} keeps the streams of {kept} for ever")
            world.complete(kernel.process, kernel.close(1.0), world.now + 60)
            if left := kernel.process.waiting():
                surprises.append(f"law 10: left after closing: {left}")

    def _outside(self, work: Coroutine[Any, Any, None]) -> None:
        self.world.complete(self.world.outside, work, self.world.now + 60)

    async def _threads(self) -> None:
        with acting(ACTOR):
            for thread_id in self.plan.threads:
                await self.durable.threads.create(thread_id)

    def _start_kernel(self) -> None:
        process = self.world.process(f"server-{len(self.kernels) + 1}")
        kernel = Kernel(process, self.durable, self.plan.climate)
        alone = not any(each.process.alive for each in self.kernels)
        self.kernels.append(kernel)

        async def start() -> None:
            await kernel.start(alone=alone)
            if process.alive:
                self.address.kernel = kernel

        self.world.note(process.name, "starts")
        process.spawn(start(), name="start")

    async def _suffer(self) -> None:
        for misfortune in self.plan.misfortunes:
            await asyncio.sleep(max(misfortune.at - self.world.now, 0))
            await self._befall(self.kernels[-1].process, misfortune)

    async def _befall(self, process: Process, misfortune: Fault) -> None:
        match misfortune:
            case Crash(after_calls=None):
                process.kill()
            case Crash(after_calls=calls):
                died = asyncio.Event()
                process.on_death(died.set)
                process.dies_at_call = process.calls + (calls or 0)
                # An idle process makes no calls: the wait for its death is limited.
                await self._patience.wait(died, 20)
                process.kill()
            case Restart(grace=grace):
                await self._close(self.kernels[-1], grace)
                process.kill()
            case Freeze(seconds=seconds, successor=successor):
                await self._freeze(process, seconds, successor=successor)
                return
        await asyncio.sleep(misfortune.down_for)
        self._start_kernel()

    async def _close(self, kernel: Kernel, grace: float) -> None:
        done: asyncio.Future[None] = self.world.outside.loop.create_future()

        async def close() -> None:
            self.address.kernel = None
            await kernel.close(grace)
            done.set_result(None)

        self.world.note(kernel.process.name, f"is asked to close within {grace} s")
        kernel.process.spawn(close(), name="close")
        await done

    async def _freeze(self, process: Process, seconds: float, *, successor: bool) -> None:
        # A process that was still starting must not wake up with the belief that it is alone.
        successor = successor and self.address.kernel is self.kernels[-1]
        process.freeze()
        self.durable.effects.worker_died(process.name)
        if successor:
            await asyncio.sleep(min(0.2, seconds))
            self.address.kernel = None
            self._start_kernel()
        await asyncio.sleep(seconds)
        process.thaw()
        self.durable.woken[process.name] = self.world.now

    @property
    def _had_rivals(self) -> bool:
        return any(isinstance(each, Freeze) and each.successor for each in self.plan.misfortunes)

    def _quiet(self) -> bool:
        return not self._unfinished()

    def _unfinished(self) -> list[RunId]:
        return [row.record.run_id for row in self.durable.tables.runs.values() if not row.record.status.is_terminal]

"""The clients of a schedule: they send requests, read streams, disconnect, reconnect, and record the responses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar, assert_never

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.exceptions import RunConflict, RunError, RunNotFound, RunNotRetriable, ThreadBusy
from runstead.runtime.runs.facade import RunsFacade, RunStream
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, RunSpec
from runstead.runtime.stream_bridge.contract import Sentinel, StreamEvent

from .kernel import Durable
from .network import Address, Connection, Disconnected
from .plan import Action, Cancel, ClientBehavior, Delete, Join, Retry, Submit
from .ports import Outage
from .recorder import Reading
from .result_checks import Answers
from .world import World

T = TypeVar("T")

ACTOR: Final = ActorContext("client")
STRANGER: Final = ActorContext("stranger")

_PATIENCE: Final = 20.0
"""Seconds after which a client assumes that the server is gone; heartbeats come far more often."""
_PAUSE: Final = 0.4


class Clients:
    """Carries out the actions of a plan."""

    def __init__(self, world: World, durable: Durable, address: Address) -> None:
        self._world, self._durable, self._address = world, durable, address
        self._witness = durable.witness
        self._answers = Answers(world, durable)

    async def act(self, action: Action) -> None:
        """Carry out one action, from its time to its end."""
        await asyncio.sleep(max(action.at - self._world.now, 0))
        try:
            await self._carry_out(action)
        except Exception as error:
            self._answers.surprise(f"{type(action).__name__} met {error!r}")

    async def _carry_out(self, action: Action) -> None:
        match action:
            case Submit():
                await self._submit(action)
            case Cancel():
                await self._cancel(action)
            case Delete():
                await self._delete(action)
            case Join():
                await self._join(action)
            case Retry():
                await self._retry(action)
            case _:
                assert_never(action)

    async def insist(
        self,
        verb: Callable[[RunsFacade], Awaitable[T]],
        actor: ActorContext = ACTOR,
        patience: float | None = None,
    ) -> T:
        """Repeat a request until a server answers; the first attempt lasts at most ``patience`` seconds."""
        while True:
            try:
                async with asyncio.timeout(patience or _PATIENCE):
                    return await self._address.call(verb, actor)
            except (Disconnected, Outage, TimeoutError):
                patience = None
                await asyncio.sleep(_PAUSE)

    async def _submit(self, submit: Submit) -> None:
        if submit.manner == "background":
            await self._create(submit.specs, submit.habits.patience)
        elif submit.manner == "wait":
            await self._create_and_wait(submit.specs[0], submit.habits)
        else:
            await self._create_and_stream(submit.specs[0], submit.habits)

    async def _create(self, specs: tuple[RunSpec, ...], patience: float | None = None) -> None:
        async def create(runs: RunsFacade) -> list[RunRecord]:
            return list(await runs.create_batch(specs))

        while True:
            if specs[0].run_id in self._witness.moves:
                # A request that was cut off before its response had succeeded after all. A client would look the run
                # up; here it is known, even if the run was deleted since.
                self._accepted(specs)
                return
            try:
                async with asyncio.timeout(patience or _PATIENCE):
                    created = await self._address.call(create, ACTOR)
            except RunConflict:
                continue
            except ThreadBusy:
                self._refused(specs)
                return
            except (Disconnected, Outage, TimeoutError):
                patience = None
                await asyncio.sleep(_PAUSE)
            else:
                if [record.run_id for record in created] != [spec.run_id for spec in specs]:
                    self._answers.surprise(f"asked for {specs}, got {created}")
                self._accepted(specs)
                return

    def _accepted(self, specs: tuple[RunSpec, ...]) -> None:
        for spec in specs:
            wanted = self._witness.wanted[RunId(spec.run_id or "")]
            wanted.fate, wanted.accepted_at = "accepted", self._world.now
            self._world.note("client", f"accepted {wanted.run_id}")

    def _refused(self, specs: tuple[RunSpec, ...]) -> None:
        for spec in specs:
            self._witness.wanted[RunId(spec.run_id or "")].fate = "refused"
            self._world.note("client", f"refused {spec.run_id}")

    async def _create_and_wait(self, spec: RunSpec, habits: ClientBehavior) -> None:
        patience = habits.patience or (habits.hangs_up_after[0] * 0.2 if habits.hangs_up_after else _PATIENCE)
        try:
            async with asyncio.timeout(patience):
                result = await self._address.call(lambda runs: runs.create_and_wait(spec), ACTOR)
        except (Disconnected, Outage, TimeoutError):
            if spec.on_disconnect == "cancel":
                self._asked_to_stop(RunId(spec.run_id or ""))
            await asyncio.sleep(_PAUSE)
            await self._create((spec,))
            await self._wait(RunId(spec.run_id or ""))
        except RunError as error:
            if isinstance(error, ThreadBusy):
                self._refused((spec,))
            return
            self._answers.surprise(f"creating {spec.run_id} raised {error!r}")
        else:
            self._accepted((spec,))
            self._answers.check_result(RunId(spec.run_id or ""), result)

    async def _create_and_stream(self, spec: RunSpec, habits: ClientBehavior) -> None:
        async def create(runs: RunsFacade) -> RunStream:
            _, stream = await runs.create_and_stream(spec)
            return stream

        run_id = spec.run_id or ""
        reading = Reading(RunId(run_id), whole=True)
        self._witness.readings.append(reading)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(habits.patience or _PATIENCE):
                connection = await self._address.stream(create, ACTOR)
        except ThreadBusy:
            self._refused((spec,))
            return
        except (Disconnected, Outage, TimeoutError):
            if spec.on_disconnect == "cancel":
                self._asked_to_stop(RunId(run_id))
            await self._create((spec,))
            if self._witness.wanted[RunId(run_id)].fate == "refused":
                return
        else:
            self._accepted((spec,))
        if spec.on_disconnect == "cancel" and habits.hangs_up_after:
            self._asked_to_stop(RunId(run_id))
        await self._read(reading, connection, habits, "-1", None)

    async def _join(self, join: Join) -> None:
        if join.manner == "wait":
            await self._wait(join.run_id)
            return
        whole = join.modes is None and join.last_event_id in ("-1", "0-0", "garbage")
        reading = Reading(join.run_id, whole=whole)
        self._witness.readings.append(reading)
        await self._read(reading, None, join.habits, join.last_event_id, join.modes)

    async def _wait(self, run_id: RunId) -> None:
        since = self._world.now
        try:
            result = await self.insist(lambda runs: runs.join_wait(run_id))
        except RunNotFound:
            self._answers.check_absence(run_id, since)
        else:
            self._answers.check_result(run_id, result)

    async def _read(
        self,
        reading: Reading,
        connection: Connection | None,
        habits: ClientBehavior,
        last_id: str | None,
        modes: tuple[str, ...] | None,
    ) -> None:
        """Read to the end, over as many connections as necessary."""
        hang_ups = list(habits.hangs_up_after)
        while not reading.ended:
            since, limit = self._world.now, None
            try:
                if connection is None:
                    again = partial(_join, reading.run_id, last_id, modes)
                    async with asyncio.timeout(_PATIENCE):
                        connection = await self._address.stream(again, ACTOR)
                limit = hang_ups.pop(0) if hang_ups else None
                last_id = await self._read_connection(reading, connection, habits, limit, last_id)
            except RunNotFound:
                self._answers.check_absence(reading.run_id, since)
                return
            except (Disconnected, Outage, TimeoutError):
                pass
            if connection is not None:
                connection.hang_up()
                connection = None
                reading.items.append(None)
                if not habits.comes_back and limit is not None:
                    return
            await asyncio.sleep(_PAUSE)

    async def _read_connection(
        self, reading: Reading, connection: Connection, habits: ClientBehavior, limit: int | None, last_id: str | None
    ) -> str | None:
        """Read one connection until it ends, breaks, or ``limit`` events were received; return the last id seen."""
        reading.processes.append(connection.process)
        seen = 0
        while limit is None or seen < limit:
            try:
                async with asyncio.timeout(_PATIENCE):
                    batch = await connection.receive()
            except (Disconnected, TimeoutError) as error:
                if isinstance(error, TimeoutError) and not connection.stands_still:
                    self._answers.surprise(f"a reader of {reading.run_id} heard nothing for {_PATIENCE} s")
                return last_id
            if not batch:
                reading.ended = True
                return last_id
            reading.items.extend(batch)
            for item in batch:
                if isinstance(item, StreamEvent):
                    seen += 1
                    last_id = item.id or last_id
            if habits.seconds_per_batch:
                await asyncio.sleep(habits.seconds_per_batch)
            if any(isinstance(item, Sentinel) and item is not Sentinel.HEARTBEAT for item in batch):
                reading.ended = True
                return last_id
        return last_id

    async def _cancel(self, cancel: Cancel) -> None:
        self._asked_to_stop(cancel.run_id)
        for _ in range(cancel.times):
            since = self._world.now
            try:
                await self.insist(
                    lambda runs: runs.cancel(cancel.run_id, action=cancel.action, wait=cancel.wait),
                    patience=cancel.habits.patience,
                )
            except RunNotFound:
                self._answers.check_absence(cancel.run_id, since)
            else:
                if (
                    cancel.wait
                    and not self._durable.has_ended(cancel.run_id)
                    and not self._witness.wanted[cancel.run_id].retry_asked
                ):
                    self._answers.surprise(f"{cancel.run_id} had not ended when a cancel that waits was answered")

    async def _delete(self, delete: Delete) -> None:
        self._asked_to_stop(delete.run_id)
        self._witness.wanted[delete.run_id].delete_asked = True
        since = self._world.now
        try:
            await self.insist(lambda runs: runs.delete_run(delete.run_id), patience=delete.habits.patience)
        except RunNotFound:
            self._answers.check_absence(delete.run_id, since)
        else:
            if delete.run_id in self._durable.tables.runs:
                self._answers.surprise(f"{delete.run_id} was still there when its deletion was answered")

    async def _retry(self, retry: Retry) -> None:
        self._witness.wanted[retry.run_id].retry_asked = True
        try:
            await self.insist(lambda runs: runs.retry(retry.run_id))
        except (RunNotFound, RunNotRetriable, ThreadBusy):
            return

    async def strangers_see_nothing(self) -> None:
        """Check law 9, once per schedule: other users see no run."""
        runs = [wanted.run_id for wanted in self._witness.wanted.values() if wanted.fate == "accepted"]
        listed = await self.insist(lambda facade: facade.list_runs(RunFilter(), limit=100), STRANGER)
        if listed:
            self._answers.surprise(f"a stranger was shown {[record.run_id for record in listed]}")
        for run_id in runs[:1]:
            try:
                await self.insist(partial(_get, run_id), STRANGER)
            except RunNotFound:
                continue
            self._answers.surprise(f"a stranger was shown {run_id}")

    def _asked_to_stop(self, run_id: RunId) -> None:
        self._witness.wanted[run_id].stop_asked = True


async def _get(run_id: RunId, runs: RunsFacade) -> RunRecord:
    return await runs.get_run(run_id)


async def _join(run_id: RunId, last_id: str | None, modes: Sequence[str] | None, runs: RunsFacade) -> RunStream:
    return await runs.join_stream(run_id, last_event_id=last_id, modes=modes)

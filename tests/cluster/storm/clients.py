"""Clients of all kinds, which continue until they are stopped, reconnect after each disconnect, and check the
promises of the cluster.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from tests.processes.client import Client, new_id, run_body
from tests.processes.frames import Frame, FrameReader, place_of, strict

from .connection import Away, Connection
from .expectations import GONE, STEPS, Ledger, Promise, log_of

Scenario: TypeAlias = Callable[[Connection, str], Awaitable[None]]
_LASTING: Final = 50
"""Steps of a run that takes long enough to be disturbed."""
_LONG: Final = 200
"""Steps of a run that is to be stopped."""


async def weather(client: Client, ledger: Ledger, seed: int, clients: int, is_over: Callable[[], bool]) -> None:
    """All clients at work until the deadline; then each finishes its current work."""
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            connection = Connection(client, ledger, random.Random(f"{seed}/client {number}"))
            group.create_task(_one_client(connection, number, is_over))


async def _one_client(connection: Connection, number: int, is_over: Callable[[], bool]) -> None:
    made = 0
    turns: list[Scenario] = []
    while not is_over():
        made += 1
        # All stories run once before one is repeated.
        turns = turns or connection.chance.sample(STORIES, len(STORIES))
        await turns.pop()(connection, f"run-{number}-{made}")


# --- what they do ---------------------------------------------------------------------------------------------------
async def _background(at: Connection, name: str) -> None:
    await _created(at, name, "background")


async def _in_a_thread(at: Connection, name: str) -> None:
    """A run that needs a file descriptor in each step."""
    promise = await _created(at, name, "in a thread", graph="steps_in_a_thread", steps=_LASTING)
    await at.ended(promise)


async def _heavy(at: Connection, name: str) -> None:
    """A run that allocates memory in each step: its worker dies when none is left."""
    promise = await _created(at, name, "heavy", graph="heavy", steps=_LASTING)
    await at.ended(promise)


async def _lasting(at: Connection, name: str) -> None:
    promise = await _created(at, name, "lasting", steps=_LASTING)
    await at.ended(promise)


async def _delayed(at: Connection, name: str) -> None:
    seconds, asked = at.chance.randint(1, 3), time.time()
    promise = await _created(at, name, "delayed", after_seconds=seconds)
    record = await at.ended(promise)
    if record is not None:
        at.ledger.expect(name, "begun before its time", time.time() - asked < seconds, False)


async def _streamed(at: Connection, name: str) -> None:
    steps = at.chance.choice((STEPS, _LASTING))
    frames = await _read(at, name, "steps", _steps(name, steps), stream_mode=["values", "updates"])
    last = [frame.json for frame in frames if frame.event == "values"][-1:]
    at.ledger.expect(name, "the last values on its stream", [values["log"] for values in last], [log_of(name, steps)])
    if not any(frame.event == "gap" for frame in frames):
        at.ledger.counts["streams without a gap"] += 1
        taken = [entry for frame in frames if frame.event == "updates" for entry in frame.json["step"]["log"]]
        # An interrupted attempt loses its last events, and its successor continues after them.
        if len({place_of(frame.id)[0] for frame in frames if frame.id}) == 1:
            at.ledger.expect(name, "the updates on its stream", taken, log_of(name, steps))


async def _agent(at: Connection, name: str) -> None:
    said = {"messages": [{"role": "human", "content": name}]}
    frames = await _read(at, name, "agent", said, stream_mode=["values", "messages-tuple"])
    last = [frame.json for frame in frames if frame.event == "values"][-1:]
    told = [name in values["messages"][-1]["content"] for values in last]
    at.ledger.expect(name, "the last message on its stream", told, [True])


async def _waited(at: Connection, name: str) -> None:
    values = await _wait(at, name, new_id(), "waited")
    at.ledger.expect(name, "the values its waiter got", _logged(values), log_of(name))


async def _stateless(at: Connection, name: str) -> None:
    values = await _wait(at, name, None, "stateless")
    # The thread was deleted with the run: a reader after a crash finds the run ended.
    if values:
        at.ledger.expect(name, "the values its waiter got", _logged(values), log_of(name))


def _logged(values: Any) -> Any:
    """Return the log in a response; the whole response if it has none."""
    return values["log"] if isinstance(values, dict) and "log" in values else values


async def _enqueued(at: Connection, name: str) -> None:
    await _double_texts(at, name, "enqueue", ("success",))


async def _refused(at: Connection, name: str) -> None:
    await _double_texts(at, name, "reject", ("success",))


async def _interrupting(at: Connection, name: str) -> None:
    await _double_texts(at, name, "interrupt", ("success", "interrupted"))


async def _rolling_back(at: Connection, name: str) -> None:
    await _double_texts(at, name, "rollback", ("success", GONE))


async def _double_texts(at: Connection, name: str, strategy: str, ends: Sequence[str]) -> None:
    """A few inputs at once or in sequence; requests are not repeated, so an unanswered one is no promise."""
    thread_id, texts = new_id(), at.chance.randint(2, 5)
    delays = [at.chance.choice((0.0, at.chance.uniform(0, 0.6))) for _ in range(texts)]

    async def send(number: int) -> None:
        await asyncio.sleep(delays[number])
        text, run_id = f"{name}.{number}", new_id()
        body = run_body(
            thread_id,
            "steps",
            _steps(text),
            run_id=run_id,
            metadata=_reported(text),
            multitask_strategy=strategy,
        )
        try:
            response = await at.once("POST", f"/threads/{thread_id}/runs", json=body)
        except Away:
            return
        if response.status_code == 200:
            at.ledger.promises.append(Promise(text, strategy, thread_id, run_id, ends))
        elif strategy != "reject" or response.status_code != 409:
            at.ledger.faults.append(f"{text}: {response.status_code} {response.text[:200]}")

    await asyncio.gather(*(send(number) for number in range(texts)))


async def _stopped(at: Connection, name: str) -> None:
    """A long run is stopped at some moment of its life, twice."""
    action = at.chance.choice(("interrupt", "rollback"))
    ends = ("interrupted",) if action == "interrupt" else (GONE,)
    promise = await _created(at, name, f"stopped by {action}", ends=ends, steps=_LONG)
    await asyncio.sleep(at.chance.choice((0.0, at.chance.uniform(0, 1.5))))
    wait = at.chance.choice(("true", "false"))
    response = await at.asked("POST", f"{promise.location}/cancel", params={"action": action, "wait": wait})
    # 404: an earlier, interrupted request has stopped it.
    at.ledger.expect(name, "the status of a cancel", response.status_code in (200, 202, 204, 404), True)
    await at.ended(promise, within=60)


async def _deserted(at: Connection, name: str) -> None:
    """The reader disconnects and wants the run cancelled then. A killed gateway cannot notice that."""
    thread_id, run_id = new_id(), new_id()
    body = run_body(thread_id, "steps", _steps(name, _LASTING), run_id=run_id, metadata=_reported(name, _LASTING))
    promise = Promise(name, "deserted", thread_id, run_id, ("success", "interrupted"))
    try:
        path = f"/threads/{thread_id}/runs/stream"
        async with at.opened("POST", path, json={**body, "on_disconnect": "cancel"}) as response:
            at.ledger.expect(name, "the status of a stream", response.status_code, 200)
            at.ledger.promises.append(promise)
            async for _ in response.aiter_raw():
                break
    except Away:
        return


async def _asks(at: Connection, name: str) -> None:
    """A run is interrupted, and resumed; the answer is sent until it is accepted."""
    asking = await _created(at, name, "asks", graph="asks", input={"name": name})
    record = await at.ended(asking)
    if record is None or record["status"] != "success":
        return
    await asyncio.sleep(at.chance.uniform(0, 0.5))
    said: dict[str, Any] = {"command": {"resume": "yes"}, "input": None}
    await _created(at, f"{name}-answer", "answers", asking.thread_id, graph="asks", **said)


STORIES: Final[Sequence[Scenario]] = (
    _background,
    _in_a_thread,
    _heavy,
    # Twice, since these steps are the ones disturbed.
    _lasting,
    _lasting,
    _delayed,
    _streamed,
    _agent,
    _waited,
    _stateless,
    _enqueued,
    _refused,
    _interrupting,
    _rolling_back,
    _stopped,
    _deserted,
    _asks,
)


# --- how they do it -------------------------------------------------------------------------------------------------
def _steps(name: str, steps: int = STEPS) -> dict[str, Any]:
    return {"name": name, "steps": steps, "pause": 0.04}


def _reported(name: str, steps: int = STEPS) -> dict[str, Any]:
    """The data for the final check."""
    return {"name": name, "steps": steps}


async def _created(
    at: Connection,
    name: str,
    kind: str,
    thread_id: str | None = None,
    *,
    graph: str = "steps",
    ends: Sequence[str] = ("success",),
    steps: int = STEPS,
    **fields: Any,
) -> Promise:
    """Create a run in the background, and repeat the request until it is accepted: its own id makes that idempotent."""
    thread_id, run_id = thread_id or new_id(), new_id()
    fields.setdefault("input", _steps(name, steps))
    body = run_body(thread_id, graph, run_id=run_id, metadata=_reported(name, steps), **fields)
    response = await at.asked("POST", f"/threads/{thread_id}/runs", json=body)
    promise = Promise(name, kind, thread_id, run_id, ends)
    if response.status_code != 200:
        # 409: an earlier request, whose response was lost.
        at.ledger.counts["accepted at a try that was not answered"] += 1
        at.ledger.expect(name, "the status of a creation", response.status_code, 409)
    at.ledger.promises.append(promise)
    return promise


async def _read(at: Connection, name: str, graph: str, input: Any, **fields: Any) -> list[Frame]:
    """Read all frames of a new run; the reader disconnects now and then."""
    thread_id, run_id = new_id(), new_id()
    fields["metadata"] = _reported(name, input.get("steps", STEPS))
    body = run_body(thread_id, graph, input, run_id=run_id, stream_resumable=True, **fields)
    promise = Promise(name, f"streamed {graph}", thread_id, run_id)
    reader, seen = FrameReader(), list[Frame]()
    leaves_after, accepted = at.chance.choice((0, 3, 10_000)), False
    while True:
        try:
            async with at.opened("POST", f"/threads/{thread_id}/runs/stream", json=body) as response:
                if response.status_code != 200:
                    at.ledger.expect(name, "the status of a stream", response.status_code, 409)
                accepted = True
                at.ledger.promises.append(promise)
                if response.status_code == 200 and leaves_after:
                    await _take_some(at, promise, response, reader, seen, leaves_after)
        except Away:
            reader.cut()
            if not accepted:
                await asyncio.sleep(0.1)
                continue
        return await at.read_to_the_end(promise, reader, seen)


async def _take_some(
    at: Connection, promise: Promise, response: Any, reader: FrameReader, seen: list[Frame], frames: int
) -> None:
    if frames > 1_000:
        await at.take(promise, response, reader, seen)
        return
    async for data in response.aiter_raw():
        seen += reader.feed(data)
        if len(seen) >= frames:
            reader.cut()
            return


async def _wait(at: Connection, name: str, thread_id: str | None, kind: str) -> Any:
    run_id = new_id()
    path = f"/threads/{thread_id}/runs/wait" if thread_id else "/runs/wait"
    body = run_body(thread_id, "steps", _steps(name), run_id=run_id, metadata=_reported(name))
    promise = Promise(name, kind, thread_id, run_id)
    accepted = False
    while True:
        try:
            async with at.opened("POST", path, json=body) as response:
                if response.status_code != 200:
                    at.ledger.expect(name, "the status of a wait", response.status_code, 409)
                accepted = True
                at.ledger.promises.append(promise)
                if response.status_code == 200:
                    async with at.watched(promise, "wait"):
                        return strict(await response.aread())
        except Away:
            if not accepted:
                await asyncio.sleep(0.1)
                continue
        return await at.joined(promise)

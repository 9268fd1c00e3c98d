"""Pure parts of the path of a token and of a run, for counts that are the same in every measurement.

`gate` starts this twice: with ``operations``, it prints for each part the bytecode instructions of one call and its CPU
time. Without, under valgrind, each part runs in a process of its own that is forked after the imports, and so does
nothing: the difference is what the part needs. That prints the process id of each part.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import Final, TypeVar

from langchain_core.messages import AIMessageChunk
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from runstead.infra.storage.dialect import prepare_sqlite
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.schema import metadata
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.internal.admission import decide
from runstead.runtime.runs.internal.execution.chunks import ChunkEncoder
from runstead.runtime.runs.types import AssistantId, Outcome, RunId, RunScope, RunSpec, RunStatus, WorkerId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.testing.clock import ManualClock
from runstead.wire.sse_frames import frames

T = TypeVar("T")
TIMES: Final = 200


def _nothing() -> Callable[[], object]:
    return lambda: None


def _encode() -> Callable[[], object]:
    encoder = ChunkEncoder(frozenset(("messages-tuple",)))
    metadata = {"langgraph_node": "talk", "langgraph_step": 1, "thread_id": "t", "tags": []}
    chunk = AIMessageChunk(content="word", id="run-1")
    return lambda: list(encoder.encode((), "messages", (chunk, metadata)))


def _frames() -> Callable[[], object]:
    items = [StreamEvent("1-1", "messages", b'[{"content":"word"},{"langgraph_step":1}]')]
    return lambda: frames(items, with_ids=True)


def _admission() -> Callable[[], object]:
    in_flight = [RunId("r-1"), RunId("r-2")]
    return lambda: decide("interrupt", in_flight)


class _InMemory:
    """A Database whose work is done at once, in the calling thread, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(
        self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False, single: bool = False
    ) -> T:
        return work(self._connection)

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
        quick: bool = False,
        single: bool = False,
    ) -> T:
        return work(self._connection)


def _storage() -> Callable[[], object]:
    """Accept, claim, begin and settle a run on its own thread: the statements, and the values in both directions."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        prepare_sqlite(connection)
        return connection

    connection = create_engine("sqlite://", creator=connect, poolclass=StaticPool).connect()
    metadata.create_all(connection)
    database, clock = _InMemory(connection), ManualClock()
    create = SqlRunCreateStore(database, clock, lambda: None)
    leases = SqlRunLeaseStore(database, clock, lambda: None)
    spec = RunSpec(
        assistant_id=AssistantId("a"), graph_id="g", scope=RunScope(kind="stateless", on_completion="delete")
    )

    async def run() -> None:
        with acting(ActorContext("alice")):
            (created,) = await create.create_runs([spec], decide)
        lease = await leases.claim(created.record.run_id, WorkerId("w"), timedelta(seconds=30))
        assert lease is not None, "nothing else claims it"
        await leases.settle(await leases.begin(lease, None), Outcome(RunStatus.SUCCESS))

    def at_once() -> None:
        running = run()
        with suppress(StopIteration):
            running.send(None)

    return at_once


PARTS: Final[Mapping[str, Callable[[], Callable[[], object]]]] = {
    "nothing": _nothing,
    "encode a token": _encode,
    "frame of an event": _frames,
    "admission": _admission,
    "storage of a run": _storage,
}


def operations(do: Callable[[], object]) -> int:
    """Return the number of bytecode instructions that a call executes in this thread."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    # Code is only prepared for counting by its first trace, so the second one counts.
    for _ in range(2):
        count = 0
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            do()
        finally:
            sys.settrace(None)
    return count


def print_operations() -> None:
    for name, part in PARTS.items():
        do = part()
        # The first calls fill caches.
        for _ in range(3):
            do()
        began = time.process_time()
        for _ in range(TIMES):
            do()
        used = (time.process_time() - began) / TIMES
        print(f"{min(operations(do) for _ in range(3))} {used * 1e6:.3f} {name}", flush=True)


def main() -> None:
    gc.disable()
    if sys.argv[1:] == ["operations"]:
        print_operations()
        return
    for name, part in PARTS.items():
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            do = part()
            do()
            for _ in range(TIMES):
                do()
            os._exit(0)
        os.waitpid(child, 0)
        print(f"{child} {name}", flush=True)


if __name__ == "__main__":
    main()

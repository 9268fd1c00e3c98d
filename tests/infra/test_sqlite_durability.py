"""Acknowledged writes survive a killed process."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.sqlite import open_storage
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunFilter, RunId, ThreadId

WRITER = """
import asyncio, sys
from pathlib import Path
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.sqlite import open_storage
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.store import Admit
from runstead.runtime.runs.types import RunScope, RunSpec

async def main():
    async with open_storage(Path(sys.argv[1])) as database:
        store = SqlRunCreateStore(database, SystemClock(), lambda: None)
        async def accept():
            while True:
                spec = RunSpec("a", "g", scope=RunScope(kind="stateless"))
                with acting(ActorContext("alice")):
                    (created,) = await store.create_runs([spec], lambda strategy, in_flight: Admit())
                print(created.record.run_id, flush=True)
        await asyncio.gather(*(accept() for _ in range(20)))

asyncio.run(main())
"""

MARKER = """
import asyncio, os, signal, sys
from pathlib import Path
from runstead.infra.checkpoints.sqlite import open_checkpoints

async def main():
    async with open_checkpoints(Path(sys.argv[1])) as checkpoints:
        config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}, "metadata": {"run_id": "r"}}
        checkpoint = {"v": 4, "id": "c-1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
        await checkpoints.saver.aput(config, {**checkpoint, "id": "c-0"}, {"run_id": "before"}, {})
        await checkpoints.mark("t", "r")
        await checkpoints.saver.aput(config, checkpoint, {"run_id": "r"}, {})
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def write_until_killed(path: Path, acknowledged: int) -> set[str]:
    """Let a process accept runs, kill it after some were acknowledged, and return all acknowledged ones."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(acknowledged)]
    writer.kill()
    rest, _ = writer.communicate()
    # A line that the kill cut in two was not acknowledged.
    return {line.decode() for line in (b"".join(lines) + rest).split(b"\n")[:-1]}


@pytest.mark.parametrize("seed", range(3))
async def test_acknowledged_runs_survive_a_killed_process(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "runs.sqlite"
    count = random.Random(seed).randint(1, 400)
    told = await asyncio.to_thread(write_until_killed, path, count)
    assert len(told) >= count
    async with open_storage(path) as database:
        with acting(ActorContext("alice")):
            found = await SqlRunQueryStore(database).list_runs(RunFilter(), limit=100_000)
        assert told <= {run.run_id for run in found}
        assert await database.check() == []


async def test_undo_record_and_later_writes_survive_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", MARKER, str(path)], check=False)
    assert killed.returncode == -9
    async with open_checkpoints(path) as checkpoints:
        config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        latest = await checkpoints.saver.aget_tuple(config)
        assert latest is not None
        assert latest.checkpoint["id"] == "c-1"
        assert await checkpoints.mark(ThreadId("t"), RunId("r")) == "c-0"
        await checkpoints.undo(ThreadId("t"), RunId("r"))
        restored = await checkpoints.saver.aget_tuple(config)
        assert restored is not None
        assert restored.checkpoint["id"] == "c-0"

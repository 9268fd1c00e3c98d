"""Runs whose outcome cannot be encrypted fail, unless the loop of the handlers was lost."""

from __future__ import annotations

import asyncio

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.field_encryption import EncryptionFailed
from runstead.runtime.runs.store import Settled
from runstead.runtime.runs.types import Lease, Outcome, RunId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.runtime.user_code.thread_loop import LoopLost
from runstead.testing.clock import turn
from runstead.testing.fakes import InMemoryLeaseStore

from .kernel import ALICE, Storage, a_spec


class Unencryptable(InMemoryLeaseStore):
    """Refuses every outcome with a value to encrypt."""

    def __init__(self, storage: Storage, cause: Exception) -> None:
        super().__init__(storage.tables, storage.bell.notify)
        self._cause, self.refused, self.refuses = cause, asyncio.Event(), True

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        if self.refuses and outcome.thread.values is not None:
            self.refused.set()
            raise EncryptionFailed("the handler encrypt.json failed") from self._cause
        return await super().settle(lease, outcome)


@pytest.fixture
def storage() -> Storage:
    return Storage()


async def test_unencryptable_outcome_is_an_error_that_readers_receive(storage: Storage) -> None:
    async with storage.worker(lease_store=Unencryptable(storage, KeyError())) as runs, asyncio.timeout(60):
        with acting(ALICE):
            record, stream = await runs.create_and_stream(a_spec("r1"))
            ended = await runs.join_wait(record.run_id)
            terminal = [item for item in await stream.read() if isinstance(item, StreamEvent)][-1]
    assert (ended.record.status, ended.failure and ended.failure.error) == ("error", "EncryptionFailed")
    assert terminal.terminal is not None
    assert "encrypt.json" in str(terminal)
    assert storage.thread_status() == "error"


async def test_outcome_whose_loop_was_lost_is_encrypted_on_the_next_loop(storage: Storage) -> None:
    leases = Unencryptable(storage, LoopLost(None))
    async with storage.worker(lease_store=leases) as runs, asyncio.timeout(60):
        with acting(ALICE):
            await runs.create_background(a_spec("r1"))
            await leases.refused.wait()
            await turn()
            assert storage.status("r1") == "running"
            leases.refuses = False
            await storage.clock.advance(60)
            assert (await runs.join_wait(RunId("r1"))).record.status == "success"

"""The stores with encryption handlers keep every guarantee but one: values encrypted by handlers cannot be searched."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph_sdk import Encryption, EncryptionContext
from sqlalchemy import select

from runstead.handlers.encryption import LangGraphEncryption
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.field_encryption.encrypted_approvals import EncryptedApprovalStore
from runstead.infra.field_encryption.encrypted_assistants import EncryptedAssistantStore
from runstead.infra.field_encryption.encrypted_crons import EncryptedCronStore
from runstead.infra.field_encryption.encrypted_deliveries import EncryptedDeliveryStore
from runstead.infra.field_encryption.encrypted_events import EncryptedRunEventStore
from runstead.infra.field_encryption.encrypted_runs import (
    EncryptedRunCreateStore,
    EncryptedRunLeaseStore,
    EncryptedRunQueryStore,
)
from runstead.infra.field_encryption.encrypted_threads import EncryptedThreadStore
from runstead.infra.storage.approvals import SqlApprovalStore
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.storage.schema import approvals, runs, webhook_deliveries
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.resources.approvals import ApprovalFilter
from runstead.resources.threads import ThreadFilter
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import Outcome, RunStatus, StopReason, ThreadId, ThreadOutcome, WorkerId
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.approval_store import X, asking
from runstead.testing.conformance.assistant_store import AssistantStoreConformance
from runstead.testing.conformance.checkpoint_store import CheckpointStoreConformance
from runstead.testing.conformance.cron_store import CronStoreConformance
from runstead.testing.conformance.delivery_store import DeliveryStoreConformance
from runstead.testing.conformance.event_store import RunEventStoreConformance
from runstead.testing.conformance.lease_settling import LeaseSettling
from runstead.testing.conformance.run_storage import ALICE, TERM, RunStorage
from runstead.testing.conformance.run_stores import RunStoreConformance
from runstead.testing.conformance.thread_store import ThreadStoreConformance
from tests.servers.handled_checkpoints import checkpoints_on
from tests.servers.stores import stores_over

# Handlers wrap the stores of any database. The one here has keys as well: test_encrypted_stores relies on that.
ON_SQLITE = pytest.mark.parametrize("encrypted", ["sqlite"], indirect=True)
MARK = "hidden:"


def an_encryption() -> Encryption:
    """Handlers that hide all values but those of metadata, differently each time."""
    encryption, count = Encryption(), iter(range(10**9))

    @encryption.encrypt.json
    async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        if ctx.field == "metadata":
            return dict(data)
        return {key: MARK + _hidden(next(count), json.dumps(value).encode()) for key, value in data.items()}

    @encryption.decrypt.json
    async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        is_hidden = {key: isinstance(value, str) and value.startswith(MARK) for key, value in data.items()}
        return {key: _shown(value[len(MARK) :]) if is_hidden[key] else value for key, value in data.items()}

    @encryption.encrypt.blob
    async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
        return bytes(255 - byte for byte in blob)

    @encryption.decrypt.blob
    async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
        return bytes(255 - byte for byte in blob)

    return encryption


def _hidden(number: int, data: bytes) -> str:
    return base64.b64encode(f"{number} ".encode() + data).decode()


def _shown(text: str) -> Any:
    return json.loads(base64.b64decode(text).partition(b" ")[2])


@pytest.fixture
async def handled() -> AsyncIterator[LangGraphEncryption]:
    async with UserLoop.running() as user_loop:
        yield LangGraphEncryption(an_encryption(), user_loop)


@pytest.fixture
def storage(encrypted: Database, handled: LangGraphEncryption) -> RunStorage:
    plain = stores_over(encrypted)
    return replace(
        plain,
        create=EncryptedRunCreateStore(plain.create, handled),
        query=EncryptedRunQueryStore(plain.query, handled),
        leases=EncryptedRunLeaseStore(plain.leases, handled, EncryptedThreadStore(plain.threads, handled)),
        threads=EncryptedThreadStore(plain.threads, handled),
    )


@ON_SQLITE
class TestHandledRuns(RunStoreConformance):
    pass


@ON_SQLITE
class TestHandledSettling(LeaseSettling):
    async def test_user_of_an_ended_run_is_stored_encrypted(self, storage: RunStorage, encrypted: Database) -> None:
        for webhook in (None, "/own", "https://example.org"):
            storage.actor = replace(ALICE, claims={"identity": "alice", "display_name": "Ada L.", "token": "secret"})
            run = await storage.accept(webhook=webhook)
            assert (await storage.ended(run)).actor.claims["display_name"] == "Ada L."
            stored = await encrypted.read(lambda c: repr([*c.execute(select(runs.c.actor)).all()]))
            delivered = await encrypted.read(lambda c: repr([*c.execute(select(webhook_deliveries.c.actor)).all()]))
            for text in ("Ada L.", "secret"):
                assert text not in stored + delivered

    async def test_unstored_user_fields_are_not_encrypted(self, storage: RunStorage) -> None:
        storage.actor = replace(ALICE, claims={"identity": "a", "token": "t"}, unstored=frozenset({"token"}))
        run = await storage.accept(webhook="/own")
        assert (await storage.stands(run)).actor.claims == {"identity": "a"}


@ON_SQLITE
@pytest.mark.usefixtures("encrypted")
class TestHandledThreads(ThreadStoreConformance):
    async def test_search_matches_values_by_containment(self, storage: RunStorage) -> None:
        after = ThreadOutcome(values=b'{"a":{"b":1}}')
        await storage.ended(await storage.accept(ThreadId("t-1")), Outcome(RunStatus.SUCCESS, after))
        with acting(ALICE):
            assert await storage.threads.search(ThreadFilter(values={"a": {"b": 1}})) == []
            assert await storage.threads.count(ThreadFilter(values={"a": {}})) == 0
            assert [one.values for one in await storage.threads.search(ThreadFilter())] == [after.values]

    async def test_user_whose_update_leaves_a_question_is_stored_encrypted(
        self, storage: RunStorage, encrypted: Database, handled: LangGraphEncryption
    ) -> None:
        await storage.ended(await storage.accept(ThreadId("t-1")))
        updater = replace(ALICE, claims={"identity": "alice", "permissions": ["secret"]})
        with acting(updater):
            await storage.threads.set_state(ThreadId("t-1"), asking(X).thread)
            store = EncryptedApprovalStore(SqlApprovalStore(encrypted, storage.clock), handled)
            (approval,) = await store.search(ApprovalFilter())
            asker = await store.asker(approval.approval_id)
        assert "secret" not in await encrypted.read(lambda c: repr([*c.execute(select(approvals.c.actor)).all()]))
        assert asker is not None
        assert asker.claims["identity"] == "alice"


@ON_SQLITE
class TestHandledAssistants(AssistantStoreConformance):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def assistants(self, encrypted: Database, clock: ManualClock, handled: LangGraphEncryption) -> Any:
        return EncryptedAssistantStore(SqlAssistantStore(encrypted, clock), handled)


@ON_SQLITE
class TestHandledRunEvents(RunEventStoreConformance):
    @pytest.fixture
    def events(self, encrypted: Database, handled: LangGraphEncryption) -> Any:
        return EncryptedRunEventStore(SqlRunEventStore(encrypted), handled)


@ON_SQLITE
class TestHandledCrons(CronStoreConformance):
    @pytest.fixture
    def crons(self, encrypted: Database, storage: RunStorage, handled: LangGraphEncryption) -> Any:
        return EncryptedCronStore(SqlCronStore(encrypted, storage.clock, storage.bell), handled)


@ON_SQLITE
class TestHandledDeliveries(DeliveryStoreConformance):
    @pytest.fixture
    def deliveries(self, encrypted: Database, storage: RunStorage, handled: LangGraphEncryption) -> Any:
        return EncryptedDeliveryStore(SqlDeliveryStore(encrypted, storage.clock, storage.bell), handled)


@pytest.fixture(params=["sqlite", "postgres"])
async def checkpoints(
    request: pytest.FixtureRequest, tmp_path: Path, handled: LangGraphEncryption
) -> AsyncIterator[SqlCheckpoints]:
    async with checkpoints_on(request.param, request, tmp_path, handled, True) as checkpoints:
        yield checkpoints


@pytest.mark.parametrize("checkpoints", ["sqlite"], indirect=True)
class TestHandledCheckpoints(CheckpointStoreConformance):
    pass


@pytest.mark.parametrize(("engine", "has_keys"), [("sqlite", False), ("postgres", True)])
async def test_saver_passes_langgraphs_own_conformance_suite(
    engine: str, has_keys: bool, request: pytest.FixtureRequest, tmp_path: Path, handled: LangGraphEncryption
) -> None:
    @checkpointer_test(name=f"handled SqlCheckpointSaver on {engine}")
    async def our_saver() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        with TemporaryDirectory(dir=tmp_path) as folder:
            async with checkpoints_on(engine, request, Path(folder), handled, has_keys) as checkpoints:
                yield checkpoints.saver

    report = await validate(our_saver)
    assert {name: result.failures for name, result in report.results.items() if result.failures} == {}
    assert {name for name, result in report.results.items() if result.passed} == {one.value for one in Capability}


async def test_undecryptable_run_can_be_stopped_and_recovered(storage: RunStorage) -> None:
    waiting = await storage.accept(ThreadId("t-1"), input={"said": "x"})
    held = await storage.accept(ThreadId("t-2"), input={"said": "x"})
    for run_id in (waiting.run_id, held.run_id):
        with acting(ALICE):
            found = await storage.query.get_run(run_id)
        assert found is not None
        assert found.spec.input == {"said": "x"}
    lease = await storage.leases.claim(held.run_id, WorkerId("w-1"), TERM)
    assert lease is not None
    assert lease.run.spec.input == {"said": "x"}
    async with UserLoop.running() as user_loop:
        encryption = an_encryption()
        encryption._json_decryptor = None
        without = LangGraphEncryption(encryption, user_loop)
        leases = EncryptedRunLeaseStore(storage.leases._inner, without, storage.threads)  # type: ignore[attr-defined]
        stopped = await leases.request_stop(waiting.run_id, StopReason.BY_USER)
        assert stopped is not None
        assert (stopped.effect, stopped.record.spec.input) == ("ended", None)
        await storage.clock.advance(TERM * 2)
        recovered = await leases.recover(held.run_id, max_attempts=1)
        assert recovered is not None
        assert (recovered.result, recovered.record.spec.input) == ("dead", None)

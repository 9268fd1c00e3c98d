"""Run stores that encrypt and decrypt the content of runs through handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from runstead.infra.storage.json_text import NotJson
from runstead.infra.storage.thread_status import TITLE_LENGTH
from runstead.resources.threads import ThreadStore, changed_title
from runstead.runtime.actor_context import OWN_ONLY, acting, require_actor_context
from runstead.runtime.field_encryption import EncryptionFailed, FieldCipher, ReservedKey
from runstead.runtime.runs.exceptions import InvalidRunSpec
from runstead.runtime.runs.store import (
    CreatedRun,
    Decide,
    Recovery,
    RunCreateStore,
    RunLeaseStore,
    RunQueryStore,
    Settled,
    StopRequest,
    ThreadPriorityStore,
    ThreadScheduling,
)
from runstead.runtime.runs.types import (
    Lease,
    ModelUsage,
    Outcome,
    RunCompletionData,
    RunFilter,
    RunId,
    RunRecord,
    RunSpec,
    StopReason,
    ThreadId,
    WorkerId,
)

from .decryption import unseal_each
from .json_fields import unseal
from .run_fields import THREAD, seal_actor, seal_outcome, seal_spec, unseal_record, without_content

_log = logging.getLogger(__name__)


async def _unsealed(cipher: FieldCipher, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the records decrypted. Raises EncryptionFailed."""
    return await unseal_each(cipher, "runs", records, lambda record: {"run_id": record.run_id}, unseal_record)


async def _shown(cipher: FieldCipher, record: RunRecord) -> RunRecord:
    """Return the decrypted record after a completed operation, which must not fail because a handler fails."""
    try:
        return (await _unsealed(cipher, [record]))[0]
    except EncryptionFailed as error:
        _log.warning("run %s is shown without its content: %s", record.run_id, error)
        return without_content(record)


class EncryptedRunCreateStore:
    """A RunCreateStore that encrypts through handlers."""

    def __init__(self, inner: RunCreateStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        actor, cipher = require_actor_context("creating a run"), self._cipher

        async def sealed() -> list[RunSpec]:
            return await asyncio.gather(*(seal_spec(cipher, spec) for spec in specs))

        try:
            stored = await cipher.together(sealed)
        except NotJson as error:
            raise InvalidRunSpec(str(error)) from error
        with acting(await seal_actor(cipher, actor)):
            created = await self._inner.create_runs(stored, decide)
        result = []
        for one, spec in zip(created, specs, strict=True):
            if one.repeated or one.message is not None:
                record = (await _unsealed(cipher, [one.record]))[0]
            else:
                own = replace(spec, thread_config=None, scheduling=None, approval=None)
                record = replace(one.record, spec=own, actor=actor.with_scope(OWN_ONLY))
            ended = [await _shown(cipher, run) for run in one.ended]
            result.append(replace(one, record=record, ended=tuple(ended)))
        return result


class EncryptedRunQueryStore:
    """A RunQueryStore that decrypts through handlers."""

    def __init__(self, inner: RunQueryStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        record = await self._inner.get_run(run_id)
        return None if record is None else (await _unsealed(self._cipher, [record]))[0]

    async def get_latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        record = await self._inner.get_latest_run(thread_id)
        return None if record is None else (await _unsealed(self._cipher, [record]))[0]

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        return await _unsealed(self._cipher, await self._inner.list_runs(where, limit=limit, offset=offset))

    async def is_foreign_thread(self, thread_id: ThreadId) -> bool:
        return await self._inner.is_foreign_thread(thread_id)

    async def count_runs(self, where: RunFilter) -> int:
        return await self._inner.count_runs(where)


class EncryptedThreadPriorityStore:
    """A ThreadPriorityStore that decrypts through handlers."""

    def __init__(self, inner: ThreadPriorityStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def get(self, thread_id: ThreadId) -> ThreadScheduling | None:
        if (found := await self._inner.get(thread_id)) is None:
            return None
        return replace(found, metadata=await unseal(self._cipher, THREAD, "metadata", found.metadata))


class EncryptedRunLeaseStore:
    """A RunLeaseStore that encrypts through handlers. ``threads`` decrypts, and is read for titles."""

    def __init__(self, inner: RunLeaseStore, cipher: FieldCipher, threads: ThreadStore) -> None:
        self._inner, self._cipher, self._threads = inner, cipher, threads

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        """Claim a run; see the port.

        A run that cannot be decrypted keeps the lease until it expires after ``term``, is then retried, and finally
        becomes a dead letter.
        """
        if (lease := await self._inner.claim(run_id, worker, term)) is None:
            return None
        try:
            return replace(lease, run=(await _unsealed(self._cipher, [lease.run]))[0])
        except EncryptionFailed as error:
            _log.error("run %s cannot be executed: %s", run_id, error)
            return None

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        return await self._inner.renew(lease, term)

    async def begin(self, lease: Lease, base_checkpoint_id: str | None) -> Lease:
        return await self._inner.begin(lease, base_checkpoint_id)

    async def record_usage(self, lease: Lease, completion: RunCompletionData, usage: Sequence[ModelUsage]) -> None:
        """Write what the run came to so far; see the port. Its texts are only written, encrypted, when it ends."""
        if self._cipher.encrypts_json:
            completion = replace(completion, last_ai_message=None, first_human_message=None)
        await self._inner.record_usage(lease, completion, usage)

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        """Settle a run; see the port.

        Raises EncryptionFailed, and writes nothing, if the outcome cannot be encrypted.
        """
        cipher, run = self._cipher, lease.run
        with acting(run.actor.with_access_to(run.thread_id)):
            title = await self._title(run.thread_id, outcome)
            has_webhook = run.spec.webhook is not None

            async def sealed() -> tuple[RunRecord, Outcome]:
                stored = replace(run, actor=await seal_actor(cipher, run.actor))
                if has_webhook or run.spec.command is not None:
                    # The webhook's body is made from the record, and so is the answer of an approval.
                    stored = replace(stored, spec=await seal_spec(cipher, run.spec))
                return stored, await seal_outcome(cipher, outcome, title=title, with_output=has_webhook)

            try:
                stored, ending = await cipher.together(sealed)
            except (ReservedKey, NotJson) as error:
                raise EncryptionFailed(str(error)) from error
        settled = await self._inner.settle(replace(lease, run=stored), ending)
        record = await _shown(cipher, replace(settled.record, spec=run.spec, actor=run.actor.with_kept_claims()))
        return replace(settled, record=record)

    async def _title(self, thread_id: ThreadId, outcome: Outcome) -> str | None:
        title, values = outcome.title, outcome.thread.values
        if values is not None and b'"title"' in values:
            thread = await self._threads.get(thread_id)
            title = changed_title(None if thread is None else thread.values, values) or title
        return title[:TITLE_LENGTH] if title else None

    async def release(self, lease: Lease) -> None:
        await self._inner.release(lease)

    async def request_stop(self, run_id: RunId, reason: StopReason) -> StopRequest | None:
        stopped = await self._inner.request_stop(run_id, reason)
        return None if stopped is None else replace(stopped, record=await _shown(self._cipher, stopped.record))

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        return await self._inner.list_claimable(limit, shared)

    async def next_due(self) -> datetime | None:
        return await self._inner.next_due()

    async def list_expired(self, limit: int = 100) -> Sequence[RunId]:
        return await self._inner.list_expired(limit)

    async def list_ended_before(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
        return [await _shown(self._cipher, record) for record in await self._inner.list_ended_before(run_ids, before)]

    async def recover(self, run_id: RunId, max_attempts: int) -> Recovery | None:
        recovered = await self._inner.recover(run_id, max_attempts)
        return None if recovered is None else replace(recovered, record=await _shown(self._cipher, recovered.record))

    async def abandon_all(self) -> int:
        return await self._inner.abandon_all()

    async def release_all(self) -> int:
        return await self._inner.release_all()

    async def retry(self, run_id: RunId) -> RunRecord | None:
        record = await self._inner.retry(run_id)
        return None if record is None else await _shown(self._cipher, record)

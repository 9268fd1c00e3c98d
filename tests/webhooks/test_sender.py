"""Pending deliveries are sent until accepted, on a manual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.infra.webhooks.client import NoResponse, Reply
from runstead.infra.webhooks.retry_policy import RetryPolicy
from runstead.infra.webhooks.sender import SenderSettings, WebhookSender
from runstead.infra.webhooks.signing import WebhookSigner
from runstead.resources.webhooks import DeliveryRecord, WebhookRefused
from runstead.runtime.actor_context import ActorContext, acting, get_actor_context
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.conformance.delivery_store import URL, found, owed_by
from runstead.testing.conformance.run_storage import ALICE, RunStorage
from tests.processes.client import eventually

from .test_delivery_store import deliveries

__all__ = ["deliveries"]


class Posts:
    """A fake WebhookClient: scripted responses in turn, the last one repeated."""

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers = list(answers)
        self.posted: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []
        self.actors: list[ActorContext | None] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        self.posted.append((url, json.loads(body), headers))
        self.actors.append(get_actor_context())
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


SETTINGS = SenderSettings(retry_policy=RetryPolicy(max_attempts=3, first=10, longest=100), headers={"x-from": "here"})


class Play:
    def __init__(self, storage: RunStorage, deliveries: SqlDeliveryStore, posts: Posts, bell: WakeupSignal) -> None:
        self.storage, self.deliveries, self.posts, self.bell = storage, deliveries, posts, bell

    async def until(self, look: Callable[[DeliveryRecord], bool]) -> DeliveryRecord:
        """Return the only delivery, once it matches. The storage has its own threads, so this takes real time."""
        (one,) = await self.all_until(lambda every: look(every[0]))
        return one

    async def all_until(self, look: Callable[[Sequence[DeliveryRecord]], bool]) -> Sequence[DeliveryRecord]:
        async def wanted() -> Sequence[DeliveryRecord] | None:
            every = await found(self.deliveries)
            return every if look(every) else None

        every: Sequence[DeliveryRecord] = await eventually(wanted, 20, 0.005)
        return every

    async def posts_are(self, count: int) -> None:
        async def there() -> bool:
            return len(self.posts.posted) >= count

        await eventually(there, 20, 0.005)

    async def passes(self, seconds: float) -> None:
        """Advance time in steps, each once the sender has checked and sleeps."""

        async def sleeps() -> bool:
            return self.storage.clock.sleepers > 0

        for _ in range(int(seconds)):
            await eventually(sleeps, 20, 0.001)
            await self.storage.clock.advance(1)


@asynccontextmanager
async def sending(
    storage: RunStorage, deliveries: SqlDeliveryStore, *answers: Reply | Exception, settings: SenderSettings = SETTINGS
) -> AsyncIterator[Play]:
    posts, bell = Posts(*answers), WakeupSignal()
    sender = WebhookSender(deliveries, posts, WebhookSigner(), bell, storage.clock, settings, chance=lambda: 0)
    async with sender.running(grace=0.2):
        yield Play(storage, deliveries, posts, bell)


async def test_accepted_delivery_is_done(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    run = await owed_by(storage)
    async with sending(storage, deliveries, Reply(204)) as play:
        one = await play.until(lambda one: one.status == "delivered")
    assert one.attempts == 1
    ((url, body, headers),) = play.posts.posted
    assert (url, body["run_id"], body["status"]) == (URL, run.run_id, "success")
    assert body["webhook_sent_at"].startswith("2030-01-01T")
    assert {"run_started_at", "run_ended_at", "values", "error"} <= set(body)
    assert headers["webhook-id"] == one.delivery_id
    assert (headers["x-from"], headers["content-type"]) == ("here", "application/json")
    assert play.posts.actors == [ALICE]


async def test_failed_delivery_is_retried_and_finally_abandoned(
    storage: RunStorage, deliveries: SqlDeliveryStore, caplog: pytest.LogCaptureFixture
) -> None:
    await owed_by(storage)
    answers = (Reply(500), NoResponse("no answer within 10 s"), Reply(404))
    async with sending(storage, deliveries, *answers) as play:
        first = await play.until(lambda one: one.attempts == 1)
        assert (first.status, first.next_attempt_at) == ("pending", storage.clock.now() + timedelta(seconds=10))
        await play.passes(9)
        assert len(play.posts.posted) == 1
        await play.passes(1)
        await play.until(lambda one: one.attempts == 2)
        await play.passes(40)
        last = await play.until(lambda one: one.attempts == 3)
    assert (last.status, last.next_attempt_at) == ("failed", None)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # Without the path, which is a secret of many services.
    assert any("to example.org, attempt 3: answered 404" in text for text in warned)
    assert not any(URL in text for text in warned)
    ids = {headers["webhook-id"] for _, _, headers in play.posts.posted}
    assert ids == {last.delivery_id}
    with acting(ALICE):
        tried = await deliveries.attempts(last.delivery_id)
    assert [(one.status_code, one.error) for one in tried] == [
        (500, "answered 500"),
        (None, "no answer within 10 s"),
        (404, "answered 404"),
    ]


async def test_retry_after_is_honoured(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    await owed_by(storage)
    async with sending(storage, deliveries, Reply(429, "60"), Reply(200)) as play:
        first = await play.until(lambda one: one.attempts == 1)
        assert first.next_attempt_at == storage.clock.now() + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("answer", "recorded"),
    [
        (WebhookRefused("Webhook host blocked: loopback IP range"), "Webhook host blocked: loopback IP range"),
        (Reply(410), "answered 410"),
    ],
)
async def test_some_failures_are_final(
    storage: RunStorage, deliveries: SqlDeliveryStore, answer: Reply | Exception, recorded: str
) -> None:
    await owed_by(storage)
    async with sending(storage, deliveries, answer) as play:
        one = await play.until(lambda one: one.status == "failed")
    with acting(ALICE):
        assert [each.error for each in await deliveries.attempts(one.delivery_id)] == [recorded]


async def test_redirect_is_a_recorded_failure(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    await owed_by(storage)
    async with sending(storage, deliveries, Reply(302)) as play:
        one = await play.until(lambda one: one.attempts == 1)
    with acting(ALICE):
        (tried,) = await deliveries.attempts(one.delivery_id)
    assert "redirects are not followed" in (tried.error or "")


async def test_unexpected_error_counts_as_an_attempt(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    await owed_by(storage)
    async with sending(storage, deliveries, RuntimeError("odd"), Reply(200)) as play:
        await play.until(lambda one: one.attempts == 1)
        await play.passes(10)
        await play.until(lambda one: one.status == "delivered")


async def test_ended_run_or_a_budget_wakes_the_sender(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    posts, bell = Posts(Reply(200)), WakeupSignal()
    sender = WebhookSender(deliveries, posts, WebhookSigner(), bell, storage.clock, SETTINGS)
    with bell.listener() as heard:
        for kind in RunLifecycleEventType:
            heard.clear()
            await sender.on_event(RunLifecycleEvent("e", kind, RunId("r"), ThreadId("t"), 1, storage.clock.now()))
            assert heard.is_set() == kind.value.startswith(("run_completed", "run_failed", "run_cancelled", "budget_"))


async def test_ended_run_without_a_webhook_does_not_wake_the_sender(
    storage: RunStorage, deliveries: SqlDeliveryStore
) -> None:
    bell = WakeupSignal()
    sender = WebhookSender(deliveries, Posts(Reply(200)), WebhookSigner(), bell, storage.clock, SETTINGS)
    with acting(ALICE), bell.listener() as heard:
        for webhook, wakes in (None, False), ("https://hooks.test/end", True):
            run = await storage.accept(webhook=webhook)
            end, now = RunLifecycleEventType.RUN_COMPLETED, storage.clock.now()
            event = RunLifecycleEvent("e", end, run.run_id, run.thread_id, 1, now, run=run)
            heard.clear()
            await sender.on_event(event)
            assert heard.is_set() == wakes


async def test_retry_request_wakes_the_sender(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    await owed_by(storage)
    bell = WakeupSignal()
    rung = SqlDeliveryStore(deliveries._database, storage.clock, bell.notify)
    posts = Posts(Reply(200))
    sender = WebhookSender(rung, posts, WebhookSigner(), bell, storage.clock, SETTINGS)
    async with sender.running():
        play = Play(storage, rung, posts, bell)
        one = await play.until(lambda one: one.status == "delivered")
        with acting(ALICE):
            await rung.redeliver(one.delivery_id)
        await play.until(lambda one: one.attempts == 2 and one.status == "delivered")
    assert len({headers["webhook-id"] for _, _, headers in posts.posted}) == 1


async def test_parallel_deliveries_are_limited(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    for _ in range(5):
        await owed_by(storage)
    settings = SenderSettings(parallel=2)
    async with sending(storage, deliveries, Reply(200), settings=settings) as play:
        play.posts.gate.clear()
        await play.posts_are(2)
        await asyncio.sleep(0.05)
        assert len(play.posts.posted) == 2, "more on their way at once than there may be"
        play.posts.gate.set()
        await play.all_until(lambda every: {one.status for one in every} == {"delivered"})


async def test_delivery_interrupted_by_shutdown_is_sent_by_the_next_process(
    storage: RunStorage, deliveries: SqlDeliveryStore
) -> None:
    await owed_by(storage)
    async with sending(storage, deliveries, Reply(200)) as play:
        play.posts.gate.clear()
        await play.posts_are(1)
    (left,) = await found(deliveries)
    assert (left.status, left.attempts) == ("pending", 0)
    await deliveries.abandon_all()
    async with sending(storage, deliveries, Reply(200)) as next_one:
        await next_one.until(lambda one: one.status == "delivered")


async def test_only_configured_fields_are_sent(storage: RunStorage, deliveries: SqlDeliveryStore) -> None:
    await owed_by(storage)
    settings = SenderSettings(fields=["run_id", "status", "webhook_sent_at"])
    async with sending(storage, deliveries, Reply(200), settings=settings) as play:
        await play.until(lambda one: one.status == "delivered")
    assert set(play.posts.posted[0][1]) == {"run_id", "status", "webhook_sent_at"}

"""Send pending webhook deliveries: claim due ones, post them, and record the result.

At least once: if a process dies between a POST and its record, the delivery is sent again with the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import urlsplit

from runstead.infra.dispatch.due_loop import repeat_when_due
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.resources.webhooks import DeliveryAttempt, DeliveryStore, DueDelivery, WebhookRefused
from runstead.runtime.actor_context import acting
from runstead.runtime.clock import Clock
from runstead.runtime.periodic import beside
from runstead.runtime.runs.observer import END_TYPES, RunLifecycleEvent, RunLifecycleEventType
from runstead.wire.webhooks import sent_body

from .client import NoResponse, Reply
from .retry_policy import RetryPolicy
from .signing import WebhookSigner

_log = logging.getLogger(__name__)

_OF_BUDGETS: Final = (RunLifecycleEventType.BUDGET_WARNING, RunLifecycleEventType.BUDGET_EXCEEDED)


class Poster(Protocol):
    """The part of WebhookClient that the sender uses."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply: ...


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """Options of the sender.

    ``parallel``: maximum number of concurrent deliveries. ``term``: duration of a claim, longer than any POST.
    ``recheck``: seconds between two reads of the storage without a wake-up; they find ended runs that another process
    wrote. ``headers`` are added to every delivery; ``fields``, if given, are the only fields of the body.
    """

    parallel: int = 32
    term: timedelta = timedelta(seconds=60)
    recheck: float = 5
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Sequence[str] | None = None


class WebhookSender:
    """Sends webhook deliveries. Also a RunObserver: the end of a run wakes it."""

    def __init__(
        self,
        deliveries: DeliveryStore,
        client: Poster,
        signer: WebhookSigner,
        bell: WakeupSignal,
        clock: Clock,
        settings: SenderSettings | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._deliveries, self._client, self._signer = deliveries, client, signer
        self._bell, self._clock, self._chance = bell, clock, chance
        self._settings = settings or SenderSettings()
        self._sending: set[asyncio.Task[None]] = set()

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Wake the sender when a run ends that may have a webhook, and for budgets; see RunObserver."""
        if event.event_type in _OF_BUDGETS:
            self._bell.notify()
        if event.event_type in END_TYPES and (event.run is None or event.run.spec.webhook is not None):
            self._bell.notify()

    @asynccontextmanager
    async def running(self, grace: float = 5.0) -> AsyncIterator[None]:
        """Send for the length of a block. After it, running deliveries have ``grace`` seconds; others stay pending."""
        serving = repeat_when_due(self._send_due, self._bell, self._clock, self._settings.recheck, failed=self._failed)
        try:
            async with beside(serving, "webhooks"):
                yield
        finally:
            if self._sending:
                _, late = await asyncio.wait(self._sending, timeout=grace)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    def _failed(self) -> None:
        _log.exception("reading webhook deliveries failed; retrying in %g s", self._settings.recheck)

    async def _send_due(self, heard: asyncio.Event) -> datetime | None:
        """Claim as many deliveries as there are free slots; return when the next one is due."""
        room = self._settings.parallel - len(self._sending)
        claimed = await self._deliveries.claim(room, self._settings.term) if room > 0 else []
        for due in claimed:
            task = asyncio.create_task(self._deliver(due, heard), name=f"webhook-{due.delivery_id}")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        # If all slots are in use, each delivery that ends frees one and wakes us.
        return None if len(claimed) == room else await self._deliveries.next_due()

    async def _deliver(self, due: DueDelivery, heard: asyncio.Event) -> None:
        with acting(due.actor):
            try:
                await self._attempt(due)
            except Exception:
                _log.exception("webhook delivery %s could not be recorded; it will be sent again", due.delivery_id)
            finally:
                heard.set()

    async def _attempt(self, due: DueDelivery) -> None:
        settings, started_at = self._settings, self._clock.now()
        body = sent_body(due.body, started_at, settings.fields)
        headers = {
            **settings.headers,
            "content-type": "application/json",
            **self._signer.headers(due.delivery_id, started_at, body),
        }
        status_code = error = retry_after = None
        may_try_again = True
        try:
            reply = await self._client.post(due.url, body, headers)
            status_code, retry_after = reply.status_code, reply.retry_after
            error = _complaint(status_code)
        except NoResponse as failure:
            error = str(failure)
        except WebhookRefused as refusal:
            error, may_try_again = str(refusal), False
        except Exception as surprise:
            # Counted like any other failure: an unexpected error must not be retried forever.
            _log.exception("webhook delivery %s could not be sent", due.delivery_id)
            error = f"could not be sent: {type(surprise).__name__}"
        now = self._clock.now()
        again_at = None
        if error is not None and may_try_again:
            again_at = settings.retry_policy.next_attempt_at(due.number, status_code, retry_after, now, self._chance())
        attempt = DeliveryAttempt(due.number, started_at, now, status_code, error)
        if not await self._deliveries.settle(due, attempt, again_at):
            _log.warning("webhook delivery %s took longer than its claim; another sender has it", due.delivery_id)
        elif error is not None:
            # Only the host: many services have a secret in the path. `runstead webhooks show` names the whole address.
            host = urlsplit(due.url).netloc.rpartition("@")[2]
            _log.warning("webhook delivery %s to %s, attempt %d: %s", due.delivery_id, host, due.number, error)


def _complaint(status_code: int) -> str | None:
    if 200 <= status_code < 300:
        return None
    if 300 <= status_code < 400:
        return f"answered {status_code}; redirects are not followed: name the address that it leads to"
    return f"answered {status_code}"

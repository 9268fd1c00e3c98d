"""The conformance suite of the RunEventStore port.

```python
class TestMyStore(RunEventStoreConformance):
    @pytest.fixture
    async def events(self) -> AsyncIterator[RunEventStore]: ...

    async def make_thread(self, thread_id: str, owner: ActorContext) -> None: ...   # where threads have to exist
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store.event_store import RunEvent, RunEventCategory, RunEventStore, StoredRunEvent
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.runtime.serialization import jsonable

ALICE: Final = ActorContext("alice")
BOB: Final = ActorContext("bob")
ALICE_ELSEWHERE: Final = ActorContext("alice", tenant_id="elsewhere")

THREAD: Final = ThreadId("018f6b3c-1111-7000-8000-000000000001")
OTHER_THREAD: Final = ThreadId("018f6b3c-1111-7000-8000-000000000002")
RUN: Final = RunId("018f6b3c-2222-7000-8000-000000000001")
OTHER_RUN: Final = RunId("018f6b3c-2222-7000-8000-000000000002")
MORNING: Final = datetime(2030, 1, 1, 9, 30, 15, 123456, tzinfo=UTC)

HOSTILE: Final[tuple[object, ...]] = (
    *(None, True, 0, -1.5, "", [], {}, {"": {"": []}}),
    {"text": "NUL \x00, newlines \n\r\u2028\u2029\x85, quotes \"'`, \\ and \u202e, grüße, \U0001f44b, \x1b[31m"},
    {"like sql": "'; DROP TABLE run_events; --", "like a line": '"}\n{"seq":1}', "percent": "%s %00 {0}"},
    {"surrogate": "\ud83d alone", "\udfff key": 1},
    {"nan": float("nan"), "inf": float("-inf"), "large": 2**80, "small": -(2**63), "bytes": b"\x00\xff"},
    {"deep": [[[[[[[[[[{"deeper": [[[[["deepest"]]]]]}]]]]]]]]]]},
    {"long": "x" * 1_000_000},
)


def an_event(
    content: object = "hello",
    *,
    thread_id: str = THREAD,
    run_id: str = RUN,
    event_type: str = "llm_request",
    category: RunEventCategory = "trace",
    **metadata: object,
) -> RunEvent:
    return RunEvent(RunId(run_id), ThreadId(thread_id), event_type, category, content, MORNING, metadata)


def seqs(stored: Sequence[StoredRunEvent]) -> list[int]:
    return [entry.seq for entry in stored]


class RunEventStoreConformance:
    """The suite of RunEventStore. Subclass it and provide ``events``."""

    async def make_thread(self, thread_id: str, owner: ActorContext) -> None:
        """Create a thread of ``owner``, for stores that know the threads. Called before the first write."""

    async def write(self, events: RunEventStore, count: int, **fields: Any) -> Sequence[StoredRunEvent]:
        """Append ``count`` events as Alice, in one batch."""
        await self.make_thread(fields.get("thread_id", THREAD), ALICE)
        with acting(ALICE):
            return await events.append([an_event(number, **fields) for number in range(count)])

    async def test_append_numbers_events_densely_from_one_in_batch_order(self, events: RunEventStore) -> None:
        first = await self.write(events, 3)
        second = await self.write(events, 2)
        assert seqs(first) == [1, 2, 3]
        assert seqs(second) == [4, 5]
        assert [entry.event.content for entry in first] == [0, 1, 2]

    async def test_append_numbers_each_thread_separately(self, events: RunEventStore) -> None:
        await self.write(events, 3)
        assert seqs(await self.write(events, 2, thread_id=OTHER_THREAD)) == [1, 2]
        with acting(ALICE):
            assert seqs(await events.list_events(OTHER_THREAD)) == [1, 2]
            assert {entry.event.thread_id for entry in await events.list_events(OTHER_THREAD)} == {OTHER_THREAD}

    async def test_list_events_returns_events_as_stored(self, events: RunEventStore) -> None:
        await self.make_thread(THREAD, ALICE)
        event = RunEvent(
            RUN,
            THREAD,
            "ai_message",
            "message",
            {"type": "ai", "content": "hi"},
            MORNING,
            {"caller": "lead_agent", "n": 1},
        )
        with acting(ALICE):
            await events.append([event])
            [stored] = await events.list_events(THREAD)
        assert stored == StoredRunEvent(1, event)
        assert stored.event.created_at.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
    async def test_append_stores_any_content_that_json_can_represent(
        self, events: RunEventStore, content: object
    ) -> None:
        await self.make_thread(THREAD, ALICE)
        with acting(ALICE):
            await events.append(
                [an_event(content), an_event(jsonable(content), hostile=jsonable(content)), an_event("after")]
            )
            read = await events.list_events(THREAD)
        # Values that JSON cannot represent (NaN, bytes, ...) may return in the closest form, and never cause an error.
        assert [jsonable(entry.event.content) for entry in read] == [jsonable(content), jsonable(content), "after"]
        assert read[1].event.metadata == {"hostile": jsonable(content)}
        assert seqs(read) == [1, 2, 3]

    async def test_append_of_an_empty_batch_does_nothing(self, events: RunEventStore) -> None:
        with acting(ALICE):
            assert list(await events.append([])) == []

    async def test_append_refuses_a_batch_of_two_threads(self, events: RunEventStore) -> None:
        await self.write(events, 1)
        await self.write(events, 1, thread_id=OTHER_THREAD)
        with acting(ALICE):
            with pytest.raises(ValueError, match="thread"):
                await events.append([an_event(), an_event(thread_id=OTHER_THREAD)])
            assert await events.count_events(THREAD) == await events.count_events(OTHER_THREAD) == 1

    async def test_concurrent_appends_use_every_number_once(self, events: RunEventStore) -> None:
        await self.make_thread(THREAD, ALICE)
        with acting(ALICE):
            batches = await asyncio.gather(
                *(events.append([an_event([batch, place]) for place in range(4)]) for batch in range(25))
            )
            read = await events.list_events(THREAD, limit=1_000)
        for batch in batches:
            assert seqs(batch) == list(range(batch[0].seq, batch[0].seq + 4))
        assert seqs(read) == list(range(1, 101))
        assert [entry.event.content for entry in read] == [
            entry.event.content for batch in sorted(batches, key=lambda batch: batch[0].seq) for entry in batch
        ]

    async def test_list_events_returns_ascending_pages_from_either_end(self, events: RunEventStore) -> None:
        await self.write(events, 100)
        with acting(ALICE):
            pages = {
                "the last fifty": (await events.list_events(THREAD), range(51, 101)),
                "the last three": (await events.list_events(THREAD, limit=3), range(98, 101)),
                "the first after": (await events.list_events(THREAD, after=0, limit=3), range(1, 4)),
                "after": (await events.list_events(THREAD, after=10, limit=5), range(11, 16)),
                "after the last": (await events.list_events(THREAD, after=100), range(0)),
                "the last before": (await events.list_events(THREAD, before=50, limit=5), range(45, 50)),
                "before the first": (await events.list_events(THREAD, before=1), range(0)),
                "between": (await events.list_events(THREAD, after=10, before=20, limit=4), range(11, 15)),
                "between, all": (await events.list_events(THREAD, after=10, before=14), range(11, 14)),
                "more than there are": (await events.list_events(THREAD, limit=1_000), range(1, 101)),
                "none": (await events.list_events(THREAD, limit=0), range(0)),
            }
        assert {name: seqs(page) for name, (page, _) in pages.items()} == {
            name: list(expected) for name, (_, expected) in pages.items()
        }

    async def test_paging_forward_returns_each_event_once_during_appends(self, events: RunEventStore) -> None:
        await self.write(events, 45)
        seen: list[int] = []
        with acting(ALICE):
            while page := await events.list_events(THREAD, after=seen[-1] if seen else 0, limit=10):
                seen += seqs(page)
                if len(seen) == 20:
                    await events.append([an_event(), an_event()])
        assert seen == list(range(1, 48))

    async def test_list_events_applies_filters_before_the_limit(self, events: RunEventStore) -> None:
        await self.make_thread(THREAD, ALICE)
        rare = an_event("rare", run_id=OTHER_RUN, event_type="ai_message", category="message")
        with acting(ALICE):
            await events.append([an_event(), rare] + [an_event()] * 30 + [rare] + [an_event()] * 30)
            for filters in ({"run_id": OTHER_RUN}, {"categories": ["message"]}, {"event_types": ["ai_message"]}):
                assert seqs(await events.list_events(THREAD, **filters, limit=5)) == [2, 33]
                assert seqs(await events.list_events(THREAD, **filters, limit=1)) == [33]
                assert seqs(await events.list_events(THREAD, **filters, after=0, limit=1)) == [2]
                assert seqs(await events.list_events(THREAD, **filters, before=33)) == [2]
            assert seqs(await events.list_events(THREAD, run_id=RUN, categories=["message"])) == []
            both = await events.list_events(THREAD, categories=["message", "trace"], limit=100)
            assert len(both) == 63

    async def test_count_events_counts_all_or_some_categories(self, events: RunEventStore) -> None:
        await self.write(events, 7)
        await self.write(events, 2, category="message", event_type="ai_message")
        await self.write(events, 1, category="lifecycle", event_type="run_start")
        with acting(ALICE):
            assert await events.count_events(THREAD) == 10
            assert await events.count_events(THREAD, categories=["message"]) == 2
            assert await events.count_events(THREAD, categories=["message", "lifecycle"]) == 3

    async def test_delete_events_of_a_run_keeps_the_numbers_of_others(self, events: RunEventStore) -> None:
        await self.write(events, 3)
        await self.write(events, 2, run_id=OTHER_RUN)
        await self.write(events, 1)
        with acting(ALICE):
            assert await events.delete_events(THREAD, run_id=RUN) == 4
            assert seqs(await events.list_events(THREAD)) == [4, 5]
            assert await events.delete_events(THREAD, run_id=RUN) == 0
            assert await events.count_events(THREAD) == 2

    @pytest.mark.parametrize("run_id", [None, RUN])
    async def test_append_after_a_deletion_does_not_reuse_numbers(
        self, events: RunEventStore, run_id: RunId | None
    ) -> None:
        await self.write(events, 3)
        with acting(ALICE):
            assert await events.delete_events(THREAD, run_id=run_id) == 3
            assert list(await events.list_events(THREAD)) == []
            assert await events.count_events(THREAD) == 0
        assert seqs(await self.write(events, 2)) == [4, 5]
        with acting(ALICE):
            assert await events.delete_events(THREAD) == 2
            assert await events.delete_events(THREAD) == 0
        assert seqs(await self.write(events, 1)) == [6]

    async def test_delete_events_during_appends_loses_no_other_events(self, events: RunEventStore) -> None:
        await self.write(events, 10)
        with acting(ALICE):
            await asyncio.gather(
                *(events.append([an_event(run_id=OTHER_RUN)]) for _ in range(10)),
                events.delete_events(THREAD, run_id=RUN),
                *(events.append([an_event(run_id=OTHER_RUN)]) for _ in range(10)),
            )
            assert seqs(await events.list_events(THREAD)) == list(range(11, 31))

    @pytest.mark.parametrize(
        "thread_id",
        [
            "unknown",
            "",
            ".",
            "..",
            "../" + OTHER_THREAD,
            "a/b",
            "a\\b",
            "/etc/passwd",
            "nul\x00",
            "\ud800",
            "x" * 5_000,
            "%",
        ],
    )
    async def test_unknown_thread_has_no_events(self, events: RunEventStore, thread_id: str) -> None:
        await self.write(events, 2)
        await self.write(events, 2, thread_id=OTHER_THREAD)
        with acting(ALICE):
            assert list(await events.list_events(ThreadId(thread_id))) == []
            assert await events.count_events(ThreadId(thread_id)) == 0
            assert await events.delete_events(ThreadId(thread_id)) == 0
            assert await events.count_events(THREAD) == await events.count_events(OTHER_THREAD) == 2

    @pytest.mark.parametrize(
        "stranger", [BOB, ALICE_ELSEWHERE], ids=["another user", "the same name in another tenant"]
    )
    async def test_foreign_thread_looks_empty_and_refuses_appends(
        self, events: RunEventStore, stranger: ActorContext
    ) -> None:
        await self.write(events, 2)
        with acting(stranger):
            assert list(await events.list_events(THREAD)) == []
            assert await events.count_events(THREAD) == 0
            assert await events.delete_events(THREAD) == 0
            with pytest.raises(ThreadNotFound):
                await events.append([an_event("from a stranger")])
        with acting(ALICE):
            assert [entry.event.content for entry in await events.list_events(THREAD)] == [0, 1]

    async def test_actor_with_access_to_a_thread_shares_it_with_its_owner(self, events: RunEventStore) -> None:
        await self.write(events, 1)
        with acting(BOB.with_access_to(THREAD)):
            await events.append([an_event("from bob", run_id=OTHER_RUN)])
            assert [entry.event.content for entry in await events.list_events(THREAD)] == [0, "from bob"]
        with acting(ALICE):
            assert await events.count_events(THREAD) == 2
        with acting(ALICE_ELSEWHERE.with_access_to(THREAD)):
            assert await events.count_events(THREAD) == 0
            with pytest.raises(ThreadNotFound):
                await events.append([an_event("from elsewhere")])
        with acting(BOB.with_access_to(THREAD)):
            assert await events.delete_events(THREAD, run_id=OTHER_RUN) == 1
            assert await events.delete_events(THREAD) == 1
            await events.append([an_event("again")])
        with acting(ALICE.with_access_to(THREAD)):
            assert await events.count_events(THREAD) == 1

    async def test_first_append_by_another_user_keeps_the_threads_owner(self, events: RunEventStore) -> None:
        await self.make_thread(THREAD, ALICE)
        with acting(BOB.with_access_to(THREAD)):
            await events.append([an_event("from bob")])
        for seen, actor in enumerate((ALICE, BOB), start=1):
            with acting(actor.with_access_to(THREAD)):
                assert await events.count_events(THREAD) == seen
                await events.append([an_event("more")])
        with acting(ALICE_ELSEWHERE.with_access_to(THREAD)):
            assert await events.count_events(THREAD) == 0

    async def test_calls_require_an_actor(self, events: RunEventStore) -> None:
        await self.write(events, 1)
        with pytest.raises(ActorRequired):
            await events.append([an_event()])
        with pytest.raises(ActorRequired):
            await events.list_events(THREAD)
        with pytest.raises(ActorRequired):
            await events.count_events(THREAD)
        with pytest.raises(ActorRequired):
            await events.delete_events(THREAD)
        with acting(ALICE):
            assert await events.count_events(THREAD) == 1

    async def test_delete_threads_deletes_everything_without_an_actor(self, events: RunEventStore) -> None:
        await self.write(events, 3)
        await self.write(events, 2, thread_id=OTHER_THREAD)
        await events.delete_threads([THREAD, ThreadId("unknown")])
        with acting(ALICE):
            assert await events.count_events(THREAD) == 0
            assert await events.count_events(OTHER_THREAD) == 2

    async def test_delete_before_deletes_old_events_without_reusing_their_seq(self, events: RunEventStore) -> None:
        await self.write(events, 3)
        assert await events.delete_before(MORNING - timedelta(days=10_000)) == 0
        assert await events.delete_before(MORNING + timedelta(seconds=1)) == 3
        assert await events.delete_before(MORNING + timedelta(seconds=1)) == 0
        assert seqs(await self.write(events, 1)) == [4]

"""The conformance suite of the FeedbackStore port.

Subclass it and provide ``storage`` (the run stores) and ``feedback``, over the same database and clock.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from runstead.resources.feedback import MAX_PER_RUN, Feedback, FeedbackFilter, FeedbackFull, FeedbackStore
from runstead.runtime.actor_context import AccessScope, ActorContext, ActorRequired, acting
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunId, ThreadId

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB, DONE, RunStorage

ALL = FeedbackFilter()


class FeedbackStoreConformance:
    """The suite of FeedbackStore. Subclass it and provide ``storage`` and ``feedback``."""

    async def test_put_replaces_the_feedback_of_the_same_user_and_subject(
        self, storage: RunStorage, feedback: FeedbackStore
    ) -> None:
        run = await storage.accept()
        with acting(ALICE):
            first = await feedback.put(run.run_id, None, Feedback(0.5, {"tags": ["slow"]}, "so so"))
            await storage.clock.advance(timedelta(seconds=1))
            second = await feedback.put(run.run_id, None, Feedback(1.0))
            on_message = await feedback.put(run.run_id, "m-1", Feedback(comment="better \u2713"))
            assert await feedback.search(FeedbackFilter(message_id="m-1")) == [on_message]
            assert {one.message_id for one in await feedback.search(ALL)} == {None, "m-1"}
        assert (first.feedback, first.thread_id) == (Feedback(0.5, {"tags": ["slow"]}, "so so"), run.thread_id)
        assert (second.feedback, second.created_at) == (Feedback(1.0), first.created_at)
        assert second.updated_at > first.updated_at

    async def test_search_filters_by_every_field(self, storage: RunStorage, feedback: FeedbackStore) -> None:
        runs = [await storage.accept(ThreadId(f"t-{number}")) for number in range(3)]
        with acting(ALICE):
            for number, run in enumerate(runs):
                await feedback.put(run.run_id, None, Feedback(float(number)))
                await storage.clock.advance(timedelta(seconds=1))

            async def scores(where: FeedbackFilter) -> list[float | None]:
                found = [one.feedback.score for one in await feedback.search(where)]
                assert await feedback.count(where) == len(found)
                return found

            assert await scores(ALL) == [2.0, 1.0, 0.0]
            assert await scores(FeedbackFilter(thread_id=ThreadId("t-1"))) == [1.0]
            assert await scores(FeedbackFilter(run_id=runs[2].run_id)) == [2.0]
            assert await scores(FeedbackFilter(min_score=1.0)) == [2.0, 1.0]
            assert await scores(FeedbackFilter(max_score=0.5)) == [0.0]
            assert await scores(FeedbackFilter(user_id="bob")) == []
            assert await scores(FeedbackFilter(message_id="\0")) == []
            page = await feedback.search(ALL, limit=1, offset=1)
            assert [one.feedback.score for one in page] == [1.0]
            assert await feedback.of_messages(ThreadId("t-1"), ["m-1"]) == []
            given = await feedback.put(runs[1].run_id, "m-1", Feedback(3.0))
            assert await feedback.of_messages(ThreadId("t-1"), ["m-1", "m-2", "\0"]) == [given]
            assert await feedback.of_messages(ThreadId("t-2"), ["m-1"]) == []

    @pytest.mark.parametrize("stranger", [BOB, ALICE_ELSEWHERE], ids=["another user", "another tenant"])
    async def test_run_of_another_user_has_no_feedback(
        self, storage: RunStorage, feedback: FeedbackStore, stranger: ActorContext
    ) -> None:
        run = await storage.accept()
        with acting(ALICE):
            await feedback.put(run.run_id, None, Feedback(1.0))
            await feedback.put(run.run_id, "m-1", Feedback(1.0))
        with acting(stranger):
            with pytest.raises(RunNotFound):
                await feedback.put(run.run_id, None, Feedback(0.0))
            assert await feedback.search(ALL) == []
            assert await feedback.of_messages(ThreadId("t-1"), ["m-1"]) == []
            assert not await feedback.delete(run.run_id, None)
        with acting(ALICE):
            assert await feedback.count(ALL) == 2

    async def test_users_of_a_shared_thread_read_all_feedback_and_change_their_own(
        self, storage: RunStorage, feedback: FeedbackStore
    ) -> None:
        run = await storage.accept()
        with acting(ALICE):
            await feedback.put(run.run_id, None, Feedback(1.0))
        with acting(BOB.with_scope(AccessScope(thread_ids=frozenset({run.thread_id})))):
            await feedback.put(run.run_id, None, Feedback(0.0))
            assert {one.user_id for one in await feedback.search(ALL)} == {"alice", "bob"}
            assert await feedback.delete(run.run_id, None)
            assert not await feedback.delete(run.run_id, None)
        with acting(ALICE):
            assert [one.user_id for one in await feedback.search(ALL)] == ["alice"]

    async def test_feedback_is_deleted_with_its_run(self, storage: RunStorage, feedback: FeedbackStore) -> None:
        run = await storage.accept()
        await storage.ended(run, DONE)
        with acting(ALICE):
            await feedback.put(run.run_id, "m-1", Feedback(1.0))
            await storage.delete.delete_run(run.run_id)
            assert await feedback.count(ALL) == 0
            with pytest.raises(RunNotFound):
                await feedback.put(run.run_id, "m-1", Feedback(1.0))

    async def test_number_per_user_and_run_is_limited(self, storage: RunStorage, feedback: FeedbackStore) -> None:
        run = await storage.accept()
        with acting(ALICE):
            for number in range(MAX_PER_RUN):
                await feedback.put(run.run_id, f"m-{number}", Feedback(1.0))
            with pytest.raises(FeedbackFull, match="delete some first"):
                await feedback.put(run.run_id, "one more", Feedback(1.0))
            assert (await feedback.put(run.run_id, "m-1", Feedback(0.0))).feedback == Feedback(0.0)

    async def test_feedback_requires_an_actor(self, feedback: FeedbackStore) -> None:
        with pytest.raises(ActorRequired):
            await feedback.put(RunId("r"), None, Feedback(1.0))
        with pytest.raises(ActorRequired):
            await feedback.search(ALL)
        with pytest.raises(ActorRequired):
            await feedback.delete(RunId("r"), None)

"""The part of the AssistantStore suite about creating, updating, restoring and deleting assistants."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from runstead.resources.assistants import (
    AssistantChange,
    AssistantDraft,
    AssistantExists,
    AssistantFilter,
    AssistantRecord,
    AssistantStore,
    AssistantVersion,
    VersionNotFound,
    assistant_id_of,
)
from runstead.runtime.actor_context import AccessScope, ActorContext, ActorRequired, acting
from runstead.runtime.runs.types import AssistantId
from runstead.testing.clock import ManualClock

from .run_storage import ALICE, ALICE_ELSEWHERE, BOB

ASSISTANT: Final = AssistantId("a-1")
STRANGERS: Final = (BOB, ALICE_ELSEWHERE)
DRAFT: Final = AssistantDraft(
    "agent",
    "Mine",
    config={"tags": ["t"], "configurable": {"color": "red"}},
    context={"color": "red"},
    metadata={"a": {"x": 1}, "b": None},
    description="d",
)


class AssistantVersionsConformance:
    """The tests of versions, included in `AssistantStoreConformance`."""

    async def test_create_stores_the_draft_as_version_1(self, assistants: AssistantStore, clock: ManualClock) -> None:
        with acting(ALICE):
            made = await assistants.create(DRAFT)
            assert made == await assistants.get(made.assistant_id)
        assert said_by(made) == said_by(DRAFT)
        assert (made.version, made.shared, made.created_at, made.updated_at) == (1, False, clock.now(), clock.now())
        (version,) = await versions_of(assistants, made)
        assert said_by(version) == said_by(DRAFT)
        assert (version.assistant_id, version.version, version.created_at) == (made.assistant_id, 1, clock.now())

    async def test_create_without_an_id_makes_a_new_one(self, assistants: AssistantStore) -> None:
        with acting(ALICE):
            ids = {(await assistants.create(DRAFT)).assistant_id for _ in range(3)}
        assert len(ids) == 3

    async def test_create_with_an_existing_id_raises_or_returns_it_unchanged(self, assistants: AssistantStore) -> None:
        made = await a_new(assistants, ASSISTANT)
        with acting(ALICE):
            with pytest.raises(AssistantExists):
                await assistants.create(AssistantDraft("other"), assistant_id=ASSISTANT)
            found = await assistants.create(AssistantDraft("other"), assistant_id=ASSISTANT, if_exists="do_nothing")
        assert found == made
        assert len(await versions_of(assistants, made)) == 1

    async def test_create_of_one_id_by_many_at_once_succeeds_once(self, assistants: AssistantStore) -> None:
        with acting(ALICE):
            calls = (assistants.create(AssistantDraft("agent", f"n-{n}"), assistant_id=ASSISTANT) for n in range(8))
            answers = await asyncio.gather(*calls, return_exceptions=True)
        (made,) = [answer for answer in answers if isinstance(answer, AssistantRecord)]
        assert sum(isinstance(answer, AssistantExists) for answer in answers) == 7
        with acting(ALICE):
            assert await assistants.get(ASSISTANT) == made

    @pytest.mark.parametrize("bad", ["\ud800", "a\0b", ""], ids=ascii)
    async def test_create_refuses_an_invalid_id(self, assistants: AssistantStore, bad: str) -> None:
        with acting(ALICE), pytest.raises(ValueError, match="cannot be used as an id"):
            await assistants.create(DRAFT, assistant_id=AssistantId(bad))

    @pytest.mark.parametrize("stranger", STRANGERS)
    async def test_foreign_assistant_looks_absent(self, assistants: AssistantStore, stranger: ActorContext) -> None:
        made = await a_new(assistants, ASSISTANT)
        with acting(stranger):
            assert await assistants.get(ASSISTANT) is None
            assert await assistants.update(ASSISTANT, AssistantChange(name="theirs")) is None
            assert await assistants.set_latest(ASSISTANT, 1) is None
            assert await assistants.versions(ASSISTANT) == []
            assert not await assistants.delete(ASSISTANT)
            assert await assistants.search(AssistantFilter()) == []
            assert await assistants.count(AssistantFilter(metadata={"b": None})) == 0
            with pytest.raises(AssistantExists):
                await assistants.create(DRAFT, assistant_id=ASSISTANT, if_exists="do_nothing")
        with acting(ALICE):
            assert await assistants.get(ASSISTANT) == made

    async def test_assistant_within_reach_is_accessible_to_other_users(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs({"agent": None})
        with acting(ALICE):
            made = await assistants.create(
                AssistantDraft("agent", "Ours", metadata={"org": "acme"}), assistant_id=ASSISTANT
            )
        acme, by_id = AccessScope(assistants={"org": "acme"}), AccessScope(assistant_ids=frozenset({"a-1"}))
        for actor in (BOB.with_scope(acme), BOB.with_scope(by_id), ALICE.with_scope(acme)):
            with acting(actor):
                assert await assistants.get(ASSISTANT) == made
                assert [one.version for one in await assistants.versions(ASSISTANT)] == [1]
                assert await assistants.search(AssistantFilter(name="Ours")) == [made]
        with acting(BOB.with_scope(acme)):
            # The server's own assistants are also visible only if they match.
            assert await assistants.search(AssistantFilter()) == [made]
        for actor in (
            ALICE_ELSEWHERE.with_scope(acme),
            ALICE_ELSEWHERE.with_scope(by_id),
            BOB.with_scope(AccessScope(assistants={"org": "other"})),
            BOB.with_scope(AccessScope(threads={}, crons={}, thread_ids=frozenset({"a-1"}))),
            ALICE.with_scope(AccessScope(assistants={"org": "other"})),
        ):
            with acting(actor):
                assert await assistants.get(ASSISTANT) is None
                assert await assistants.update(ASSISTANT, AssistantChange(name="theirs")) is None
                assert await assistants.set_latest(ASSISTANT, 1) is None
                assert await assistants.versions(ASSISTANT) == []
                assert not await assistants.delete(ASSISTANT)
                assert await assistants.count(AssistantFilter(name="Ours")) == 0
                with pytest.raises(AssistantExists):
                    await assistants.create(DRAFT, assistant_id=ASSISTANT, if_exists="do_nothing")
        with acting(BOB.with_scope(acme)):
            changed = await assistants.update(ASSISTANT, AssistantChange(name="Shared"))
            assert changed is not None
            assert (changed.name, changed.version) == ("Shared", 2)
            assert (await assistants.set_latest(ASSISTANT, 1)) is not None
            assert await assistants.delete(ASSISTANT)

    async def test_search_returns_own_and_shared_assistants(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs({"agent": None})
        await a_new(assistants, ASSISTANT)
        for actor, names in ((ALICE, ["Mine", "agent"]), (BOB, ["agent"])):
            with acting(actor):
                found = await assistants.search(AssistantFilter(graph_id="agent"), sort_by="name", sort_order="asc")
                assert [one.name for one in found] == names

    async def test_writes_require_an_actor(self, assistants: AssistantStore) -> None:
        for call in (
            lambda: assistants.create(DRAFT),
            lambda: assistants.update(ASSISTANT, AssistantChange(name="x")),
            lambda: assistants.delete(ASSISTANT),
            lambda: assistants.versions(ASSISTANT),
            lambda: assistants.set_latest(ASSISTANT, 1),
        ):
            with pytest.raises(ActorRequired):
                await call()

    async def test_writes_to_unknown_assistants_return_nothing(self, assistants: AssistantStore) -> None:
        with acting(ALICE):
            for assistant_id in map(AssistantId, ("a-none", "\ud800", "a\0", "", "' OR 1=1 --")):
                assert await assistants.update(assistant_id, AssistantChange(name="x")) is None
                assert await assistants.set_latest(assistant_id, 1) is None
                assert await assistants.versions(assistant_id) == []
                assert not await assistants.delete(assistant_id)

    async def test_update_adds_a_version_and_keeps_the_old_one(
        self, assistants: AssistantStore, clock: ManualClock
    ) -> None:
        made = await a_new(assistants, ASSISTANT)
        await clock.advance(60)
        changed = await change(assistants, ASSISTANT, name="Other", metadata={"a": {"y": 2}, "c": "\ud800"})
        assert (changed.version, changed.name, changed.created_at) == (2, "Other", made.created_at)
        assert changed.metadata == {"a": {"y": 2}, "b": None, "c": "\ud800"}
        assert (changed.config, changed.context, changed.description) == (made.config, made.context, "d")
        assert changed.updated_at == clock.now() > made.updated_at
        with acting(ALICE):
            assert await assistants.get(ASSISTANT) == changed
        second, first = await versions_of(assistants, made)
        assert (said_by(second), second.created_at) == (said_by(changed), clock.now())
        assert (said_by(first), first.created_at) == (said_by(made), made.created_at)

    async def test_set_latest_restores_all_fields_of_the_version(
        self, assistants: AssistantStore, clock: ManualClock
    ) -> None:
        made = await a_new(assistants, ASSISTANT)
        await change(
            assistants,
            ASSISTANT,
            graph_id="Tools",
            name="Other",
            config={"configurable": {"color": "blue"}},
            metadata={"z": 1},
            has_description=True,
        )
        await clock.advance(60)
        with acting(ALICE):
            back = await assistants.set_latest(ASSISTANT, 1)
            assert back is not None
            assert back == await assistants.get(ASSISTANT)
            assert await assistants.count(AssistantFilter(metadata={"z": 1})) == 0
        assert said_by(back) == said_by(DRAFT)
        assert (back.version, back.created_at, back.updated_at) == (1, made.created_at, clock.now())
        assert [one.version for one in await versions_of(assistants, made)] == [2, 1]

    async def test_update_after_set_latest_uses_a_new_version_number(self, assistants: AssistantStore) -> None:
        made = await a_new(assistants, ASSISTANT)
        await change(assistants, ASSISTANT, name="second")
        with acting(ALICE):
            await assistants.set_latest(ASSISTANT, 1)
        third = await change(assistants, ASSISTANT, metadata={"n": 3})
        assert (third.version, third.name) == (3, "Mine")
        assert [(one.version, one.name) for one in await versions_of(assistants, made)] == [
            (3, "Mine"),
            (2, "second"),
            (1, "Mine"),
        ]

    @pytest.mark.parametrize("version", [0, -1, 2, 2**31, 10**30])
    async def test_set_latest_to_a_missing_version_raises_and_changes_nothing(
        self, assistants: AssistantStore, version: int
    ) -> None:
        made = await a_new(assistants, ASSISTANT)
        with acting(ALICE):
            with pytest.raises(VersionNotFound):
                await assistants.set_latest(ASSISTANT, version)
            assert await assistants.get(ASSISTANT) == made

    async def test_concurrent_updates_are_all_applied_with_their_own_numbers(self, assistants: AssistantStore) -> None:
        made = await a_new(assistants, ASSISTANT)
        with acting(ALICE):
            answers = await asyncio.gather(
                *(assistants.update(ASSISTANT, AssistantChange(metadata={f"k-{n}": n})) for n in range(10))
            )
            found = await assistants.get(ASSISTANT)
        assert found is not None
        assert found.metadata == {**DRAFT.metadata, **{f"k-{n}": n for n in range(10)}}
        assert sorted(answer.version for answer in answers if answer) == list(range(2, 12))
        assert found.version == 11
        versions = await versions_of(assistants, made, limit=100)
        assert [one.version for one in versions] == list(range(11, 0, -1))
        assert [len(one.metadata) for one in versions] == list(range(12, 1, -1))

    async def test_versions_returns_pages_newest_first_filtered_by_metadata(self, assistants: AssistantStore) -> None:
        made = await a_new(assistants, ASSISTANT)
        for n in range(2, 6):
            await change(assistants, ASSISTANT, metadata={"even": n % 2 == 0})
        assert [one.version for one in await versions_of(assistants, made, limit=2, offset=1)] == [4, 3]
        assert [one.version for one in await versions_of(assistants, made, metadata={"even": True})] == [4, 2]
        assert [one.version for one in await versions_of(assistants, made, metadata={"even": True}, limit=1)] == [4]
        assert await versions_of(assistants, made, limit=0) == await versions_of(assistants, made, offset=9) == []

    async def test_delete_removes_the_assistant_and_its_versions(self, assistants: AssistantStore) -> None:
        made, other = await a_new(assistants, ASSISTANT), await a_new(assistants, AssistantId("a-2"))
        await change(assistants, ASSISTANT, name="x")
        with acting(ALICE):
            assert await assistants.delete(ASSISTANT)
            assert not await assistants.delete(ASSISTANT)
            assert await assistants.get(ASSISTANT) is None
            assert await assistants.search(AssistantFilter()) == [other]
        assert await versions_of(assistants, made) == []
        assert (await a_new(assistants, ASSISTANT)).version == 1
        assert len(await versions_of(assistants, made)) == 1

    async def test_register_graphs_again_keeps_versions_of_shared_assistants(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs({"agent": None})
        assistant_id = assistant_id_of("agent")
        changed = await change(assistants, assistant_id, context={"x": 1}, metadata={"created_by": "me", "k": 1})
        assert (changed.shared, changed.version) == (True, 2)
        # Clients find it by this field.
        assert changed.metadata == {"created_by": "system", "k": 1}
        await assistants.register_graphs({"agent": None})
        with acting(BOB):
            assert await assistants.get(assistant_id) == changed
            assert [one.version for one in await assistants.versions(assistant_id)] == [2, 1]

    async def test_register_graphs_moves_an_assistant_that_has_a_graphs_id(self, assistants: AssistantStore) -> None:
        taken = await a_new(assistants, assistant_id_of("new"))
        await change(assistants, taken.assistant_id, metadata={"secret": 1})
        await assistants.register_graphs({"new": None})
        with acting(BOB):
            graph = await assistants.get(assistant_id_of("new"))
            assert graph is not None
            assert (graph.shared, graph.name, graph.version) == (True, "new", 1)
            assert [one.version for one in await assistants.versions(graph.assistant_id)] == [1]
        with acting(ALICE):
            (mine,) = await assistants.search(AssistantFilter(metadata={"secret": 1}))
        assert mine.assistant_id != taken.assistant_id
        assert [one.version for one in await versions_of(assistants, mine)] == [2, 1]


def said_by(one: AssistantDraft | AssistantRecord | AssistantVersion) -> tuple[object, ...]:
    return one.graph_id, one.name, one.config, one.context, one.metadata, one.description


async def a_new(assistants: AssistantStore, assistant_id: AssistantId) -> AssistantRecord:
    with acting(ALICE):
        return await assistants.create(DRAFT, assistant_id=assistant_id)


async def change(assistants: AssistantStore, assistant_id: AssistantId, **fields: Any) -> AssistantRecord:
    with acting(ALICE):
        changed = await assistants.update(assistant_id, AssistantChange(**fields))
    assert changed is not None
    return changed


async def versions_of(assistants: AssistantStore, one: AssistantRecord, **page: Any) -> list[AssistantVersion]:
    with acting(ALICE):
        return list(await assistants.versions(one.assistant_id, **page))

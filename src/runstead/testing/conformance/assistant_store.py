"""The conformance suite of the AssistantStore port; it covers each sentence of its contract.

Subclass it and provide ``assistants`` and the ``clock`` that it reads. Tests of changes to assistants are in
`assistant_versions`, which is included.
"""

from __future__ import annotations

from typing import Any

import pytest

from runstead.resources.assistants import AssistantFilter, AssistantStore, assistant_id_of
from runstead.runtime.actor_context import ActorRequired, acting
from runstead.runtime.runs.types import AssistantId
from runstead.testing.clock import ManualClock

from .assistant_versions import AssistantVersionsConformance
from .run_storage import ALICE, BOB

GRAPHS = {"agent": "Talks", "Tools": None, "übung": None}


class AssistantStoreConformance(AssistantVersionsConformance):
    """The suite of AssistantStore. Subclass it and provide ``assistants`` and ``clock``."""

    async def test_register_graphs_creates_one_shared_assistant_per_graph(
        self, assistants: AssistantStore, clock: ManualClock
    ) -> None:
        await assistants.register_graphs(GRAPHS)
        for actor in (ALICE, BOB):
            with acting(actor):
                found = await assistants.get(assistant_id_of("agent"))
                assert found is not None
                assert (found.graph_id, found.name, found.description) == ("agent", "agent", "Talks")
                assert (found.version, found.shared, found.config, found.context) == (1, True, {}, {})
                assert found.metadata == {"created_by": "system"}
                assert found.created_at == found.updated_at == clock.now()

    async def test_register_graphs_uses_the_given_name_of_a_graph(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs({"agent": None, "tools": None}, {"agent": "Ämter agent"})
        with acting(ALICE):
            for graph_id, name in (("agent", "Ämter agent"), ("tools", "tools")):
                found = await assistants.get(assistant_id_of(graph_id))
                assert found is not None
                assert (found.graph_id, found.name) == (graph_id, name)

    async def test_register_graphs_again_changes_nothing(self, assistants: AssistantStore, clock: ManualClock) -> None:
        await assistants.register_graphs(GRAPHS)
        with acting(ALICE):
            before = await assistants.search(AssistantFilter())
        await clock.advance(60)
        await assistants.register_graphs({"agent": "Other words"})
        with acting(ALICE):
            assert await assistants.search(AssistantFilter()) == before

    async def test_register_graphs_keeps_the_assistant_of_a_removed_graph(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs({"old": None})
        await assistants.register_graphs({"new": None})
        with acting(ALICE):
            assert await assistants.get(assistant_id_of("old")) is not None

    async def test_reads_require_an_actor(self, assistants: AssistantStore) -> None:
        with pytest.raises(ActorRequired):
            await assistants.get(AssistantId("a"))
        with pytest.raises(ActorRequired):
            await assistants.search(AssistantFilter())
        with pytest.raises(ActorRequired):
            await assistants.count(AssistantFilter())

    async def test_get_returns_none_for_unknown_ids(self, assistants: AssistantStore) -> None:
        await assistants.register_graphs(GRAPHS)
        with acting(ALICE):
            for assistant_id in ("agent", "\ud800", "' OR 1=1 --", ""):
                assert await assistants.get(AssistantId(assistant_id)) is None

    @pytest.mark.parametrize(
        ("where", "names"),
        [
            (AssistantFilter(), ["Tools", "agent", "übung"]),
            (AssistantFilter(graph_id="agent"), ["agent"]),
            (AssistantFilter(graph_id="age"), []),
            (AssistantFilter(name="TOOL"), ["Tools"]),
            (AssistantFilter(name="ÜB"), ["übung"]),
            (AssistantFilter(name="%"), []),
            (AssistantFilter(name="\ud800"), []),
            (AssistantFilter(metadata={"created_by": "system"}, name="o"), ["Tools"]),
            (AssistantFilter(metadata={"created_by": "me"}), []),
        ],
        ids=ascii,
    )
    async def test_search_combines_filters_with_and(
        self, assistants: AssistantStore, where: AssistantFilter, names: list[str]
    ) -> None:
        await assistants.register_graphs(GRAPHS)
        assert await _names(assistants, where) == names
        with acting(ALICE):
            assert await assistants.count(where) == len(names)

    async def test_search_returns_pages_in_a_stable_order(self, assistants: AssistantStore, clock: ManualClock) -> None:
        await assistants.register_graphs({"b": None})
        await clock.advance(1)
        await assistants.register_graphs({"a": None, "c": None})
        same_age = sorted(("a", "c"), key=assistant_id_of)
        assert await _names(assistants, sort_by="created_at", sort_order="desc") == [*same_age, "b"]
        assert await _names(assistants, sort_by="created_at", sort_order="asc") == ["b", *same_age]
        assert await _names(assistants, sort_by="name", sort_order="desc") == ["c", "b", "a"]
        assert await _names(assistants, limit=2, offset=1) == ["b", "c"]


async def _names(assistants: AssistantStore, where: AssistantFilter | None = None, **order: Any) -> list[str]:
    with acting(ALICE):
        found = await assistants.search(where or AssistantFilter(), **{"sort_by": "name", "sort_order": "asc", **order})
    return [assistant.name for assistant in found]

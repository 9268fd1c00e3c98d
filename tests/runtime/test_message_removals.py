"""Removals of messages by nodes are named in later checkpoints; removals by clients are not."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, RemoveMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite

from runstead.runtime.runs.message_removals import REMOVED_MESSAGES, MessageRemovals

NODE, INPUT, UPDATE = "~__pregel_pull, summarize", "~__pregel_pull, __start__", "~__interrupt__, 0000000000"
NAMED = {REMOVED_MESSAGES: {"before": "c1", "after": "c2"}}


def at(checkpoint_id: str | None, namespace: str = "") -> Any:
    return {"configurable": {"thread_id": "t", "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def saved(checkpoint_id: str, metadata: Any, *pending: Any) -> CheckpointTuple:
    checkpoint: Any = {"id": checkpoint_id}
    return CheckpointTuple(at(checkpoint_id), checkpoint, metadata, None, list(pending))


def test_removal_by_a_node_is_named_from_then_on() -> None:
    removals = MessageRemovals()
    removals.loaded(saved("c1", {"source": "loop"}))
    removals.written(at("c1"), [("messages", [RemoveMessage("m"), AIMessage("summary")])], NODE)
    assert removals.stamp(at("c1"), {"id": "c2"}) == NAMED
    assert removals.stamp(at("c2"), {"id": "c3"}) == NAMED
    removals.written(at("c3"), [("messages", Overwrite([]))], NODE)
    assert removals.stamp(at("c3"), {"id": "c4"}) == {REMOVED_MESSAGES: {"before": "c3", "after": "c4"}}


def test_removal_in_pending_writes_of_an_earlier_attempt_is_named() -> None:
    removals = MessageRemovals()
    removals.loaded(saved("c1", {"source": "loop"}, ("task", "messages", RemoveMessage("m"))))
    assert removals.stamp(at("c1"), {"id": "c2"}) == NAMED


def test_removal_by_a_client_keeps_earlier_ones_unless_it_clears_the_chat() -> None:
    for path in (INPUT, UPDATE):
        removals = MessageRemovals()
        removals.loaded(saved("c2", NAMED))
        removals.written(at("c2"), [("messages", [RemoveMessage("m")])], path)
        assert removals.stamp(at("c2"), {"id": "c3"}) == NAMED
        removals.written(at("c3"), [("messages", [RemoveMessage(REMOVE_ALL_MESSAGES)])], path)
        assert removals.stamp(at("c3"), {"id": "c4"}) == {}


def test_subgraphs_and_other_channels_are_ignored() -> None:
    removals = MessageRemovals()
    removals.loaded(saved("c1", {"source": "loop"}))
    removals.written(at("c1", "child:1"), [("messages", [RemoveMessage("m")])], NODE)
    removals.written(at("c1"), [("notes", [RemoveMessage("m")]), ("messages", AIMessage("more"))], NODE)
    assert removals.stamp(at("c1", "child:1"), {"id": "x"}) == {}
    assert removals.stamp(at("c1"), {"id": "c2"}) == {}

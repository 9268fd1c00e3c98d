"""Attribution of tokens, messages and titles in real agents, by where a call is made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import HumanMessage

from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.callbacks.callers import caller_of, is_title_caller
from runstead.runtime.runs.types import RunId, ThreadId
from tests.graphs.attributed_agents import deep_agent, lead_agent, workflow

QUESTION = (HumanMessage("Tell me of the park."),)
HISTORY = [HumanMessage(text) for text in ("a", "b", "c", "d", "Tell me of the park.")]


async def run(graph: Any, messages: Any = QUESTION, **config: Any) -> RunCallbacks:
    callbacks = RunCallbacks.build(RunId("run"), ThreadId("thread"), lambda: datetime(2030, 1, 1, tzinfo=UTC))
    await graph.ainvoke({"messages": list(messages)}, {"callbacks": callbacks.handlers(), **config})
    return callbacks


def calls(callbacks: RunCallbacks) -> dict[tuple[str, str], int]:
    """Return the number of calls by the model's name, which names the right caller, and by the caller found."""
    return {(one.model, one.caller): one.calls for one in callbacks.completion_data().models}


async def test_create_agent_attributes_calls_without_tags() -> None:
    callbacks = await run(lead_agent(), HISTORY)
    # Two titles, two guards and two summaries.
    assert calls(callbacks) == {
        ("lead", "lead_agent"): 2,
        ("subagent", "subagent"): 2,
        ("middleware", "middleware"): 6,
    }
    data = callbacks.completion_data()
    assert data.last_ai_message == "It is green and old."
    assert data.total_tokens == data.lead_agent_tokens + data.subagent_tokens + data.middleware_tokens
    assert min(data.lead_agent_tokens, data.subagent_tokens, data.middleware_tokens) > 0
    assert callbacks.title == "A walk in the park"


async def test_create_agent_records_only_the_lead_as_messages() -> None:
    taken = (await run(lead_agent())).events.take()
    said = [(event.event_type, event.content["content"]) for event in taken if event.category == "message"]
    assert said == [
        ("ai_tool_call", ""),
        ("tool_result", "The park is old."),
        ("ai_message", "It is green and old."),
    ]
    callers = {event.metadata["caller"] for event in taken if event.event_type == "llm_request"}
    assert callers == {
        "lead_agent",
        "middleware:guard",
        "middleware:TitleMiddleware",
        "subagent:researcher",
        "subagent:tools",
    }


async def test_tags_of_the_whole_run_name_no_caller() -> None:
    data = (await run(lead_agent(), tags=["lead_agent", "middleware:all"])).completion_data()
    assert min(data.lead_agent_tokens, data.subagent_tokens, data.middleware_tokens) > 0


async def test_deep_agent_attributes_its_subagent() -> None:
    callbacks = await run(deep_agent())
    assert calls(callbacks) == {("lead", "lead_agent"): 2, ("subagent", "subagent"): 1}
    assert callbacks.completion_data().last_ai_message == "It is green."
    taken = callbacks.events.take()
    said = [(event.event_type, event.content["content"]) for event in taken if event.category == "message"]
    assert said == [("ai_tool_call", ""), ("tool_result", "The park is green."), ("ai_message", "It is green.")]
    assert {event.metadata["caller"] for event in taken if event.event_type == "llm_request"} == {
        "lead_agent",
        "subagent:helper",
    }


async def test_agents_as_nodes_are_subagents_and_say_the_last_message() -> None:
    callbacks = await run(workflow())
    assert calls(callbacks) == {("subagent", "subagent"): 2}
    assert callbacks.completion_data().last_ai_message == "old"
    taken = callbacks.events.take()
    callers = [event.metadata["caller"] for event in taken if event.event_type == "llm_request"]
    assert callers == ["subagent:first", "subagent:second"]
    assert [event.content["node"] for event in taken if event.event_type == "node_start"] == ["first", "second"]


def test_caller_of_prefers_tags_over_the_place() -> None:
    assert caller_of(["subagent:search", "lead_agent"]) == "subagent:search"
    assert caller_of(["lead_agent"], {"langgraph_node": "Title.after_model"}) == "lead_agent"
    assert caller_of(["middleware:title"]) == "middleware:title"
    assert caller_of(None) == caller_of(["other"]) == "lead_agent"


def test_caller_of_reads_middleware_and_subagents_from_the_metadata() -> None:
    assert caller_of(None, {"langgraph_node": "Todo.before_agent"}) == "middleware:Todo"
    assert caller_of(None, {"langgraph_node": "model", "lc_source": "summarization"}) == "middleware:summarization"
    assert caller_of(None, {"langgraph_node": "node.with.dots"}) == "lead_agent"
    assert caller_of(None, {"langgraph_checkpoint_ns": "tools:1|2"}) == "lead_agent"
    assert caller_of(None, {"lc_agent_name": "helper"}, lead="lead") == "subagent:helper"
    assert caller_of(None, {"lc_agent_name": "lead"}, lead="lead") == "lead_agent"


def test_is_title_caller_goes_by_the_name_of_the_middleware() -> None:
    assert is_title_caller("middleware:title")
    assert is_title_caller("middleware:TitleMiddleware")
    assert not is_title_caller("middleware:SummarizationMiddleware")
    assert not is_title_caller("subagent:title")

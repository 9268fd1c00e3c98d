"""Data collected by the callbacks: tokens by caller, titles, events. Parallel calls count once each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphInterrupt

from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.callbacks.tokens import RunTokenCallback
from runstead.runtime.runs.types import RunId, ThreadId


def said(text: str, total: int = 3, **more: Any) -> LLMResult:
    usage = {"input_tokens": 1, "output_tokens": total - 1, "total_tokens": total}
    message = AIMessage(text, usage_metadata=usage, **more)
    return LLMResult(generations=[[ChatGeneration(message=message)]])


def call(tokens: RunTokenCallback, result: LLMResult, *tags: str, call_id: UUID | None = None) -> None:
    run_id = call_id or uuid4()
    tokens.on_chat_model_start({}, [[]], run_id=run_id, tags=list(tags))
    tokens.on_llm_end(result, run_id=run_id)


def callbacks() -> RunCallbacks:
    return RunCallbacks.build(RunId("run"), ThreadId("thread"), lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_tokens_are_split_by_caller() -> None:
    tokens = RunTokenCallback()
    call(tokens, said("a", 3))
    call(tokens, said("b", 5), "subagent:search")
    call(tokens, said("c", 7), "middleware:title")
    data = tokens.completion_data()
    assert (data.lead_agent_tokens, data.subagent_tokens, data.middleware_tokens) == (3, 5, 7)
    assert (data.total_tokens, data.total_input_tokens, data.total_output_tokens) == (15, 3, 12)
    assert (data.llm_call_count, data.last_ai_message) == (3, "a")


def test_call_reported_twice_is_counted_once() -> None:
    tokens = RunTokenCallback()
    call_id = uuid4()
    call(tokens, said("a"), call_id=call_id)
    tokens.on_llm_end(said("a"), run_id=call_id)
    assert tokens.completion_data().llm_call_count == 1


def test_parallel_calls_count_once_each() -> None:
    tokens = RunTokenCallback()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: call(tokens, said("a", 2)), range(500)))
    data = tokens.completion_data()
    assert (data.llm_call_count, data.total_tokens) == (500, 1_000)


def test_failed_call_is_not_counted() -> None:
    tokens = RunTokenCallback()
    call_id = uuid4()
    tokens.on_chat_model_start({}, [[]], run_id=call_id)
    tokens.on_llm_error(ValueError(), run_id=call_id)
    tokens.on_llm_end(said("late"), run_id=call_id)
    assert tokens.completion_data().llm_call_count == 0


def test_first_human_message_is_kept() -> None:
    both = callbacks()
    both.saw_input([HumanMessage("first"), HumanMessage("second")])
    assert both.completion_data().first_human_message == "first"
    assert [event.event_type for event in both.events.take()] == ["human_message", "human_message"]


def test_title_comes_from_the_title_middleware_or_a_custom_event() -> None:
    both = callbacks()
    run_id = uuid4()
    both.titles.on_chat_model_start({}, [[]], run_id=run_id, tags=["middleware:title"])
    both.titles.on_llm_end(said('  "A talk"  '), run_id=run_id)
    assert both.title == "A talk"
    both.titles.on_custom_event("title", "x" * 500, run_id=uuid4())
    assert both.title == "x" * 200
    both.titles.on_custom_event("other", "no", run_id=uuid4())
    both.titles.on_custom_event("title", {"title": "From a dict"}, run_id=uuid4())
    assert both.title == "From a dict"


def test_model_that_is_no_title_middleware_gives_no_title() -> None:
    both = callbacks()
    run_id = uuid4()
    both.titles.on_chat_model_start({}, [[]], run_id=run_id, tags=["lead_agent"])
    both.titles.on_llm_end(said("just talking"), run_id=run_id)
    assert both.title is None


def test_events_of_models_tools_and_messages_are_in_order() -> None:
    events = callbacks().events
    root, model, tool = uuid4(), uuid4(), uuid4()
    events.on_chain_start({}, {}, run_id=root)
    events.on_chain_start({}, {}, run_id=uuid4(), parent_run_id=root)
    events.on_chat_model_start({}, [[HumanMessage("hi")]], run_id=model, tags=["subagent:a"])
    events.on_llm_end(said("", tool_calls=[{"name": "add", "args": {}, "id": "c"}]), run_id=model, tags=["subagent:a"])
    events.on_tool_start({"name": "add"}, "{}", run_id=tool, inputs={"a": float("nan")})
    events.on_tool_end(ToolMessage("5", tool_call_id="c"), run_id=tool)
    events.on_custom_event("progress", {"at": 1}, run_id=uuid4())
    events.on_chain_end({}, run_id=root)
    taken = events.take()
    assert [event.event_type for event in taken] == [
        "run_start",
        "llm_request",
        "llm_response",
        "ai_tool_call",
        "tool_start",
        "tool_end",
        "tool_result",
        "custom",
        "run_end",
    ]
    assert taken[1].metadata == {"attempt": 1, "caller": "subagent:a"}
    assert taken[4].content["input"] == {"a": None}
    assert taken[3].category == "trace"
    assert {event.category for event in taken} == {"lifecycle", "trace", "message"}
    assert events.take() == []


def test_tool_that_asks_a_human_has_not_failed() -> None:
    events = callbacks().events
    events.on_tool_start({"name": "pay"}, "{}", run_id=(tool := uuid4()))
    events.on_tool_error(GraphInterrupt(), run_id=tool)
    events.on_tool_start({"name": "pay"}, "{}", run_id=(tool := uuid4()))
    events.on_tool_error(ValueError("broke"), run_id=tool)
    assert [event.event_type for event in events.take()] == ["tool_start", "tool_start", "tool_error"]


def test_unstored_events_come_first_in_the_next_flush() -> None:
    events = callbacks().events
    events.on_custom_event("a", 1, run_id=uuid4())
    taken = events.take()
    events.on_custom_event("b", 2, run_id=uuid4())
    events.put_back(taken)
    assert [event.content["name"] for event in events.take()] == ["a", "b"]

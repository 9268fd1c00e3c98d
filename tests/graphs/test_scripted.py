"""The scripted model supports everything that an agent needs of a real one, and is a function of the history."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from runstead.graphs import demo
from runstead.graphs.scripted import ScriptedChatModel, turns

CALL = {"name": "add", "args": {"a": 2, "b": 3, "note": "a long note, cut in bits"}, "id": "call-1"}
MODEL = ScriptedChatModel(script=turns(AIMessage("Let me  see.\n", tool_calls=[CALL]), AIMessage("It is 5.")))
ASKED: list[BaseMessage] = [HumanMessage("what is 2 + 3?")]


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    first, *rest = chunks
    return sum(rest, start=first)


async def test_streamed_chunks_add_up_to_the_message() -> None:
    said = await MODEL.ainvoke(ASKED)
    in_pieces = whole([chunk async for chunk in MODEL.astream(ASKED)])
    at_once = whole(list(MODEL.stream(ASKED)))

    for streamed in (in_pieces, at_once):
        assert streamed.text == said.text == "Let me  see.\n"
        assert [(call["name"], call["args"], call["id"]) for call in streamed.tool_calls] == [tuple(CALL.values())]
        assert streamed.usage_metadata == said.usage_metadata


async def test_text_is_streamed_by_word_and_a_tool_call_in_chunks() -> None:
    chunks = [chunk async for chunk in MODEL.astream(ASKED)]

    assert [chunk.text for chunk in chunks if chunk.text] == ["Let", " me", "  see.", "\n"]
    arguments = [piece["args"] for chunk in chunks for piece in chunk.tool_call_chunks]
    assert len(arguments) > 3
    assert json.loads("".join(argument or "" for argument in arguments)) == CALL["args"]


async def test_usage_counts_input_and_output_tokens() -> None:
    (usage,) = [chunk.usage_metadata async for chunk in MODEL.astream(ASKED) if chunk.usage_metadata]
    assert usage["input_tokens"] == 5
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_next_answer_depends_only_on_the_history() -> None:
    answered: list[BaseMessage] = [*ASKED, AIMessage("", tool_calls=[CALL]), ToolMessage("5", tool_call_id="call-1")]
    for model in (MODEL, ScriptedChatModel(script=MODEL.script)):
        assert (await model.ainvoke(answered)).text == "It is 5."
        assert (await model.ainvoke(ASKED)).text == "Let me  see.\n"


async def test_scripted_model_drives_an_agent_with_tools() -> None:
    ran = []

    @tool
    def add(a: int, b: int, note: str) -> int:
        """Add two numbers."""
        ran.append(note)
        return a + b

    agent: Any = create_agent(MODEL, [add])
    state = await agent.ainvoke({"messages": ASKED})

    assert [message.text for message in state["messages"]] == ["what is 2 + 3?", "Let me  see.\n", "5", "It is 5."]
    assert ran == ["a long note, cut in bits"]


async def history_after(decision: dict[str, object], question: str = "Please pay invoice 2042.") -> list[BaseMessage]:
    agent = demo.agent({"configurable": {"token_seconds": 0}})
    agent.checkpointer = InMemorySaver()
    config = {"configurable": {"thread_id": "t"}}
    stopped = await agent.ainvoke({"messages": [HumanMessage(question)]}, config)
    (asked,) = stopped["__interrupt__"]
    assert asked.value["action_requests"][0]["name"] == "send_payment"
    messages: list[BaseMessage] = (await agent.ainvoke(Command(resume={"decisions": [decision]}), config))["messages"]
    return messages


async def test_demo_agent_looks_up_asks_pays_and_reports() -> None:
    messages = await history_after({"type": "approve"})
    assert [type(message).__name__ for message in messages] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
    ]
    assert "Borealis Cloud" in messages[3].text
    assert messages[-1].text == (
        "Done. 96.00 EUR were paid after your approval; the reference is PAY-2042. The invoice is closed."
    )


async def test_demo_agent_follows_a_rejection_and_an_edit() -> None:
    refused = await history_after({"type": "reject"})
    assert "nothing was paid" in refused[-1].text

    args = {"number": "2042", "supplier": "Borealis Cloud", "amount": 50, "currency": "EUR"}
    edited = await history_after({"type": "edit", "edited_action": {"name": "send_payment", "args": args}})
    assert edited[-1].text.startswith("Done. 50.00 EUR were paid")


@pytest.mark.parametrize("question", ["", "hello", "pay 9999", "{}"])
async def test_demo_agent_answers_any_question(question: str) -> None:
    assert (await history_after({"type": "approve"}, question))[-1].text.startswith("Done.")

"""A supervisor that calls two subagents as tools."""

import os

from langchain.agents import create_agent
from langchain.chat_models import BaseChatModel, init_chat_model
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from runstead.graphs.scripted import ScriptedChatModel, turns


def chat_model(*scripted: AIMessage) -> BaseChatModel:
    """Return the model that MODEL names, or one that says ``scripted`` and needs no key."""
    if name := os.environ.get("MODEL"):
        return init_chat_model(name)
    return ScriptedChatModel(script=turns(*scripted))


researcher = create_agent(
    chat_model(AIMessage("Fact: the first lighthouse stood in Alexandria.")),
    system_prompt="Find facts. Answer in one sentence.",
    name="researcher",
)
writer = create_agent(
    chat_model(AIMessage("Long before maps, a fire in Alexandria led ships home.")),
    system_prompt="Write one vivid sentence about the facts.",
    name="writer",
)


@tool
async def research(topic: str) -> str:
    """Find facts about a topic."""
    result = await researcher.ainvoke({"messages": [{"role": "user", "content": topic}]})
    return str(result["messages"][-1].text)


@tool
async def write(facts: str) -> str:
    """Write a sentence about facts."""
    result = await writer.ainvoke({"messages": [{"role": "user", "content": facts}]})
    return str(result["messages"][-1].text)


def _call(name: str, argument: str, value: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": {argument: value}, "id": f"call-{name}"}])


agent = create_agent(
    chat_model(
        _call("research", "topic", "lighthouses"),
        _call("write", "facts", "The first lighthouse stood in Alexandria."),
        AIMessage("Long before maps, a fire in Alexandria led ships home."),
    ),
    tools=[research, write],
    system_prompt="Research first, then write.",
    name="supervisor",
)

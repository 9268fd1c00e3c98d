"""Real agents on scripted models, one model name for each caller, so that a test can name who said what."""

from __future__ import annotations

from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from runstead.graphs.scripted import ScriptedChatModel, turns


def model(name: str, *said: str | AIMessage) -> ScriptedChatModel:
    """Return a model that is named after its caller."""
    messages = [AIMessage(one) if isinstance(one, str) else one for one in said]
    return ScriptedChatModel(script=turns(*messages), model_name=name)


def calling(name: str, **args: Any) -> AIMessage:
    """Return an answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


class TitleMiddleware(AgentMiddleware):
    """Asks a model for a title, without a tag."""

    async def aafter_model(self, state: Any, runtime: Any) -> None:
        await model("middleware", "A walk in the park").ainvoke("Give a title.")


class GuardMiddleware(AgentMiddleware):
    """Asks a model around the agent's own call; only a tag can show that it is not the agent's."""

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        await model("middleware", "harmless").ainvoke("Is it harmless?", config={"tags": ["middleware:guard"]})
        return await handler(request)


@tool
async def research(question: str) -> str:
    """Ask two other agents, one of them without a name."""
    named: Any = create_agent(model("subagent", "The park is green."), name="researcher")
    unnamed: Any = create_agent(model("subagent", "The park is old."))
    await named.ainvoke({"messages": [("user", question)]})
    found = await unnamed.ainvoke({"messages": [("user", question)]})
    return str(found["messages"][-1].content)


def lead_agent(checkpointer: Any = None) -> Any:
    """Return an agent with all kinds of callers."""
    summary = model("middleware", "They talked about parks.")
    return create_agent(
        model("lead", calling("research", question="park?"), "It is green and old."),
        tools=[research],
        name="lead",
        middleware=[
            SummarizationMiddleware(model=summary, trigger=("messages", 4), keep=("messages", 3)),
            TitleMiddleware(),
            GuardMiddleware(),
        ],
        checkpointer=checkpointer,
    )


def deep_agent() -> Any:
    """Return deepagents' agent, which delegates to a subagent by its ``task`` tool."""
    helper = {
        "name": "helper",
        "description": "helps",
        "system_prompt": "Help.",
        "model": model("subagent", "The park is green."),
    }
    delegating = calling("task", description="park?", subagent_type="helper")
    lead = model("lead", delegating, "It is green.")
    return create_deep_agent(model=lead, subagents=[helper])  # type: ignore[list-item]


def workflow() -> Any:
    """Return a graph whose nodes are agents."""
    first, second = create_agent(model("subagent", "green")), create_agent(model("subagent", "old"), name="second")
    graph = StateGraph(MessagesState).add_node("first", first).add_node("second", second)
    return graph.add_edge(START, "first").add_edge("first", "second").compile()

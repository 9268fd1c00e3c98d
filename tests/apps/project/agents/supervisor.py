"""A supervisor whose workers are other agents of this server, called through `RemoteGraph`."""

from __future__ import annotations

import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph

from agents.models import load_chat_model


def remote(name: str, config: RunnableConfig) -> RemoteGraph:
    user = config["configurable"]["langgraph_auth_user_id"]
    return RemoteGraph(name, url=os.environ["AGENTS_URL"], headers={"authorization": f"Bearer {user}"})


async def ask_reactor(question: str, config: RunnableConfig) -> str:
    """Ask the ReAct agent."""
    values: Any = await remote("react", config).ainvoke({"messages": [{"role": "user", "content": question}]})
    return f"{values['messages'][-1]['content']}"


async def ask_counter(name: str, config: RunnableConfig) -> str:
    """Ask the agent that counts visits."""
    streamed: list[Any] = [values async for values in remote("visits", config).astream({"page": name})]
    return f"{streamed[-1]['greet']['greeting']}"


graph = create_agent(
    load_chat_model("openai/gpt-5"),
    [ask_reactor, ask_counter],
    system_prompt="You manage a team. Give work to one or both.",
    name="supervisor",
)

"""A graph that counts visits with the pools that the application and the auth handler use."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from agents import pools
from agents.models import load_chat_model


class State(TypedDict, total=False):
    page: str
    visits: int
    cached: int
    greeting: str


async def count(state: State, config: RunnableConfig) -> State:
    name = config["configurable"]["langgraph_auth_user_id"]
    return {"visits": await pools.visit(name, state["page"], str(config["metadata"]["run_id"]))}


async def read_back(state: State, config: RunnableConfig) -> State:
    name = config["configurable"]["langgraph_auth_user_id"]
    return {"cached": int(await pools.redis_client.get(f"visits:{name}:{state['page']}"))}


async def greet(state: State, config: RunnableConfig) -> dict[str, Any]:
    name = config["configurable"]["langgraph_auth_user_id"]
    said = await load_chat_model("openai/gpt-5-mini").ainvoke(f"welcome {name} to {state['page']}")
    return {"greeting": said.text}


builder = StateGraph(State)
builder.add_node(count)
builder.add_node(read_back)
builder.add_node(greet)
builder.add_edge(START, "count")
builder.add_edge("count", "read_back")
builder.add_edge("read_back", "greet")
graph = builder.compile()

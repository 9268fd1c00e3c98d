"""An agent with memory, in the style of the memory-agent template: a store with semantic search, per user."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import SystemMessage
from langchain_openai import OpenAIEmbeddings
from langgraph.config import get_config
from langgraph.graph import END, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from agents.models import load_chat_model

# Without its tokenizer, which would be a download.
embeddings = OpenAIEmbeddings(model="text-embedding-3-small", dimensions=256, check_embedding_ctx_length=False)


async def embed(texts: list[str]) -> list[list[float]]:
    """Embed texts for the store."""
    return await embeddings.aembed_documents(texts)


@dataclass(kw_only=True)
class Context:
    """The context for the agent."""

    model: str = "openai/gpt-5"
    max_memories: int = 10


def own_namespace() -> tuple[str, str]:
    return ("memories", get_config()["configurable"]["langgraph_auth_user_id"])


async def upsert_memory(content: str, context: str, *, namespace: tuple[str, str], store: BaseStore) -> str:
    """Store a memory."""
    key = uuid.uuid5(uuid.NAMESPACE_URL, content)
    await store.aput(namespace, str(key), {"content": content, "context": context})
    return f"Stored memory {key}"


TOOL = {
    "name": "upsert_memory",
    "description": "Upsert a memory in the database.",
    "parameters": {
        "type": "object",
        "properties": {"content": {"type": "string"}, "context": {"type": "string"}},
        "required": ["content", "context"],
    },
}


async def call_model(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    assert runtime.store is not None
    query = next(message.text for message in reversed(state["messages"]) if message.type == "human")
    found = await runtime.store.asearch(own_namespace(), query=query, limit=int(runtime.context.max_memories))
    memories = "; ".join(item.value["content"] for item in found)
    model = load_chat_model(runtime.context.model).bind_tools([TOOL])
    said = await model.ainvoke([SystemMessage(f"You know: <memories>{memories}</memories>"), *state["messages"]])
    return {"messages": [said]}


async def store_memory(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    store = runtime.store
    assert store is not None
    calls = getattr(state["messages"][-1], "tool_calls", [])
    namespace = own_namespace()
    saved = await asyncio.gather(*(upsert_memory(**call["args"], namespace=namespace, store=store) for call in calls))
    results = [
        {"role": "tool", "content": text, "tool_call_id": call["id"]} for call, text in zip(calls, saved, strict=True)
    ]
    return {"messages": results}


def route_message(state: MessagesState) -> Literal["store_memory", "__end__"]:
    return "store_memory" if getattr(state["messages"][-1], "tool_calls", None) else "__end__"


builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node(call_model)
builder.add_node(store_memory)
builder.add_edge("__start__", "call_model")
builder.add_conditional_edges("call_model", route_message, ["store_memory", END])
builder.add_edge("store_memory", "call_model")
graph = builder.compile(name="MemoryAgent")

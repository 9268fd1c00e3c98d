"""A factory that builds a different graph for each user: tools and prompt depend on the plan."""

import os

from langchain.agents import create_agent
from langchain.chat_models import BaseChatModel, init_chat_model
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool

from runstead.graphs.scripted import ScriptedChatModel, turns

PLANS = {"ada": "premium"}


@tool
def search_archive(query: str) -> str:
    """Search the archive. For premium users."""
    return f"three documents about {query}"


def chat_model(plan: str) -> BaseChatModel:
    """Return the model that MODEL names, or a scripted one that needs no key."""
    if name := os.environ.get("MODEL"):
        return init_chat_model(name)
    if plan == "premium":
        call = {"name": "search_archive", "args": {"query": "ships"}, "id": "call-1"}
        return ScriptedChatModel(script=turns(AIMessage("", tool_calls=[call]), AIMessage("I found three documents.")))
    return ScriptedChatModel(script=turns(AIMessage("Your plan has no archive.")))


def agent(config: RunnableConfig):  # type: ignore[no-untyped-def]
    """Build the graph of one run. Called again for each run, and when the state of a thread is read."""
    user = config.get("configurable", {}).get("user_id", "")
    plan = PLANS.get(user, "basic")
    tools: list[BaseTool] = [search_archive] if plan == "premium" else []
    return create_agent(chat_model(plan), tools=tools, system_prompt=f"You serve {user}, plan {plan}.")

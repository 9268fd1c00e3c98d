"""A deep agent: files in its state, a plan, and subagents that it delegates tasks to."""

from __future__ import annotations

from typing import Any

from deepagents import create_deep_agent
from langchain.agents.middleware import TodoListMiddleware
from langchain_anthropic import ChatAnthropic


async def internet_search(query: str) -> str:
    """Run a web search."""
    return f"found {query}"


RESEARCHER: Any = {
    "name": "researcher",
    "description": "Researches one question in depth.",
    "system_prompt": "You are a dedicated researcher.",
    "tools": [internet_search],
}
CRITIC: Any = {
    "name": "critic",
    "description": "Reads drafts and finds what is missing.",
    "system_prompt": "You are a dedicated editor.",
}

agent = create_deep_agent(
    model=ChatAnthropic(model_name="claude-sonnet-4", timeout=60, stop=None),
    tools=[internet_search],
    system_prompt="You are an expert researcher. Write the report into report.md.",
    middleware=[TodoListMiddleware()],
    subagents=[RESEARCHER, CRITIC],
)

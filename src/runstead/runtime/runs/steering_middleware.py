"""Middleware for agents of LangChain that delivers steering messages."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState
from langgraph.runtime import Runtime

from ..json_types import JsonObject
from .message_inbox import atake_messages, take_messages


class SteeringMiddleware(AgentMiddleware[Any, Any, Any]):
    """Adds the messages that were sent to the run while it was going on, before each call of the model.

    ```python
    agent = create_agent(model, tools, middleware=[SteeringMiddleware()])
    ```
    """

    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> JsonObject | None:
        """Return the waiting messages as an update of the state."""
        taken = take_messages()
        return {"messages": taken} if taken else None

    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> JsonObject | None:
        """As `before_model`."""
        taken = await atake_messages()
        return {"messages": taken} if taken else None

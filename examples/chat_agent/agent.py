"""A chat agent with one tool."""

import os

from langchain.agents import create_agent
from langchain.chat_models import BaseChatModel, init_chat_model
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from runstead.graphs.scripted import ScriptedChatModel, turns


@tool
def weather(city: str) -> str:
    """Return today's weather in a city."""
    return f"Sunny in {city}, 22 degrees."


def chat_model() -> BaseChatModel:
    """Return the model that MODEL names, or a scripted one that needs no key."""
    if name := os.environ.get("MODEL"):
        return init_chat_model(name)
    call = {"name": "weather", "args": {"city": "Lisbon"}, "id": "call-1"}
    answer = AIMessage("It is sunny in Lisbon, 22 degrees.")
    return ScriptedChatModel(script=turns(AIMessage("Let me look.", tool_calls=[call]), answer), delay=0.02)


agent = create_agent(chat_model(), tools=[weather], name="chat_agent")

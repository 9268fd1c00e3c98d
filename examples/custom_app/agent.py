"""An agent that is served next to the routes of app.py."""

import os

from langchain.agents import create_agent
from langchain.chat_models import BaseChatModel, init_chat_model
from langchain_core.messages import AIMessage

from runstead.graphs.scripted import ScriptedChatModel, turns


def chat_model() -> BaseChatModel:
    """Return the model that MODEL names, or a scripted one that needs no key."""
    if name := os.environ.get("MODEL"):
        return init_chat_model(name)
    return ScriptedChatModel(script=turns(AIMessage("Forty-two.")))


agent = create_agent(chat_model(), tools=[], name="custom_app")

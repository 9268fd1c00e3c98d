"""An agent whose e-mails wait for a person's approval."""

import os

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.chat_models import BaseChatModel, init_chat_model
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from runstead.graphs.scripted import ScriptedChatModel, turns


@tool
def send_email(to: str, text: str) -> str:
    """Send an e-mail."""
    return f"sent to {to}: {text}"


def chat_model() -> BaseChatModel:
    """Return the model that MODEL names, or a scripted one that needs no key."""
    if name := os.environ.get("MODEL"):
        return init_chat_model(name)
    call = {"name": "send_email", "args": {"to": "ada@example.org", "text": "The report is ready."}, "id": "call-1"}
    return ScriptedChatModel(script=turns(AIMessage("", tool_calls=[call]), AIMessage("The e-mail is out.")))


approval = HumanInTheLoopMiddleware(interrupt_on={"send_email": {"allowed_decisions": ["approve", "edit", "reject"]}})
agent = create_agent(chat_model(), tools=[send_email], middleware=[approval], name="human_approval")

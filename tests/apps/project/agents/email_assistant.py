"""An email assistant: a router, and an agent whose tools need a human's approval for each call."""

from __future__ import annotations

from typing import Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from agents.models import load_chat_model

TRIAGE = """Sort the email. <script>
json {"classification": "respond"}
</script>"""


class RouterSchema(BaseModel):
    """Triage result of an email."""

    classification: Literal["ignore", "respond", "notify"]


class EmailInput(MessagesState):
    email_input: dict[str, Any]


class State(MessagesState):
    email_input: dict[str, Any]
    classification: str


def write_email(to: str, subject: str) -> str:
    """Write and send an email."""
    return f"sent {subject} to {to}"


def schedule_meeting(day: str) -> str:
    """Schedule a meeting."""
    return f"meeting on {day}"


def check_calendar(day: str) -> str:
    """Check the calendar of a day."""
    return f"{day} is free"


async def triage_router(state: State) -> Command[Literal["response_agent", "__end__"]]:
    email = state["email_input"]
    router = load_chat_model("openai/gpt-5").with_structured_output(RouterSchema)
    said: Any = await router.ainvoke([SystemMessage(TRIAGE), HumanMessage(email["subject"])])
    if said.classification != "respond":
        return Command(
            goto="__end__", update={"classification": said.classification, "messages": [AIMessage("ignored")]}
        )
    update = {"classification": said.classification, "messages": [HumanMessage(email["body"])]}
    return Command(goto="response_agent", update=update)


response_agent = create_agent(
    load_chat_model("openai/gpt-5"),
    [write_email, schedule_meeting, check_calendar],
    system_prompt="Answer the email.",
    middleware=[
        HumanInTheLoopMiddleware(
            interrupt_on={
                "write_email": True,
                "schedule_meeting": {"allowed_decisions": ["approve", "reject"]},
            },
            interrupt_mode="per_call",
        )
    ],
)

builder = StateGraph(State, input_schema=EmailInput)
builder.add_node(triage_router)
builder.add_node("response_agent", response_agent)
builder.add_edge(START, "triage_router")
builder.add_edge("response_agent", END)
graph = builder.compile()

"""A research agent: a brief, parallel researchers started by `Send`, each with parallel subagents, and a report."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, Literal, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel

from agents.models import load_chat_model

CLARIFY = """Decide whether the question is clear. <script>
json {"need_clarification": false, "question": ""}
</script>"""
BRIEF = """Write a research brief, and the topics to look into. <script>
json {"brief": "all about {input}", "topics": ["{input} past", "{input} future"]}
</script>"""
SEARCHER = """Look into what you are asked. <script>
call web_search {"query": "{input}"}
say {tool}
</script>"""
REPORT = """Write the report from the findings. <script>
say Report on {input}
</script>"""


class ClarifyWithUser(BaseModel):
    """Decision to ask the user or not."""

    need_clarification: bool
    question: str


class Brief(BaseModel):
    """The research question."""

    brief: str
    topics: list[str]


class InputState(MessagesState):
    """The input: messages only."""


class OutputState(MessagesState):
    """The output, without notes and brief."""

    final_report: str


class ResearchState(MessagesState):
    """The state of the whole graph."""

    brief: str
    topics: list[str]
    notes: Annotated[list[str], operator.add]
    final_report: str


class TopicState(TypedDict):
    topic: str


class NotesState(TypedDict):
    notes: Annotated[list[str], operator.add]


class ResearcherState(TopicState, NotesState):
    """The state of one researcher."""


async def web_search(query: str) -> str:
    """Search the web."""
    await asyncio.sleep(0)
    return f"found {query}"


searcher = create_agent(load_chat_model("anthropic/claude-sonnet-4"), [web_search], system_prompt=SEARCHER)


async def clarify_with_user(state: ResearchState) -> Command[Literal["write_brief", "__end__"]]:
    model = load_chat_model("anthropic/claude-sonnet-4").with_structured_output(ClarifyWithUser)
    said: Any = await model.ainvoke([SystemMessage(CLARIFY), *state["messages"]])
    if said.need_clarification:
        return Command(goto="__end__", update={"messages": [AIMessage(said.question)]})
    return Command(goto="write_brief")


async def write_brief(state: ResearchState) -> dict[str, Any]:
    model = load_chat_model("anthropic/claude-sonnet-4").with_structured_output(Brief)
    said: Any = await model.ainvoke([SystemMessage(BRIEF), *state["messages"]])
    return {"brief": said.brief, "topics": said.topics}


def assign(state: ResearchState) -> list[Send]:
    return [Send("researcher", {"topic": topic}) for topic in state["topics"]]


async def look_up(state: ResearcherState, config: RunnableConfig) -> dict[str, Any]:
    """Ask two subagents in parallel."""
    questions = [f"{state['topic']}, {side}" for side in ("for", "against")]
    answers = await asyncio.gather(
        *(searcher.ainvoke({"messages": [HumanMessage(question)]}, config) for question in questions)
    )
    return {"notes": [answer["messages"][-1].text for answer in answers]}


async def final_report(state: ResearchState) -> dict[str, Any]:
    model = load_chat_model("anthropic/claude-sonnet-4")
    findings = "\n".join(sorted(state["notes"]))
    said = await model.ainvoke([SystemMessage(REPORT), HumanMessage(f"{state['brief']}:\n{findings}")])
    return {"messages": [said], "final_report": said.text}


researcher = (
    StateGraph(ResearcherState, input_schema=TopicState, output_schema=NotesState)
    .add_node(look_up)
    .add_edge(START, "look_up")
    .compile()
)
builder = StateGraph(ResearchState, input_schema=InputState, output_schema=OutputState)
builder.add_node(clarify_with_user)
builder.add_node(write_brief)
builder.add_node("researcher", researcher)
builder.add_node("final_report", final_report)
builder.add_edge(START, "clarify_with_user")
builder.add_conditional_edges("write_brief", assign, ["researcher"])
builder.add_edge("researcher", "final_report")
graph = builder.compile()

"""Author code that raises: in reducers, in state validators, in factories, in schemas."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict


class NotFromHere(Exception):
    """An error as raised by libraries: its text is not for users."""


def picky(old: list[str] | None, new: str) -> list[str]:
    match new:
        case "attribute":
            return old.nothing  # type: ignore[union-attr, no-any-return]
        case "assertion":
            raise AssertionError("picky says no")
        case "index":
            return [][1]
        case "custom":
            raise NotFromHere("host db-7, password hush")
        case "zero":
            return 1 // 0  # type: ignore[return-value]
        case "exit":
            raise SystemExit(3)
        case "stop":
            raise StopIteration
        case "nameless":
            raise _Speechless
    return [*(old or []), new]


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def append(current: list[str] | None, writes: list[list[str]]) -> list[str]:
    return [*(current or []), *(item for write in writes for item in write)]


class Picky(TypedDict, total=False):
    items: Annotated[list[str], picky]
    note: str
    log: Annotated[list[str], DeltaChannel(append, snapshot_frequency=1_000)]


reducing = (
    StateGraph(Picky)
    .add_node("ask", lambda _: {"note": interrupt("go on?")})
    .add_node("n", lambda _: {"note": "ran", "log": ["ran"]})
    .add_edge(START, "n")
    .compile()
)


class Validated(BaseModel):
    """A state that can be stored but is rejected by the next node."""

    word: str = ""
    said: Annotated[list[str], operator.add] = []
    answer: Any = None

    @field_validator("word")
    @classmethod
    def _is_polite(cls, word: str) -> str:
        if word == "rude":
            raise ValueError("say it politely")
        return word


def _say(state: Validated) -> dict[str, Any]:
    return {"word": "rude" if state.said == ["turn rude"] else state.word, "said": ["said"]}


validating = (
    StateGraph(Validated)
    .add_node("say", _say)
    .add_node("ask", lambda state: {"answer": interrupt(f"{state.word}?")})
    .add_edge(START, "say")
    .add_edge("say", "ask")
    .compile()
)


def tenanted(config: RunnableConfig) -> StateGraph[Picky]:
    """A factory that raises without a tenant, and for a deleted one."""
    tenant = config["configurable"]["tenant"]
    if tenant in GONE:
        raise RuntimeError(f"tenant {tenant} has left")
    ask = {"items": "a", "note": tenant, "log": ["asked"]}
    graph = StateGraph(Picky).add_node("first", lambda _: ask).add_node("ask", lambda _: {"note": interrupt("well?")})
    return graph.add_edge(START, "first").add_edge("first", "ask")


GONE: set[str] = set()


class Gone(TypedDict):
    tenant: str


def _leave(state: Gone) -> dict[str, Any]:
    # The server runs in another thread or process: only a run can reach its module.
    GONE.add(state["tenant"])
    return {}


leaving = StateGraph(Gone).add_node("leave", _leave).add_edge(START, "leave")


def forgetful(config: RunnableConfig) -> Any:
    """A factory that does not return its graph unless asked to."""
    graph = StateGraph(Gone).add_node("leave", lambda _: {}).add_edge(START, "leave")
    return graph if config["configurable"].get("remembers") else None

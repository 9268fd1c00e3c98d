"""A graph whose nodes use the store and the state in every way that could wait for handlers."""

from __future__ import annotations

from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    """A use of the store (``how``), and the result."""

    how: str
    found: str


async def use(state: State, config: RunnableConfig) -> State:
    store, how = get_store(), state["how"]
    try:
        if how == "blocking":
            store.put(("notes",), "a", {"note": "remembered"})
        else:
            await store.aput(("notes",), "a", {"note": "remembered"})
    except Exception as error:
        return {"found": f"{type(error).__name__}: {error}"}
    found = await store.aget(("notes",), "a")
    return {"found": "" if found is None else found.value["note"]}


def use_in_a_thread(state: State) -> State:
    store = get_store()
    store.put(("notes",), "b", {"note": "remembered in a thread"})
    found = store.get(("notes",), "b")
    return {"found": f"{state.get('found')}, {found.value['note'] if found else ''}"}


graph = (
    StateGraph(State)
    .add_node(use)
    .add_node(use_in_a_thread)
    .add_edge(START, "use")
    .add_edge("use", "use_in_a_thread")
    .compile()
)

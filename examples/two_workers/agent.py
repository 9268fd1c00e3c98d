"""A graph that says which worker process executed it."""

import os
import time

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """Input and output of the graph."""

    seconds: float
    worker: int


def work(state: State) -> State:
    """Take some time, and name this process."""
    time.sleep(state.get("seconds", 1.0))
    return {"worker": os.getpid()}


graph = StateGraph(State).add_node(work).add_edge(START, "work").compile(name="two_workers")

"""A fake agent: it implements the part of LangGraph's Pregel that the kernel calls, and follows a script.

Its state is only in its checkpointer, so that an attempt continues exactly where the previous one was cut off. The
state's ``log`` has one line per finished step, so that tests can compare disturbed runs with undisturbed ones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import PregelTask
from langgraph.types import StateSnapshot as GraphState

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.exceptions import AgentNotFound

from .environment import AgentEnvironment
from .script_execution import NODE, ScriptExecution
from .state import AgentMemory


@dataclass(frozen=True, slots=True)
class FakeAgent:
    """The agent of one run. `copy` sets its checkpointer, as in LangGraph."""

    stage: AgentEnvironment
    checkpointer: Any = None

    def copy(self, update: JsonMapping | None = None) -> FakeAgent:
        checkpointer = (update or {}).get("checkpointer", self.checkpointer)
        return replace(self, checkpointer=checkpointer)

    @property
    def builder(self) -> Any:
        """Return the builder of the graph's shape: one node that answers."""
        return _shape().builder

    @property
    def channels(self) -> JsonMapping:
        """Return the channels of the graph with their reducers."""
        channels: JsonMapping = _shape().channels
        return channels

    @property
    def _memory(self) -> AgentMemory:
        return AgentMemory(self.checkpointer, self.stage)

    async def astream(
        self,
        input: Any,
        config: Any = None,
        *,
        stream_mode: Sequence[str] = ("values",),
        subgraphs: bool = False,
        durability: str = "async",
        interrupt_before: str | Sequence[str] | None = None,
        **options: Any,
    ) -> AsyncGenerator[Any, None]:
        play = ScriptExecution(self._memory, config, frozenset(stream_mode), durability, bool(interrupt_before))
        try:
            async for mode, chunk in play.perform(input):
                yield ((), mode, chunk) if subgraphs else (mode, chunk)
        finally:
            await play.finish()

    async def astream_events(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[JsonObject]:
        """Yield the root's chunks wrapped as LangChain events, after one event of a model."""
        yield {"event": "on_chain_start", "run_id": "root", "name": NODE, "data": {}, "tags": [], "metadata": {}}
        yield {
            "event": "on_chat_model_start",
            "run_id": "model",
            "name": "fake",
            "data": {},
            "tags": [],
            "metadata": {},
        }
        options.pop("version", None)
        async for chunk in self.astream(input, config, **options):
            yield {"event": "on_chain_stream", "run_id": "root", "name": NODE, "data": {"chunk": chunk}}

    async def aget_state(self, config: Any, *, subgraphs: bool = False) -> GraphState:
        state = await self._memory.read(config)
        tasks: tuple[PregelTask, ...] = ()
        if state.steps_left:
            asked = (state.question,) if state.values["asking"] else ()
            tasks = (PregelTask(id=state.task_id, name=NODE, path=(NODE,), interrupts=asked),)
        return GraphState(
            values=state.visible if state.config else {},
            next=(NODE,) if tasks else (),
            config=state.config or RunnableConfig(configurable={"thread_id": config["configurable"]["thread_id"]}),
            metadata=state.metadata,
            created_at=None,
            parent_config=state.parent,
            tasks=tasks,
            interrupts=tuple(interrupt for task in tasks for interrupt in task.interrupts),
        )

    async def aupdate_state(self, config: Any, values: Any, as_node: str | None = None) -> Any:
        state = await self._memory.read(config)
        state.values["messages"] = [*state.values["messages"], *(values or {}).get("messages", ())]
        state.values["log"] = [*state.values["log"], *(values or {}).get("log", ())]
        return await self._memory.write(state, config, "update")


@lru_cache(maxsize=1)
def _shape() -> Any:
    graph = StateGraph(MessagesState).add_node(NODE, lambda state: state)
    return graph.add_edge(START, NODE).add_edge(NODE, END).compile()


@dataclass(frozen=True, slots=True)
class FakeAgents:
    """An AgentResolver whose graphs are all fake agents on one stage."""

    stage: AgentEnvironment = field(default_factory=AgentEnvironment)
    graph_ids: Sequence[str] = ("agent",)

    def resolve(self, graph_id: str) -> FakeAgents:
        if graph_id not in self.graph_ids:
            raise AgentNotFound(graph_id, self.graph_ids)
        return self

    async def context_schema(self) -> None:
        """Return None: fake agents have no context."""

    @asynccontextmanager
    async def build(self, config: JsonMapping, store: Any = None) -> AsyncIterator[FakeAgent]:
        yield FakeAgent(self.stage)

"""A fake agent: it speaks the part of LangGraph's Pregel that the kernel calls, and follows a script.

Its state lives in the checkpointer it is given and nowhere else, so that an attempt goes on exactly where the one
before was cut off. The state's ``log`` holds one line per finished step: a run that was disturbed is compared with one
that was not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.types import Command, Interrupt, PregelTask
from langgraph.types import StateSnapshot as GraphState

from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.runs.exceptions import AgentNotFound

from .effects import Effects
from .script import Script, Step, entry

NODE: Final = "work"
_CHANNELS: Final = ("log", "messages", "script", "position", "asking")


class AgentFailed(Exception):
    """What a step that is to fail raises."""


async def _at_once() -> None:
    return


@dataclass(frozen=True, slots=True)
class Stage:
    """Where fake agents play: their time, what they leave in the world, and a call made before each step."""

    clock: Clock = field(default_factory=SystemClock)
    effects: Effects = field(default_factory=lambda: Effects(SystemClock()))
    worker: str = ""
    before_step: Callable[[], Awaitable[None]] = _at_once
    waits_for_writes: bool = True
    """LangGraph does not let go of a run before its checkpoints are written; agent code of one's own may."""
    numbers: Any = field(default_factory=lambda: count(1))
    """Makes the ids of checkpoints; shared by all stages over one checkpoint store, for ids grow with time."""


@dataclass(slots=True)
class _State:
    """A thread's state between two steps, and the checkpoint it was read from or written to."""

    values: dict[str, Any]
    config: Any = None
    metadata: Any = None
    parent: Any = None

    @property
    def script(self) -> Script | None:
        script = self.values.get("script")
        return None if script is None else Script.from_input(script)

    @property
    def steps_left(self) -> int:
        script = self.script
        return 0 if script is None else len(script.steps) - int(self.values["position"])

    @property
    def visible(self) -> dict[str, Any]:
        return {"log": list(self.values["log"]), "messages": list(self.values["messages"])}


@dataclass(frozen=True, slots=True)
class FakeAgent:
    """One run's agent. `copy` gives it its checkpointer, as LangGraph does."""

    stage: Stage
    checkpointer: Any = None

    def copy(self, update: Mapping[str, Any] | None = None) -> FakeAgent:
        checkpointer = (update or {}).get("checkpointer", self.checkpointer)
        return replace(self, checkpointer=checkpointer)

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
    ) -> AsyncIterator[Any]:
        play = _Play(self, config, frozenset(stream_mode), durability, bool(interrupt_before))
        try:
            async for mode, chunk in play.perform(input):
                yield ((), mode, chunk) if subgraphs else (mode, chunk)
        finally:
            await play.finish()

    async def astream_events(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[dict[str, Any]]:
        """The root's chunks, wrapped as LangChain's events, after one event of a model."""
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
        state = await self.read(config)
        tasks: tuple[PregelTask, ...] = ()
        if state.steps_left:
            asked = (_interrupt_of(state),) if state.values["asking"] else ()
            tasks = (PregelTask(id=f"task-{state.values['position']}", name=NODE, path=(NODE,), interrupts=asked),)
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
        state = await self.read(config)
        state.values["messages"] = [*state.values["messages"], *(values or {}).get("messages", ())]
        state.values["log"] = [*state.values["log"], *(values or {}).get("log", ())]
        return await self.write(state, config, "update")

    async def read(self, config: Any) -> _State:
        """The state at the config's checkpoint, or the thread's latest."""
        place = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}
        if checkpoint_id := config["configurable"].get("checkpoint_id"):
            place["checkpoint_id"] = checkpoint_id
        found = await self.checkpointer.aget_tuple({"configurable": place})
        if found is None:
            return _State({"log": [], "messages": [], "script": None, "position": 0, "asking": False})
        values = dict(found.checkpoint["channel_values"])
        return _State(values, found.config, found.metadata, found.parent_config)

    async def write(self, state: _State, config: Any, source: str) -> Any:
        """Put the state behind the checkpoint it came from."""
        number = next(self.stage.numbers)
        checkpoint = {
            "v": 4,
            "id": f"checkpoint-{number:09d}",
            "ts": self.stage.clock.now().isoformat(),
            "channel_values": dict(state.values),
            "channel_versions": dict.fromkeys(_CHANNELS, f"{number:09d}"),
            "versions_seen": {},
            "updated_channels": None,
        }
        configurable = config["configurable"]
        parent = (state.config or {}).get("configurable", {}).get("checkpoint_id")
        place = {"thread_id": configurable["thread_id"], "checkpoint_ns": "", "checkpoint_id": parent}
        metadata = {"source": source, "step": int(state.values["position"]), "parents": {}}
        state.config = await self.checkpointer.aput(
            {"configurable": place}, checkpoint, metadata, checkpoint["channel_versions"]
        )
        return state.config


class _Play:
    """One call of ``astream``."""

    def __init__(self, agent: FakeAgent, config: Any, modes: frozenset[str], durability: str, breaks: bool) -> None:
        self._agent, self._config, self._modes = agent, config, modes
        self._durability, self._breaks = durability, breaks
        self._writing: asyncio.Task[Any] | None = None
        self._unwritten: _State | None = None
        self._last: _State | None = None
        self._asked: Interrupt | None = None

    async def perform(self, input: Any) -> AsyncIterator[tuple[str, Any]]:
        state = await self._agent.read(self._config)
        answer = await self._take_in(state, input)
        if "values" in self._modes:
            yield "values", state.visible
        is_first = True
        while state.steps_left:
            if self._breaks and not (is_first and input is None):
                break
            is_first = False
            async for chunk in self._step(state, answer):
                yield chunk
            if state.values["asking"]:
                break

    async def _take_in(self, state: _State, input: Any) -> Any:
        """Begin a script, answer a question, or go on. Returns the answer."""
        if isinstance(input, Command):
            if input.resume is not None and state.values["asking"]:
                # LangGraph keeps the answer as a pending write on the checkpoint that asked.
                await self._agent.checkpointer.aput_writes(
                    state.config, [(RESUME, input.resume)], f"task-{state.values['position']}"
                )
                state.values["asking"] = False
                return input.resume
            if input.update:
                state.values["log"] = [*state.values["log"], *dict(input.update).get("log", ())]
                await self._agent.write(state, self._config, "update")
        elif input is not None:
            state.values.update(script=dict(input), position=0, asking=False)
            await self._keep(state, "loop", is_input=True)
        return None

    async def _step(self, state: _State, answer: Any) -> AsyncIterator[tuple[str, Any]]:
        stage, script, number = self._agent.stage, state.script, int(state.values["position"])
        assert script is not None
        step = script.steps[number]
        await stage.before_step()
        identity = self._config["configurable"]
        attempt = int(self._config["metadata"].get("run_attempt", 0))
        with stage.effects.at_work(
            identity["thread_id"], identity["run_id"], attempt, f"{script.label}.{number}", stage.worker
        ):
            async for chunk in self._speak(script, number, step):
                yield chunk
            await self._do(step, script)
        if step.does == "ask" and answer is None:
            state.values["asking"] = True
            await self._keep(state, "loop")
            asked = self._asked = _interrupt_of(state)
            yield "updates", {"__interrupt__": (asked,)}
            yield "values", {**state.visible, "__interrupt__": (asked,)}
            return
        state.values["log"] = [*state.values["log"], entry(script.label, number, step, answer)]
        state.values["position"] = number + 1
        await self._keep(state, "loop")
        if "updates" in self._modes:
            yield "updates", {NODE: {"log": state.values["log"][-1:]}}
        if "values" in self._modes:
            yield "values", state.visible

    async def _speak(self, script: Script, number: int, step: Step) -> AsyncIterator[tuple[str, Any]]:
        pause = step.takes / (step.chunks + 1)
        metadata = {"langgraph_node": NODE, "langgraph_step": number}
        for place in range(step.chunks):
            await self._agent.stage.clock.sleep(pause)
            if "messages" in self._modes:
                message_id = f"{script.label}.{number}.{self._config['metadata'].get('run_attempt', 0)}"
                yield "messages", (AIMessageChunk(content=f"token-{place} ", id=message_id), metadata)
            if "custom" in self._modes:
                yield "custom", {"label": script.label, "step": number, "token": place}
        await self._agent.stage.clock.sleep(pause)

    async def _do(self, step: Step, script: Script) -> None:
        if step.does == "fail":
            raise AgentFailed(f"{script.label} was told to fail")
        if step.does == "hang":
            await asyncio.get_running_loop().create_future()

    async def _keep(self, state: _State, source: str, is_input: bool = False) -> None:
        """Write a checkpoint when the durability says: before the next step, beside it, or at the exit."""
        await self._written()
        self._last = state
        if self._durability == "exit":
            # Nothing at all before the end: a lost attempt begins again with the run's input.
            self._unwritten = state
            return
        # A copy: the next step works on the state while this is being written.
        frozen = _State(dict(state.values), state.config)
        if self._durability == "sync" or is_input:
            state.config = await self._agent.write(frozen, self._config, source)
            return

        async def put() -> None:
            state.config = await self._agent.write(frozen, self._config, source)

        self._writing = asyncio.ensure_future(put())

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            # Shielded, as LangGraph does it: a stop in the middle of a write does not lose the step.
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            if self._agent.stage.waits_for_writes:
                await asyncio.wait({writing})
            raise

    async def finish(self) -> None:
        """What must be durable when the stream is over, however it ended."""
        unwritten, self._unwritten = self._unwritten, None
        if unwritten is not None:
            await self._agent.write(unwritten, self._config, "exit")
        await self._written()
        asked, self._asked = self._asked, None
        if asked is not None and self._last is not None and self._last.config is not None:
            # As LangGraph keeps it: a question is a pending write of the task that asks.
            task_id = f"task-{self._last.values['position']}"
            await self._agent.checkpointer.aput_writes(self._last.config, [(INTERRUPT, (asked,))], task_id)


def _interrupt_of(state: _State) -> Interrupt:
    script = state.script
    label = "" if script is None else script.label
    return Interrupt(value={"question": label}, id=f"interrupt-{label}-{state.values['position']}")


@dataclass(frozen=True, slots=True)
class FakeAgents:
    """An AgentResolver whose graphs are all fake agents on one stage."""

    stage: Stage = field(default_factory=Stage)
    graph_ids: Sequence[str] = ("agent",)

    def resolve(self, graph_id: str) -> FakeAgents:
        if graph_id not in self.graph_ids:
            raise AgentNotFound(graph_id, self.graph_ids)
        return self

    @asynccontextmanager
    async def build(self, config: Mapping[str, Any]) -> AsyncIterator[FakeAgent]:
        yield FakeAgent(self.stage)

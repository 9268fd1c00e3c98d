"""One execution of a script: the work of a fake agent in one call of ``astream``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.types import Command, Interrupt

from runstead.runtime.json_types import JsonMapping

from .script import Script, Step, entry
from .state import AgentMemory, AgentState

NODE: Final = "work"


class AgentFailed(RuntimeError):
    """The error that a failing step raises."""


class ScriptExecution:
    """One call of ``astream``."""

    def __init__(
        self, memory: AgentMemory, config: JsonMapping, modes: frozenset[str], durability: str, breaks: bool
    ) -> None:
        self._memory, self._config, self._modes = memory, config, modes
        self._durability, self._breaks = durability, breaks
        self._writing: asyncio.Task[object] | None = None
        self._unwritten: AgentState | None = None
        self._last: AgentState | None = None
        self._asked: Interrupt | None = None

    async def perform(self, input: object) -> AsyncIterator[tuple[str, object]]:
        state = await self._memory.read(self._config)
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

    async def _take_in(self, state: AgentState, input: Any) -> object:
        """Begin a script, answer a question, or continue. Return the answer."""
        if isinstance(input, Command):
            if input.resume is not None and state.values["asking"]:
                # LangGraph stores the answer as a pending write on the checkpoint that asked.
                await self._memory.checkpointer.aput_writes(state.config, [(RESUME, input.resume)], state.task_id)
                state.values["asking"] = False
                return input.resume
            if input.update:
                state.values["log"] = [*state.values["log"], *dict(input.update).get("log", ())]
                await self._memory.write(state, self._config, "update")
        elif input is not None:
            state.values.update(script=dict(input), position=0, asking=False)
            await self._keep(state, "loop", is_input=True)
        return None

    async def _step(self, state: AgentState, answer: object) -> AsyncIterator[tuple[str, object]]:
        stage, script, number = self._memory.stage, state.script, int(state.values["position"])
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
            asked = self._asked = state.question
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

    async def _speak(self, script: Script, number: int, step: Step) -> AsyncIterator[tuple[str, object]]:
        pause = step.takes / (step.chunks + 1)
        metadata = {"langgraph_node": NODE, "langgraph_step": number}
        for place in range(step.chunks):
            await self._memory.stage.clock.sleep(pause)
            if "messages" in self._modes:
                message_id = f"{script.label}.{number}.{self._config['metadata'].get('run_attempt', 0)}"
                yield "messages", (AIMessageChunk(content=f"token-{place} ", id=message_id), metadata)
            if "custom" in self._modes:
                yield "custom", {"label": script.label, "step": number, "token": place}
        await self._memory.stage.clock.sleep(pause)

    async def _do(self, step: Step, script: Script) -> None:
        if step.does == "fail":
            raise AgentFailed(f"{script.label} fails by its script")
        if step.does == "hang":
            await asyncio.get_running_loop().create_future()

    async def _keep(self, state: AgentState, source: str, is_input: bool = False) -> None:
        """Write a checkpoint when the durability requires it: before the next step, during it, or at the exit."""
        await self._written()
        self._last = state
        if self._durability == "exit":
            # Nothing before the end: after a lost attempt, the next one begins again with the run's input.
            self._unwritten = state
            return
        # A copy: the next step changes the state while this one is being written.
        frozen = AgentState(dict(state.values), state.config)
        if self._durability == "sync" or is_input:
            state.config = await self._memory.write(frozen, self._config, source)
            return

        async def put() -> None:
            state.config = await self._memory.write(frozen, self._config, source)

        self._writing = asyncio.ensure_future(put())

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            # Shielded, as in LangGraph: a stop during a write does not lose the step.
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            if self._memory.stage.waits_for_writes:
                await asyncio.wait({writing})
            raise

    async def finish(self) -> None:
        """Complete the writes that must be durable when the stream is over, however it ended."""
        unwritten, self._unwritten = self._unwritten, None
        if unwritten is not None:
            await self._memory.write(unwritten, self._config, "exit")
        await self._written()
        asked, self._asked = self._asked, None
        if asked is not None and self._last is not None and self._last.config is not None:
            # As in LangGraph: a question is a pending write of the task that asks.
            await self._memory.checkpointer.aput_writes(self._last.config, [(INTERRUPT, (asked,))], self._last.task_id)

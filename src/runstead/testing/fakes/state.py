"""The state of a fake agent, stored only in the checkpointer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from langgraph.types import Interrupt

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.interrupts import NO_TASK

from .environment import AgentEnvironment
from .script import Script

_CHANNELS: Final = ("log", "messages", "script", "position", "asking")


@dataclass(slots=True)
class AgentState:
    """A thread's state between two steps, and the checkpoint that it was read from or written to."""

    values: JsonObject
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
    def visible(self) -> JsonObject:
        return {"log": list(self.values["log"]), "messages": list(self.values["messages"])}

    @property
    def task_id(self) -> str:
        """Return the id of the next task."""
        return f"task-{self.values['position']}"

    @property
    def question(self) -> Interrupt:
        """Return the question of the next step, if that step asks."""
        script = self.script
        label = "" if script is None else script.label
        return Interrupt(value={"question": label}, id=f"interrupt-{label}-{self.values['position']}")


@dataclass(frozen=True, slots=True)
class AgentMemory:
    """Reads and writes states."""

    checkpointer: Any
    stage: AgentEnvironment

    async def read(self, config: Any) -> AgentState:
        """Return the state at the config's checkpoint, or the thread's latest."""
        place = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}
        if checkpoint_id := config["configurable"].get("checkpoint_id"):
            place["checkpoint_id"] = checkpoint_id
        found = await self.checkpointer.aget_tuple({"configurable": place})
        if found is None:
            return AgentState({"log": [], "messages": [], "script": None, "position": 0, "asking": False})
        values = dict(found.checkpoint["channel_values"])
        for task_id, channel, value in found.pending_writes or ():
            # Writes without a task are part of the state, as in LangGraph.
            if task_id == NO_TASK and channel == "messages":
                values["messages"] = [*values["messages"], *value]
        return AgentState(values, found.config, found.metadata, found.parent_config)

    async def write(self, state: AgentState, config: Any, source: str) -> Any:
        """Store the state after the checkpoint that it came from."""
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

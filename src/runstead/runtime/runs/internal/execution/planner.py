"""Translation of a run's specification to LangGraph's input, config and modes. Pure; the same lease gives the same
plan."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from langgraph.types import Command, Send

from runstead.runtime.runs.redaction import identity_keys
from runstead.runtime.runs.types import Lease, RunCommand, RunSpec, RunTracing, StreamMode

from ....json_types import JsonMapping, JsonObject

_LANGGRAPH_VERSION: Final = version("langgraph")

_GRAPH_MODES: Final[Mapping[StreamMode, str]] = {
    "values": "values",
    "updates": "updates",
    "messages": "messages",
    "messages-tuple": "messages",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "debug": "debug",
    "custom": "custom",
}


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """One attempt of a run, in LangGraph's terms.

    ``command`` is the command from which ``input`` was made, if any. ``graph_modes`` are LangGraph's stream modes; they
    always include ``values``, because a run's last values are its output. ``wanted`` are the modes that readers
    requested. ``mirrored`` names the keys of the configurable that are there only because the request's context is
    mirrored into it.
    """

    graph_id: str
    resuming: bool
    input: Any
    config: JsonObject
    context: JsonMapping | None
    mirrored: frozenset[str]
    wanted: frozenset[StreamMode]
    graph_modes: tuple[str, ...]
    subgraphs: bool
    durability: str
    interrupt_before: str | list[str] | None
    interrupt_after: str | list[str] | None
    command: RunCommand | None = None
    strict_resume: bool = False
    tracing: RunTracing | None = None

    @property
    def with_events(self) -> bool:
        return "events" in self.wanted

    @property
    def state_config(self) -> JsonObject:
        """Config that reads the thread's latest state."""
        configurable = {k: v for k, v in self.config["configurable"].items() if k != "checkpoint_id"}
        return {**self.config, "configurable": {**configurable, "checkpoint_ns": ""}}

    @property
    def options(self) -> JsonObject:
        """Keyword arguments for ``astream``."""
        return {
            "context": self.context,
            "stream_mode": list(self.graph_modes),
            "subgraphs": self.subgraphs,
            "durability": self.durability,
            "interrupt_before": self.interrupt_before,
            "interrupt_after": self.interrupt_after,
        }


class ExecutionPlanner:
    """Planner of attempts."""

    def plan(self, lease: Lease, *, resuming: bool) -> ExecutionPlan:
        """Return the plan of an attempt.

        ``resuming`` means that the thread's latest checkpoint was written by this run: continue from it instead of
        starting with the input.
        """
        spec = lease.run.spec
        modes = {_GRAPH_MODES[mode] for mode in spec.stream_modes if mode in _GRAPH_MODES} | {"values"}
        return ExecutionPlan(
            graph_id=spec.graph_id,
            resuming=resuming,
            input=None if resuming else _input(spec),
            config=_config(lease, resuming=resuming),
            context=spec.context,
            mirrored=frozenset(spec.context_only if spec.context_given else ()),
            wanted=frozenset(spec.stream_modes),
            graph_modes=tuple(sorted(modes)),
            subgraphs=spec.stream_subgraphs,
            durability=spec.durability,
            interrupt_before=_nodes(spec.interrupt_before),
            interrupt_after=_nodes(spec.interrupt_after),
            command=None if resuming else spec.command,
            strict_resume=spec.strict_resume and not resuming,
            tracing=spec.tracing,
        )


def _input(spec: RunSpec) -> object:
    return spec.input if spec.command is None else _command(spec.command, spec.input)


def _command(command: RunCommand, update: object) -> Command[object]:
    goto = [target if isinstance(target, str) else Send(target["node"], target.get("input")) for target in command.goto]
    # An input next to a command is an update of the state: nothing that a client sent is dropped.
    update = command.update if command.update is not None else update
    if isinstance(update, list):
        update = [tuple(pair) for pair in update]
    fields: JsonObject = {"update": update, "goto": goto}
    if command.has_resume:
        fields["resume"] = command.resume
    return Command(**fields)


def _config(lease: Lease, *, resuming: bool) -> JsonObject:
    run, spec = lease.run, lease.run.spec
    identity = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "graph_id": spec.graph_id,
        "assistant_id": run.assistant_id,
    }
    given: JsonMapping = spec.config.get("configurable", {})
    configurable: JsonObject = {**given, **identity, **identity_keys(run.actor, given)}
    if spec.checkpoint is not None and not resuming:
        # Only if given: LangChain copies the configurable into the metadata of every event.
        if spec.checkpoint.checkpoint_ns:
            configurable["checkpoint_ns"] = spec.checkpoint.checkpoint_ns
        if spec.checkpoint.checkpoint_id:
            configurable["checkpoint_id"] = spec.checkpoint.checkpoint_id
        if spec.checkpoint.checkpoint_map:
            configurable["checkpoint_map"] = dict(spec.checkpoint.checkpoint_map)
    config: JsonObject = {
        **{k: v for k, v in spec.config.items() if k in ("tags", "recursion_limit", "max_concurrency", "run_name")},
        "configurable": configurable,
        "metadata": {
            "created_by": "system",
            **spec.config.get("metadata", {}),
            **spec.metadata,
            **identity,
            "run_attempt": lease.attempt,
            "langgraph_version": _LANGGRAPH_VERSION,
        },
    }
    # Each attempt needs a new id for its callback tree: tracers refuse an id that has already started.
    if lease.attempt == 1 and (trace_id := _uuid(run.run_id)):
        config["run_id"] = trace_id
    return config


def _nodes(names: tuple[str, ...]) -> str | list[str] | None:
    if not names:
        return None
    return "*" if "*" in names else list(names)


def _uuid(value: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(value)
    except ValueError:
        return None

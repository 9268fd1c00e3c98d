"""Requests that create runs. `run_records` contains the form of runs in responses.

A request is parsed once. Every field below has an effect or is refused with a sentence; fields unknown to `RunCreate`
are ignored, as in the reference server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import Field, TypeAdapter

from runstead.resources.assistants import AssistantRecord
from runstead.resources.threads import ThreadRecord
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import (
    STREAM_MODES,
    CheckpointRef,
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunCommand,
    RunScope,
    RunSpec,
    RunTracing,
    StreamMode,
    ThreadId,
)

from .body import WireModel
from .configs import Asked, Continued, merged, thread_config
from .errors import BadRequest, Unprocessable
from .identifiers import CheckpointIdField, RunIdField, ThreadIdField, as_uuid
from .steering import steering_input

_TEN_YEARS: Final = 10 * 366 * 86_400
_MAX_BATCH: Final = 1_000


class RunConfig(WireModel):
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    configurable: JsonObject | None = None
    recursion_limit: int | None = Field(None, ge=1, le=2**31 - 1)
    max_concurrency: int | None = Field(None, ge=1, le=2**31 - 1)
    run_name: str | None = None


class SendBody(WireModel):
    node: str
    input: Any = None


class CommandBody(WireModel):
    """LangGraph's Command. ``resume`` counts if it is present, even as null."""

    resume: Any = None
    update: JsonObject | list[list[Any]] | None = None
    goto: str | SendBody | list[str | SendBody] | None = None

    @property
    def has_resume(self) -> bool:
        return "resume" in self.model_fields_set

    @property
    def is_empty(self) -> bool:
        """True if it contains no command."""
        return not self.has_resume and self.update is None and not self.goto

    def to_command(self) -> RunCommand:
        """Convert the command. Raises Unprocessable if it is empty."""
        goto = self.goto if isinstance(self.goto, list) else [] if self.goto is None else [self.goto]
        if self.is_empty:
            raise Unprocessable("command: give it at least one of resume, update and goto")
        if isinstance(self.update, list) and not all(
            len(pair) == 2 and isinstance(pair[0], str) for pair in self.update
        ):
            raise Unprocessable("command.update: a list must contain pairs of a key and a value")
        sends = tuple(to if isinstance(to, str) else {"node": to.node, "input": to.input} for to in goto)
        return RunCommand(resume=self.resume, has_resume=self.has_resume, update=self.update, goto=sends)


class CheckpointBody(WireModel):
    thread_id: ThreadIdField | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: CheckpointIdField | None = None
    checkpoint_map: dict[str, str] | None = None

    def to_ref(self) -> CheckpointRef:
        return CheckpointRef(self.checkpoint_id, self.checkpoint_ns or "", self.checkpoint_map)


class TracerBody(WireModel):
    """Destination of a run's trace, on a server that traces with LangSmith."""

    project_name: str | None = None
    example_id: str | None = None

    def to_tracing(self) -> RunTracing | None:
        """Return the destination, or None. Raises Unprocessable."""
        if self.example_id is not None and as_uuid(self.example_id) is None:
            raise Unprocessable("langsmith_tracer.example_id: must be a UUID")
        return RunTracing(self.project_name, self.example_id) if self.project_name or self.example_id else None


class RunCreate(WireModel):
    """Run to create. ``thread_id`` is used only in a batch; otherwise the path names the thread, and the two must
    agree."""

    assistant_id: str
    run_id: RunIdField | None = None
    thread_id: ThreadIdField | None = None
    input: Any = None
    command: CommandBody | None = None
    config: RunConfig | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    checkpoint_id: CheckpointIdField | None = None
    checkpoint: CheckpointBody | None = None
    durability: Durability | None = None
    checkpoint_during: bool | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    webhook: str | None = None
    multitask_strategy: MultitaskStrategy | None = None
    if_not_exists: IfNotExists | None = None
    on_completion: OnCompletion | None = None
    on_disconnect: OnDisconnect | None = None
    after_seconds: float | None = Field(None, ge=-_TEN_YEARS, le=_TEN_YEARS, allow_inf_nan=False)
    feedback_keys: list[str] | None = None
    langsmith_tracer: TracerBody | None = None
    strict_resume: bool | None = None
    timeout_seconds: float | None = Field(None, gt=0, le=_TEN_YEARS, allow_inf_nan=False)
    max_attempts: int | None = Field(None, ge=1, le=1_000)
    secrets: dict[str, str] | None = Field(None, max_length=64, repr=False)


RUN_CREATE: Final[TypeAdapter[RunCreate]] = TypeAdapter(RunCreate)
RUN_BATCH: Final[TypeAdapter[list[RunCreate]]] = TypeAdapter(list[RunCreate])


def check_batch(bodies: Sequence[RunCreate]) -> None:
    """Raise Unprocessable for a batch that is empty or too large for one transaction."""
    if not 1 <= len(bodies) <= _MAX_BATCH:
        raise Unprocessable(f"A batch must have 1 to {_MAX_BATCH} runs, got {len(bodies)}")


def to_run_spec(
    body: RunCreate,
    *,
    assistant: AssistantRecord,
    thread_id: ThreadId | None = None,
    thread: ThreadRecord | None = None,
    headers: JsonMapping | None = None,
    continued: Continued | None = None,
) -> RunSpec:
    """Return the kernel's specification. Without ``thread_id``, the run is stateless; ``thread`` may not exist yet.

    ``headers`` are those that the configuration allows in configurable. ``continued`` is for a run that `continues`
    another one. Raises BadRequest and Unprocessable.
    """
    _check_thread(body, thread_id)
    command = _command(body, thread_id)
    config = body.config.model_dump(exclude_none=True) if body.config else {}
    checkpoint = _checkpoint(body, config.get("configurable") or {}, thread_id)
    asked = Asked(config, body.context or {}, body.metadata or {}, headers or {})
    run = merged(asked, assistant, thread, continued)
    return RunSpec(
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        thread_id=thread_id,
        run_id=body.run_id,
        scope=_scope(body, thread_id),
        input=_steering_input(body) if body.multitask_strategy == "steer" else body.input,
        command=command,
        config=run.config,
        context=run.context,
        context_only=run.context_only,
        context_given=bool(body.context),
        metadata=run.metadata,
        stream_modes=_modes(body.stream_mode),
        stream_subgraphs=bool(body.stream_subgraphs),
        stream_resumable=bool(body.stream_resumable),
        checkpoint=checkpoint,
        durability=_durability(body),
        interrupt_before=_nodes(body.interrupt_before),
        interrupt_after=_nodes(body.interrupt_after),
        multitask_strategy=body.multitask_strategy or "enqueue",
        on_disconnect=body.on_disconnect or "continue",
        after_seconds=body.after_seconds or 0,
        timeout_seconds=body.timeout_seconds,
        max_attempts=body.max_attempts,
        strict_resume=bool(body.strict_resume),
        tracing=body.langsmith_tracer.to_tracing() if body.langsmith_tracer else None,
        webhook=body.webhook,
        thread_config=thread_config(asked, assistant, thread),
    )


_NOT_STEERING: Final = (
    "command", "checkpoint", "checkpoint_id", "interrupt_before", "interrupt_after", "webhook", "secrets",
    "after_seconds",
)  # fmt: skip


def _steering_input(body: RunCreate) -> JsonObject:
    for name in _NOT_STEERING:
        if getattr(body, name):
            raise Unprocessable(
                f"{name}: a run that is going on cannot be given this; leave it out, or use another multitask_strategy "
                "than 'steer'"
            )
    return steering_input(body.input)


def continues(body: RunCreate) -> bool:
    """Return whether the run continues where another one stopped: it answers an interrupt, or has no input."""
    if body.command is not None:
        return body.command.has_resume or body.command.is_empty
    return body.input is None


def stream_modes_of(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Return the modes in query parameters: repeated, separated by commas, or a JSON list (as the JS client sends
    them).

    None if none is given: all modes of the run. Raises Unprocessable.
    """
    names = [name.strip(' "[]') for text in texts for name in text.split(",")]
    for name in names:
        if name and name not in STREAM_MODES:
            raise Unprocessable(f"stream_mode: {name[:100]!r} is not one of {', '.join(STREAM_MODES)}")
    return tuple(dict.fromkeys(name for name in names if name)) or None


def _check_thread(body: RunCreate, thread_id: ThreadId | None) -> None:
    if body.thread_id is None or body.thread_id == thread_id:
        return
    if thread_id is None:
        raise Unprocessable(f"thread_id: a run on a thread is created at /threads/{body.thread_id}/runs")
    raise Unprocessable(f"thread_id: the body names thread {body.thread_id}, and the path thread {thread_id}")


def _command(body: RunCreate, thread_id: ThreadId | None) -> RunCommand | None:
    if body.command is not None and body.command.is_empty and thread_id is not None and not body.input:
        # The Python SDK omits fields that are None, so {"resume": None} arrives as an empty command. (docs/adr/0040)
        return RunCommand(resume=None, has_resume=True)
    if body.command is None:
        return None
    command = body.command.to_command()
    if command.update is not None and body.input:
        # An input next to a command updates the state; with two updates it would be unclear which one applies.
        raise Unprocessable("input and command.update cannot both be given; put all of the update into the command")
    if thread_id is None and command.has_resume:
        raise BadRequest("You must provide a thread_id when resuming.")
    return command


def _scope(body: RunCreate, thread_id: ThreadId | None) -> RunScope:
    if thread_id is None:
        return RunScope("stateless", if_not_exists="create", on_completion=body.on_completion or "delete")
    if body.on_completion == "delete":
        raise Unprocessable("on_completion: 'delete' requires a run without a thread; this run has a thread")
    return RunScope("stateful", if_not_exists=body.if_not_exists or "reject")


def _checkpoint(body: RunCreate, configurable: JsonMapping, thread_id: ThreadId | None) -> CheckpointRef | None:
    ref = body.checkpoint.to_ref() if body.checkpoint else None
    found = body.checkpoint_id or (ref.checkpoint_id if ref else None) or _configured_checkpoint(configurable)
    if ref is None and found is None:
        return None
    if thread_id is None:
        raise Unprocessable(
            "checkpoint: a run without a thread has no checkpoint to start from; create it at /threads/{thread_id}/runs"
        )
    if body.checkpoint and body.checkpoint.thread_id not in (None, thread_id):
        raise Unprocessable(
            f"checkpoint: it belongs to thread {body.checkpoint.thread_id}, and the run to thread {thread_id}; "
            "create the run on the checkpoint's thread, or name a checkpoint of its own"
        )
    return CheckpointRef(found, ref.checkpoint_ns if ref else "", ref.checkpoint_map if ref else None)


def _configured_checkpoint(configurable: JsonMapping) -> str | None:
    value = configurable.get("checkpoint_id")
    if value is None:
        return None
    if not isinstance(value, str) or (found := as_uuid(value)) is None:
        raise Unprocessable("Invalid checkpoint ID")
    return found


def _modes(asked: StreamMode | list[StreamMode] | None) -> tuple[StreamMode, ...]:
    if asked is None:
        return ("values",)
    return tuple(dict.fromkeys(asked)) if isinstance(asked, list) else (asked,)


def _durability(body: RunCreate) -> Durability:
    if body.durability is not None:
        return body.durability
    return "exit" if body.checkpoint_during is False else "async"


def _nodes(asked: Literal["*"] | list[str] | None) -> tuple[str, ...]:
    return (asked,) if isinstance(asked, str) else tuple(asked or ())

"""Runs in responses: the record, with the values from which it was created."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.redaction import ORIGIN
from runstead.runtime.runs.secrets import SECRETS_KEY
from runstead.runtime.runs.types import RunCommand, RunRecord, RunStatus, StopReason

from .body import parse_json
from .errors import Unprocessable

RUN_FIELDS: Final = (
    "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "metadata", "status", "kwargs",
    "multitask_strategy", "cancel_reason", "attempt", "started_at", "ended_at", "failure", "error", "dead_letter",
    "completion",
)  # fmt: skip
"""Fields that ``select`` may name."""

WireRunStatus: TypeAlias = Literal["pending", "running", "error", "success", "timeout", "interrupted"]


def from_run_record(record: RunRecord) -> JsonObject:
    """Return a run in the form for clients: all fields of the reference server, and more."""
    return {
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "assistant_id": record.assistant_id,
        "metadata": record.metadata,
        "status": wire_status(record.status),
        "kwargs": _kwargs(record),
        "multitask_strategy": record.spec.multitask_strategy,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "cancel_reason": _cancel_reason(record.stop_requested),
        "attempt": record.attempt,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "failure": record.failure.to_json() if record.failure else None,
        # The same in one sentence, which deepagents passes to a supervisor when a subagent failed.
        "error": f"{record.failure.error}: {record.failure.message}" if record.failure else None,
        "dead_letter": record.dead_letter,
        "completion": record.completion.to_json() if record.completion else None,
        "langsmith_session_name": None,
        # In the response to a request that sent a message to this run.
        **({"message_id": record.message_id} if record.message_id else {}),
    }


def wire_status(status: RunStatus) -> str:
    """Return the status for clients. They do not know ``starting``, which they see as pending."""
    return "pending" if status is RunStatus.STARTING else status.value


def statuses_of(status: WireRunStatus | None) -> tuple[RunStatus, ...]:
    """Return the statuses that a client's ``status`` covers."""
    if status is None:
        return ()
    return (RunStatus.PENDING, RunStatus.STARTING) if status == "pending" else (RunStatus(status),)


def metadata_of(text: str | None) -> JsonObject:
    """Return the metadata that a client asks for, as a JSON text. Raises Unprocessable."""
    remedy = 'metadata: give a JSON object such as {"customer": "acme"}'
    try:
        found = parse_json((text or "").encode())
    except Unprocessable as error:
        raise Unprocessable(remedy) from error
    if not isinstance(found, dict):
        raise Unprocessable(remedy)
    return found


def _kwargs(record: RunRecord) -> JsonObject:
    """Return the values from which the run was created, as the reference server does."""
    spec = record.spec
    own = {
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "graph_id": spec.graph_id,
        "assistant_id": spec.assistant_id,
    }
    return {
        "input": spec.input,
        "command": _command(spec.command),
        "config": {**spec.config, "configurable": {**_shown(spec.config.get("configurable", {})), **own}},
        "context": spec.context or {},
        "stream_mode": list(spec.stream_modes),
        "interrupt_before": _shown_nodes(spec.interrupt_before),
        "interrupt_after": _shown_nodes(spec.interrupt_after),
        "webhook": spec.webhook,
        "feedback_keys": None,
        "temporary": spec.scope.is_temporary,
        "subgraphs": spec.stream_subgraphs,
        "resumable": spec.stream_resumable,
        "checkpoint_during": spec.durability != "exit",
        "durability": spec.durability,
    }


def _cancel_reason(stop: StopReason | None) -> str | None:
    # Clients check the part before the colon.
    return "taken: another run has taken the input over" if stop is StopReason.TAKEN else stop.value if stop else None


def _command(command: RunCommand | None) -> JsonObject | None:
    if command is None:
        return None
    shown = {"resume": command.resume} if command.has_resume else {}
    return {**shown, "update": command.update, "goto": list(command.goto)}


def _shown_nodes(nodes: tuple[str, ...]) -> list[str] | str | None:
    return "*" if nodes == ("*",) else list(nodes) or None


def _shown(configurable: JsonMapping) -> JsonObject:
    return {name: value for name, value in configurable.items() if name != SECRETS_KEY and name not in ORIGIN}

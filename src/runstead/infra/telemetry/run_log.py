"""Log lines about runs: created, started, waiting for input, ended. Their ids are fields, also of the lines of agent
code."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.contextvars import bound_contextvars

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.redaction import REQUEST_ID
from runstead.runtime.runs.types import Lease, RunRecord, ThreadStatus

from .run_metrics import status_of

_log = logging.getLogger("runstead.runs")


class RunLog:
    """RunTelemetry that logs."""

    def run_created(self, run: RunRecord) -> None:
        _log.info("run created", extra=_ids(run))

    @asynccontextmanager
    async def around_attempt(self, lease: Lease) -> AsyncIterator[None]:
        with bound_contextvars(**_ids(lease.run), attempt=lease.attempt):
            _log.info("run started")
            yield

    def call_observer(self) -> None:
        return None

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        status, done = status_of(run, thread_status), run.completion
        fields = {**_ids(run), "attempt": run.attempt, "status": status}
        if run.started_at is not None and run.ended_at is not None:
            fields["seconds"] = round((run.ended_at - run.started_at).total_seconds(), 3)
        if done is not None:
            fields |= {"model_calls": done.llm_call_count, "tokens": done.total_tokens}
        if run.failure is not None:
            fields["error"] = run.failure.error
        level = logging.ERROR if run.dead_letter else logging.INFO
        _log.log(level, "run waits for input" if status == "waiting" else "run ended", extra=fields)

    def attempt_lost(self, run: RunRecord) -> None:
        next_step = "dead letter" if run.dead_letter else "waits for another worker"
        _log.warning("run lost its worker", extra={**_ids(run), "attempt": run.attempt, "next": next_step})

    def stream_gap(self, run: RunRecord) -> None:
        _log.info("a reader missed events of a run", extra=_ids(run))


def _ids(run: RunRecord) -> JsonObject:
    fields: JsonObject = {
        "run_id": str(run.run_id),
        "thread_id": str(run.thread_id),
        "graph": run.spec.graph_id,
        "user": run.actor.user_id,
    }
    if (request_id := run.spec.config.get("configurable", {}).get(REQUEST_ID)) is not None:
        fields["request_id"] = request_id
    return fields

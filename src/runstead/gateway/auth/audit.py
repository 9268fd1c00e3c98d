"""Audit of requests: what changes something, what is refused, and what a role gave access to is recorded."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.resources.audit import AuditEntry, AuditStore, redacted
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import RunRecord, RunSpec
from runstead.wire.credentials import ROLE
from runstead.wire.errors import problem_of

from ..route_declaration import declaration_of
from .policy import READS

_log = logging.getLogger(__name__)

ACTOR: Final = "runstead.actor"
NOTES: Final = "runstead.audit"
"""In the scope of a request: what its route adds to the entry."""
_RUN_PLACE: Final = re.compile(r"(/threads/(?P<thread_id>[\w-]+))?/runs/(?P<run_id>[\w-]+)")
_OF_ROLES: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "/audit"): "audit.read",
    ("GET", "/keys"): "api_keys.search",
    ("DELETE", "/keys/{key_id}"): "api_keys.delete",
}
"""Actions of routes for roles, which have no permission that auth handlers decide about."""


class AuditLog:
    """Records entries in the order of their arrival; those that arrive together share one transaction."""

    def __init__(self, store: AuditStore, clock: Clock, *, keeps_values: bool = True) -> None:
        """``keeps_values``: human decisions are stored, redacted; otherwise only their digests are."""
        self.store, self.clock, self._keeps_values = store, clock, keeps_values
        self._pending: list[tuple[AuditEntry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(
        self,
        actor: ActorContext,
        *,
        action: str,
        route: str,
        status: int,
        role: str | None = None,
        client: str | None = None,
        target: JsonMapping | None = None,
        details: JsonMapping | None = None,
    ) -> None:
        """Write one entry, and return when it is stored. A failure is logged: the audited action has happened."""
        entry = AuditEntry(
            at=self.clock.now(),
            tenant_id=actor.tenant_id,
            user_id=actor.user_id,
            subject_id=actor.subject_id,
            auth_source=actor.auth_source,
            role=role,
            client=client,
            action=action,
            route=redacted(route),
            status=status,
            target=redacted(target or {}),
            details=redacted(self._without_values(details or {})),
        )
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((entry, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="audit-log")
        await written

    def _without_values(self, details: JsonMapping) -> JsonMapping:
        if self._keeps_values or "decision" not in details:
            return details
        text = json.dumps(details["decision"], sort_keys=True, default=str)
        return {**details, "decision": {"sha256": hashlib.sha256(text.encode()).hexdigest()}}

    async def _write(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                try:
                    await self.store.append([entry for entry, _ in batch])
                except Exception:
                    lost = [json.dumps(entry.to_json(), default=str) for entry, _ in batch]
                    _log.exception("could not write %d audit entries: %s", len(batch), "; ".join(lost))
                finally:
                    for _, written in batch:
                        if not written.done():
                            written.set_result(None)
        finally:
            self._writing = None


class Audit:
    """ASGI middleware behind authentication: records a request before its answer begins."""

    def __init__(self, app: ASGIApp, source: Callable[[], AuditLog | None]) -> None:
        """``source``: the audit log of the running application; None where nothing is recorded."""
        self._app, self._source = app, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        log = self._source() if scope["type"] == "http" and ACTOR in scope else None
        if log is None:
            await self._app(scope, receive, send)
            return
        scope[NOTES] = {}
        has_begun = False

        async def recorded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                scope[NOTES] |= _created_ids(message.get("headers", ()))
                await _record(log, scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, recorded)
        except Exception as error:
            # Answered further outside.
            if not has_begun:
                await _record(log, scope, problem_of(error).status)
            raise


def note(connection: HTTPConnection, **facts: object) -> None:
    """Add ids (``..._id``) and details to the audit entry of this request."""
    notes: JsonObject | None = connection.scope.get(NOTES)
    if notes is not None:
        notes.update(facts)


async def record_command(log: AuditLog | None, connection: HTTPConnection, spec: RunSpec, run: RunRecord) -> None:
    """Record a run that a command of the event protocol has created, over HTTP or a WebSocket."""
    if log is None:
        return
    scope = connection.scope
    decisions = decisions_of([spec])
    await log.record(
        require_actor_context("the audit log"),
        action="threads.create_run",
        route=f"{scope.get('method', 'WEBSOCKET')} {scope['route'].path}",
        status=HTTPStatus.OK,
        role=scope.get(ROLE),
        client=scope["client"][0] if scope.get("client") else None,
        target={"thread_id": run.thread_id, "run_id": run.run_id},
        details={"decision": decisions[0]} if decisions else {},
    )


async def _record(log: AuditLog, scope: Scope, status: int) -> None:
    action = _action_of(scope)
    if action is None:
        return
    is_refused = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if action.partition(".")[2] in READS and not is_refused and ROLE not in scope:
        return
    notes = scope.get(NOTES) or {}
    ids = {name: value for name, value in notes.items() if name.endswith(("_id", "_ids"))}
    client = scope.get("client")
    await log.record(
        scope[ACTOR],
        action=action,
        route=f"{scope['method']} {scope['route'].path}",
        status=status,
        role=scope.get(ROLE),
        client=client[0] if client else None,
        target={**scope.get("path_params", {}), **ids},
        details={name: value for name, value in notes.items() if name not in ids},
    )


def _created_ids(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the ids of a new run, which a header of the answer names."""
    for name, value in headers:
        if name.lower() == b"content-location" and (found := _RUN_PLACE.search(value.decode("latin-1"))):
            return {key: one for key, one in found.groupdict().items() if one}
    return {}


def _action_of(scope: Scope) -> str | None:
    """Return such as ``threads.delete``; None for a route that is open, or not there."""
    route = scope.get("route")
    if (action := _OF_ROLES.get((scope["method"], getattr(route, "path", "")))) is not None:
        return action
    endpoint = getattr(route, "endpoint", None)
    permission = None if endpoint is None else declaration_of(endpoint).permission
    return None if permission is None else f"{permission.resource}.{permission.action}"


def decisions_of(specs: Sequence[RunSpec]) -> list[Any]:
    """Return what runs answer to interrupts: the decisions of a person."""
    return [spec.command.resume for spec in specs if spec.command is not None and spec.command.has_resume]

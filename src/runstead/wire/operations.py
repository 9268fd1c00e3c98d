"""Records about the work of the server, for operators and users: waiting runs, limits and budgets, API keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from runstead.resources.allowances import Allowances, BudgetUse, LimitLevel
from runstead.resources.api_keys import ApiKeyRecord
from runstead.resources.run_waits import HeldRun, RunWait
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunRecord


def from_run_wait(run: RunRecord, wait: RunWait | None, lease_term: timedelta, slots: int) -> JsonObject:
    """Return why a run does not go on. ``slots``: of the server that answers, 0 if it executes no runs."""
    return {
        "run_id": run.run_id,
        "due_at": run.due_at,
        "slots": slots,
        "slots_in_use": 0 if wait is None else wait.held_runs,
        "reasons": [] if wait is None else list(_reasons(wait, lease_term)),
    }


def _reasons(wait: RunWait, lease_term: timedelta) -> Iterator[JsonObject]:
    """Yield the reasons, the first one that has to go away first."""
    if wait.own_lease is not None:
        if _is_silent(wait.own_lease, wait, lease_term):
            yield _lost(wait.own_lease)
        return
    if wait.due_at > wait.now:
        yield {"kind": "delayed", "until": wait.due_at}
    if wait.before is not None:
        yield {"kind": "thread", "run_id": wait.before}
        if wait.held is not None and _is_silent(wait.held, wait, lease_term):
            yield _lost(wait.held)
    elif wait.due_at <= wait.now:
        yield {"kind": "slots", "runs": [{"run_id": run.run_id, "thread_id": run.thread_id} for run in wait.own_held]}


def _is_silent(held: HeldRun, wait: RunWait, lease_term: timedelta) -> bool:
    """Return whether the worker has missed a renewal, which it makes at each third of the term."""
    return held.lease_until - wait.now < lease_term / 2


def _lost(held: HeldRun) -> JsonObject:
    return {"kind": "worker", "run_id": held.run_id, "worker": held.worker, "until": held.lease_until}


def from_allowances(actor: ActorContext, found: Allowances, *, is_read_only: bool) -> JsonObject:
    """Return the limits and budgets of a user. ``is_read_only``: the user may only read."""
    return {
        "user_id": actor.user_id,
        "tenant_id": actor.tenant_id,
        "is_read_only": is_read_only,
        "limits": [_from_limit(level) for level in found.limits],
        "budgets": [_from_budget(use) for use in found.budgets],
    }


def _from_limit(level: LimitLevel) -> JsonObject:
    return {
        "kind": level.kind,
        "scope": level.limit.scope,
        "limit": level.limit.amount,
        "seconds": level.limit.seconds or None,
        "used": level.used,
    }


def _from_budget(use: BudgetUse) -> JsonObject:
    budget, level = use.budget, use.level
    shown = (
        {"used": None, "limit": float(budget.amount), "resets_at": None}
        if level is None
        else {"used": float(level.used), "limit": float(level.limit), "resets_at": level.resets_at}
    )
    return {
        "per": list(budget.per),
        "unit": budget.unit,
        "graph_id": use.graph_id,
        **shown,
        "reserved": None if level is None else float(level.reserved),
        "on_exceeded": "pause" if budget.pauses else "stop",
        "warn_at": float(budget.warn_at),
    }


def from_api_key(key: ApiKeyRecord) -> JsonObject:
    """Return a key as it is shown: without its digest."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "user_id": key.user_id,
        "tenant_id": key.tenant_id,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "expires_at": key.expires_at,
    }

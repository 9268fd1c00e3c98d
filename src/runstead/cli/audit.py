"""``runstead audit``: list the audit log, and check that no entry was changed or removed. Needs no running server."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from .output import CommandError, Output
from .storage_command import run_with_store, storage_command

if TYPE_CHECKING:
    from runstead.resources.audit import AuditStore
    from runstead.settings import Settings

    from .request import ServeRequest

T = TypeVar("T")

app = typer.Typer(help="List and verify the audit log.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls")
@partial(storage_command, has_set=False)
def audit_ls(
    output: Output,
    request: "ServeRequest",
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only entries of this tenant.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only entries of this user.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this action, such as threads.delete.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only entries about this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Maximum number of results.")] = 50,
) -> None:
    """List entries, the newest first."""
    from runstead.resources.audit import AuditFilter

    where = AuditFilter(tenant_id=tenant, user_id=user, action=action, target_id=target)
    records = _with_log(request.settings(), lambda log: log.search(where, limit=limit))
    for record in records:
        output.line("audit", **record.to_json())
    if output.as_json:
        return
    rows = [
        (
            str(record.seq),
            f"{record.entry.at:%m-%d %H:%M:%S}",
            f"{record.entry.tenant_id}/{record.entry.user_id}",
            record.entry.action,
            str(record.entry.status),
            " ".join(f"{name}={value}" for name, value in record.entry.target.items()),
        )
        for record in records
    ]
    output.table(("entry", "at (UTC)", "user", "action", "status", "target"), rows, empty="no entries")


@app.command("verify")
@partial(storage_command, has_set=False)
def audit_verify(output: Output, request: "ServeRequest") -> None:
    """Check the chain of digests. Compare the last digest with one that you keep elsewhere."""
    check = _with_log(request.settings(), lambda log: log.verify())
    output.line("verified", entries=check.entries, broken_at=check.broken_at, last_digest=check.last_digest)
    if check.broken_at is not None:
        raise CommandError(
            f"the audit log was changed: entry {check.broken_at} does not fit to the one before it",
            "compare it with a backup; entries before it are intact",
        )
    output.say(f"{check.entries} entries, unchanged; the last digest is {check.last_digest}")


def _with_log(settings: "Settings", work: "Callable[[AuditStore], Awaitable[T]]") -> T:
    from runstead.bootstrap.admin import open_audit_log

    return run_with_store(open_audit_log(settings), work)

"""``runstead keys``: create, list and revoke API keys directly in the database; no server is needed.

A running server applies all changes at once, since it reads the same database on every request.
"""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from .output import USAGE, CommandError, Output
from .storage_command import run_with_store, storage_command

if TYPE_CHECKING:
    from runstead.resources.api_keys import ApiKeyRecord, ApiKeyStore
    from runstead.settings import Settings

    from .request import ServeRequest

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)


@app.command("create")
@partial(storage_command, has_set=False)
def keys_create(
    output: Output,
    request: "ServeRequest",
    user: Annotated[str, typer.Option("--user", help="User that the key acts for.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant of the user.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="Scope of the key, visible to graphs; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the key.  [default: the user]")] = None,
    expires_in_days: Annotated[
        float | None, typer.Option("--expires-in-days", help="Days that the key is valid.  [default: no end]")
    ] = None,
) -> None:
    """Create a key. It is shown only once."""
    create_key(
        output, request.settings(), user=user, tenant=tenant, scopes=scope or (), name=name, days=expires_in_days
    )


@app.command("ls")
@partial(storage_command, has_set=False)
def keys_ls(output: Output, request: "ServeRequest") -> None:
    """List keys (secrets are not shown)."""
    list_keys(output, request.settings())


@app.command("revoke")
@partial(storage_command, has_set=False)
def keys_revoke(
    output: Output,
    request: "ServeRequest",
    key_id: Annotated[str, typer.Argument(help="Id of the key, see `runstead keys ls`.")],
) -> None:
    """Revoke a key permanently."""
    revoke_key(output, request.settings(), key_id)


T = TypeVar("T")
_LONGEST_DAYS = 36_500


def create_key(
    output: Output,
    settings: "Settings",
    *,
    user: str,
    tenant: str,
    scopes: Sequence[str],
    name: str | None,
    days: float | None = None,
) -> None:
    """Create a key and print it, once: only its digest is stored."""
    import secrets
    from datetime import timedelta

    from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
    from runstead.runtime.actor_context import RESERVED_USER_IDS
    from runstead.runtime.clock import SystemClock

    if not user.strip() or not tenant.strip():
        raise CommandError("a key needs a user and a tenant that are not empty", exit_code=USAGE)
    if user.startswith(RESERVED_USER_IDS) or tenant.startswith(RESERVED_USER_IDS):
        raise CommandError(f"names that begin with {RESERVED_USER_IDS!r} are reserved for the server", exit_code=USAGE)
    if days is not None and not 0 < days <= _LONGEST_DAYS:
        raise CommandError(f"--expires-in-days must be more than 0 and at most {_LONGEST_DAYS}", exit_code=USAGE)
    key, now = new_key(), SystemClock().now()
    record = ApiKeyRecord(
        key_id=f"key_{secrets.token_hex(6)}",
        name=name or user,
        digest=digest_of(key),
        user_id=user,
        tenant_id=tenant,
        scopes=tuple(dict.fromkeys(scopes)),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    _with_keys(settings, lambda keys: keys.add(record))
    output.line("created", key=key, **_shown(record))
    output.say(key, style="bold")
    output.say(f"  {record.key_id} acts for {user}. It is shown this once: keep it where programs keep secrets.")
    if settings.auth is None:
        output.say("  A server requires keys if it is started with --set auth=keys.", style="dim")


def list_keys(output: Output, settings: "Settings") -> None:
    """Print all keys without their secrets."""
    records = _with_keys(settings, lambda keys: keys.list_keys())
    for record in records:
        output.line("key", **_shown(record))
    if not output.as_json:
        _show_table(records, output)


def revoke_key(output: Output, settings: "Settings", key_id: str) -> None:
    """Revoke a key from now on."""
    from runstead.runtime.clock import SystemClock

    if not _with_keys(settings, lambda keys: keys.revoke(key_id, SystemClock().now())):
        raise CommandError(f"there is no key {key_id}", "see `runstead keys ls` for the existing keys")
    output.line("revoked", key_id=key_id)
    output.say(f"{key_id} is revoked.")


def _with_keys(settings: "Settings", work: "Callable[[ApiKeyStore], Awaitable[T]]") -> T:
    from runstead.bootstrap.admin import open_api_keys

    return run_with_store(open_api_keys(settings), work)


def _shown(record: "ApiKeyRecord") -> dict[str, object]:
    return {
        "key_id": record.key_id,
        "name": record.name,
        "user_id": record.user_id,
        "tenant_id": record.tenant_id,
        "scopes": list(record.scopes),
        "created_at": record.created_at.isoformat(),
        "last_used_at": record.last_used_at.isoformat() if record.last_used_at else None,
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
        "expires_at": record.expires_at.isoformat() if record.expires_at else None,
    }


def _show_table(records: "Sequence[ApiKeyRecord]", output: Output) -> None:
    from .times import ago

    def expiry(record: "ApiKeyRecord") -> str:
        return "revoked" if record.revoked_at else ago(record.expires_at) if record.expires_at else "never"

    rows = [
        (
            record.key_id,
            record.name,
            record.user_id,
            record.tenant_id,
            ago(record.last_used_at) if record.last_used_at else "never",
            expiry(record),
            " ".join(record.scopes),
        )
        for record in records
    ]
    output.table(("key", "name", "user", "tenant", "used", "expires", "scopes"), rows, empty="no keys")

"""``runstead encryption``: create, count and retire keys of encryption at rest. Servers may keep running."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import TYPE_CHECKING

import typer

from .options import Json
from .output import CommandError, Output
from .storage_command import run_on_storage, storage_command

if TYPE_CHECKING:
    from runstead.bootstrap.encryption import Cipher
    from runstead.bootstrap.encryption_commands import KeyUsage
    from runstead.settings import Settings

    from .request import ServeRequest

app = typer.Typer(help="Manage the keys of encryption at rest.", no_args_is_help=True, rich_markup_mode=None)


@app.command("new-key")
def encryption_new_key(json: Json = False) -> None:
    """Print a new key, for encryption_keys. It is not stored anywhere."""
    new_key(Output(as_json=json))


@app.command("status")
@storage_command
def encryption_status(
    output: Output,
    request: "ServeRequest",
) -> None:
    """Count the values that each key encrypts, and those that are not encrypted. Fails if a key is missing."""
    status(request, output)


@app.command("rewrite")
@storage_command
def encryption_rewrite(
    output: Output,
    request: "ServeRequest",
) -> None:
    """Encrypt everything with the first key, also unencrypted data. Servers that have the key may keep running."""
    rewrite(request, output)


def new_key(output: Output) -> None:
    """Create a key and print it."""
    import secrets
    from base64 import b64encode

    key = b64encode(secrets.token_bytes(32)).decode()
    output.line("key", key=key)
    output.say(key)


def status(request: "ServeRequest", output: Output) -> None:
    """Print which keys are in use, and for how many values. Raises CommandError if one of them is not configured."""
    from runstead.bootstrap.encryption_commands import key_usage
    from runstead.bootstrap.key_check import keys_problem

    settings, cipher = _asked(request)
    found = run_on_storage(key_usage(settings, cipher))
    _tell(output, found)
    in_use = found.recorded | {key for key in found.usage.by_key if key}
    if problem := keys_problem(in_use, cipher, found.place, has_handlers=True):
        raise CommandError(problem)


def rewrite(request: "ServeRequest", output: Output) -> None:
    """Encrypt everything with the first key."""
    from runstead.bootstrap.encryption_commands import rewrite_all

    settings, cipher = _asked(request)

    def show_progress(table: str, rows: int) -> None:
        output.line("progress", table=table, rows=rows)

    done = run_on_storage(rewrite_all(settings, cipher, show_progress))
    output.line("rewritten", rows=done.rows, forgotten=list(done.forgotten), events_in_use=done.events_in_use)
    output.say(f"{done.rows} rows were encrypted with the key {cipher.key_id}.")
    if done.forgotten:
        output.say(f"Nothing is encrypted with {', '.join(done.forgotten)} any more: leave it out of the keys.")
    if done.events_in_use:
        output.say("Event files were left out, for a server writes them: stop it and do this again.", style="yellow")
    _tell(output, done.after)


def _asked(request: "ServeRequest") -> "tuple[Settings, Cipher]":
    from runstead.cli.configured_keys import configured_cipher

    settings = request.settings()
    cipher = configured_cipher(request, settings)
    if cipher is None:
        _refuse_encrypted_data(settings)
        raise CommandError(
            "no key is configured", "set encryption_keys or encryption_keys_file; make one: runstead encryption new-key"
        )
    return settings, cipher


def _refuse_encrypted_data(settings: "Settings") -> None:
    """Raise CommandError for encrypted data: a new key could not decrypt it."""
    from runstead.bootstrap.key_check import key_ids_of_data, keys_problem, place_of
    from runstead.resources.storage_errors import StorageError

    try:
        recorded = key_ids_of_data(settings)
    except (StorageError, ImportError) as error:
        raise CommandError(str(error)) from error
    if problem := keys_problem(recorded, None, place_of(settings), has_handlers=True):
        raise CommandError(problem)


def _tell(output: Output, found: "KeyUsage") -> None:
    names = sorted(found.recorded | {key for key in found.usage.by_key if key})
    keys = {name: found.usage.by_key[name] for name in names}
    plain = {table: count for (table, key), count in sorted(found.usage.by_table.items()) if not key}
    output.line("status", place=found.place, present=found.present, keys=keys, plain=plain)
    for name, count in keys.items():
        output.say(f"  {name}  {count} values{', encrypts now' if name == found.present else ''}")
    for table, count in plain.items():
        output.say(f"  {count} values of {table} are not encrypted", style="yellow")

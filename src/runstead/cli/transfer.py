"""``runstead export``, ``import``, ``backup`` and ``restore``: copy all data to a file, and from a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from runstead.bootstrap.key_check import HANDLERS, keys_problem, needs_of
from runstead.bootstrap.transfer import (
    Backup,
    FileTotals,
    Manifest,
    TransferError,
    back_up_file,
    blocked_names,
    export_file,
    import_file,
    restore_file,
    verify_file,
)
from runstead.cli.configured_keys import configured_cipher, named_configuration
from runstead.graphs.configuration import GraphConfiguration
from runstead.resources.storage_errors import StorageError
from runstead.runtime.json_types import JsonObject
from runstead.settings import Settings

from .output import CommandError, Output
from .request import ServeRequest
from .storage_command import run_on_storage

T = TypeVar("T")


def export(output: Output, settings: Settings, file: Path, *, with_files: bool = True) -> None:
    """Export all data of the configured storage to ``file``."""
    place, manifest, files = _done(export_file(settings, file, with_files=with_files))
    output.line("exported", place=place, file=str(file), files=_counted(files), **_shown(manifest))
    output.say(f"{place} is in {file}:")
    _say_rows(output, manifest)
    _say_files(output, files)
    if manifest.nul:
        output.say(f"PostgreSQL does not accept text with a NUL character: {', '.join(manifest.nul)}", style="yellow")
    output.say("The file contains the data of all users: protect it like the database itself.", style="dim")


def import_(
    output: Output,
    settings: Settings,
    file: Path,
    *,
    only_verify: bool,
    configuration: GraphConfiguration | None = None,
    accept_blocked: bool = False,
) -> None:
    """Import everything from ``file`` into the configured storage, or only compare the two.

    ``configuration`` lists the classes that checkpoints may name; with ``accept_blocked`` they may name any.
    """
    if only_verify:
        place, comparison = _done(verify_file(settings, file))
        output.line("verified", place=place, file=str(file), more=comparison.more)
        output.say(f"{place} contains everything in {file}, unchanged.{_and_more(comparison.more)}")
        return

    def show_progress(done: int, total: int) -> None:
        output.line("progress", done=done, total=total)

    blocked = None if accept_blocked else blocked_names(configuration)
    result = _done(import_file(settings, file, show_progress, blocked))
    imported = result.imported
    output.line(
        "imported",
        place=result.place,
        file=str(file),
        written=imported.written,
        more=imported.more,
        went_on=imported.resumed,
        restored=result.restored,
        files=_counted(result.files),
        **_shown(result.manifest),
    )
    went_on = ", continuing an interrupted import" if imported.resumed else ""
    output.say(
        f"{result.place} contains everything in {file}: {imported.written} rows were written{went_on}; counts and "
        f"hashes are those of the file.{_and_more(imported.more)}"
    )
    _say_rows(output, result.manifest)
    _say_files(output, result.files)
    if result.restored:
        output.say(f"Runs wait on {result.restored} threads; the next worker takes them.")


def back_up(output: Output, settings: Settings, file: Path, *, with_files: bool = True) -> None:
    """Back up the data directory to ``file``, while its server may run."""
    place, backup = _with_command_errors(lambda: back_up_file(settings, file, with_files=with_files))
    output.line("backed up", place=place, file=str(file), **_described(backup))
    output.say(f"{place} is in {file}, in the state of one moment. `runstead restore` restores it.")
    if (needs := needs_of(backup.keys)) is not None:
        output.say(f"It cannot be read without {needs}: keep that too, in another place.", style="yellow")
    output.say("The file contains the data of all users: protect it like the database itself.", style="dim")


def restore(output: Output, request: ServeRequest, file: Path) -> None:
    """Restore the data directory from ``file``. Report a missing key, without which no server starts."""
    settings = request.settings()
    place, backup = _with_command_errors(lambda: restore_file(settings, file))
    problem = _key_problem(request, settings, place, backup)
    output.line("restored", place=place, file=str(file), problem=problem, **_described(backup))
    output.say(f"{place} is restored as of {backup.created_at}. Runs in flight continue when a server starts.")
    if problem is not None:
        output.say(f"No server can start on it with these settings: {problem}.", style="yellow")


def _described(backup: Backup) -> JsonObject:
    needs = {"keys": sorted(backup.keys - {HANDLERS}), "handlers": HANDLERS in backup.keys}
    return {"created_at": backup.created_at, "bytes": backup.sizes, **needs}


def _key_problem(request: ServeRequest, settings: Settings, place: str, backup: Backup) -> str | None:
    """Return the reason why a server with these settings would refuse the restored data; None if it would not."""
    if not backup.keys:
        return None
    try:
        cipher = configured_cipher(request, settings)
        configuration = named_configuration(request, settings)
    except CommandError as error:
        return error.problem
    has_handlers = configuration is not None and configuration.encryption is not None
    return keys_problem(backup.keys, cipher, place, has_handlers=has_handlers)


def _with_command_errors(doing: Callable[[], T]) -> T:
    try:
        return doing()
    except (TransferError, StorageError, OSError) as error:
        raise CommandError(str(error)) from error


def _done(doing: Awaitable[T]) -> T:
    return _with_command_errors(lambda: run_on_storage(doing))


def _shown(manifest: Manifest) -> JsonObject:
    return {
        "revision": manifest.revision,
        "rows": {name: found.rows for name, found in manifest.tables.items()},
        "sha256": {name: found.sha256 for name, found in manifest.tables.items()},
    }


def _say_rows(output: Output, manifest: Manifest) -> None:
    for name, found in manifest.tables.items():
        if found.rows:
            output.say(f"  {found.rows:>9} {name}")


def _counted(files: FileTotals | None) -> JsonObject | None:
    return None if files is None else {"count": files.files, "bytes": files.bytes}


def _say_files(output: Output, files: FileTotals | None) -> None:
    if files is not None and files.files:
        output.say(f"  {files.files:>9} files of users, {files.bytes} bytes")


def _and_more(more: int) -> str:
    return f" It has {more} further rows that are not in the file." if more else ""

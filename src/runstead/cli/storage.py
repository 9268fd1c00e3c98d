"""``migrate``, ``backup``, ``restore``, ``export``, ``import`` and ``doctor``: manage and check stored data."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runstead.runtime.json_types import JsonObject

from .options import Assign, Config, DataDir, Host, Json, Port, SettingsFile, Targets
from .output import Output
from .storage_command import storage_command

if TYPE_CHECKING:
    from .request import ServeRequest


@storage_command
def migrate(
    output: Output,
    request: "ServeRequest",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if a migration is needed.")
    ] = False,
) -> int:
    """Migrate the database's schema. Servers may keep running."""
    from .migrate import migrate as migrate_now

    return migrate_now(output, request.settings(), check=check)


WithoutFiles = Annotated[bool, typer.Option("--without-files", help="Leave out the files of users.")]


@storage_command
def backup(
    output: Output,
    request: "ServeRequest",
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write. It must not exist yet.")],
    without_files: WithoutFiles = False,
) -> None:
    """Copy the data directory to a file, in the state of one moment.

    The server may keep running. For a single server; back up a cluster with pg_dump.
    """
    from .transfer import back_up

    back_up(output, request.settings(), file, with_files=not without_files)


@storage_command
def restore(
    output: Output,
    request: "ServeRequest",
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by `runstead backup`.")],
) -> None:
    """Restore a backup into a data directory that has no database.

    Runs that were in flight continue when the server starts.
    """
    from .transfer import restore as restore_now

    restore_now(output, request, file)


@storage_command
def export_(
    output: Output,
    request: "ServeRequest",
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist yet.")],
    without_files: WithoutFiles = False,
) -> None:
    """Export all data into a file.

    A single server may keep running: the file has the state of one moment. Stop all servers and workers of a cluster
    first.
    """
    from .transfer import export

    export(output, request.settings(), file, with_files=not without_files)


@storage_command
def import_(
    output: Output,
    request: "ServeRequest",
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of `runstead export`.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: only compare the data with the file.")
    ] = False,
    accept_blocked: Annotated[
        bool,
        typer.Option(
            "--accept-blocked",
            help="Also import checkpoints that name functions or other code; these are read as plain data.",
        ),
    ] = False,
) -> None:
    """Import an exported file into the configured storage, and verify it at the end.

    Overwrites nothing. An interrupted import continues when it is started again."""
    from .transfer import import_ as import_now

    found = request.settings()
    import_now(
        output,
        found,
        file,
        only_verify=verify,
        # Without a langgraph.json, the strictest rule applies.
        configuration=request.configuration(found) if found.config else None,
        accept_blocked=accept_blocked,
    )


def doctor(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Check the set-up and name the fix for each problem."""
    from .doctor import examine
    from .request import ServeRequest

    output = Output(as_json=json)
    flags: JsonObject = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    with output.handle_errors():
        request = ServeRequest.for_graphs(flags, targets, settings, assign)
        raise typer.Exit(examine(request, output))


def support_bundle(
    file: Annotated[Path, typer.Argument(help="The file to write, such as bundle.zip.")],
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    log: Annotated[Path | None, typer.Option("--log", help="Log file whose last 2,000 lines are added.")] = None,
    json: Json = False,
) -> None:
    """Write versions, settings, doctor's findings, metrics and log lines into one file, without secrets."""
    from .request import ServeRequest
    from .support_bundle import make_bundle

    output = Output(as_json=json)
    flags: JsonObject = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    with output.handle_errors():
        request = ServeRequest(
            flags=flags, assigned=tuple(assign or ()), settings_file=settings, targets=tuple(targets or ())
        )
        make_bundle(request, output, file=file, log=log)

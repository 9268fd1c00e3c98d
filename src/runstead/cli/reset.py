"""``runstead reset``: delete the data of a project's server, for a fresh start."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .output import USAGE, CommandError, Output
from .storage_command import storage_command

if TYPE_CHECKING:
    from .request import ServeRequest


@storage_command
def reset(
    output: Output,
    request: "ServeRequest",
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete the data directory with all runs, threads, files and keys. For development.

    Refuses while a server uses it, and for a directory that Runstead has not made.
    """
    from runstead.bootstrap.data_removal import check_removable, remove_data
    from runstead.resources.storage_errors import StorageError

    settings = request.settings()
    if settings.is_cluster:
        problem = "reset deletes the data of a single server, and these settings are those of a cluster"
        raise CommandError(problem, "drop the schema of its database instead", exit_code=USAGE)
    data_dir = settings.data_dir
    if not data_dir.exists():
        output.line("reset", data_dir=data_dir, deleted=False)
        output.say(f"There is no data in {data_dir}.")
        return
    try:
        check_removable(data_dir)
        if not yes:
            if output.as_json or not sys.stdin.isatty():
                raise CommandError(f"{data_dir} is deleted only after a question", "add --yes", exit_code=USAGE)
            if output.ask(f"Delete all runs and threads in {data_dir}? y/n: ").strip().lower()[:1] != "y":
                output.say("It is kept.")
                return
        remove_data(data_dir)
    except (StorageError, OSError) as error:
        raise CommandError(str(error)) from error
    output.line("reset", data_dir=data_dir, deleted=True)
    output.say(f"{data_dir} is deleted.")

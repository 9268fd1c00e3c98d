"""``runstead retention``: show or delete what the retention rules do not keep."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import TYPE_CHECKING, Annotated

import typer

from .output import FAILED, CommandError, Output
from .storage_command import run_with_store, storage_command

if TYPE_CHECKING:
    from .request import ServeRequest


@storage_command
def retention(
    output: Output,
    request: "ServeRequest",
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete now, instead of showing what would be deleted.")
    ] = False,
) -> int:
    """Show what the retention rules would delete; nothing is changed.

    A server deletes it every hour. Both may run at the same time.
    """
    from runstead.bootstrap.retention import open_retention

    settings = request.settings()
    if not settings.retention:
        raise CommandError("there are no rules", 'set retention in runstead.toml, such as [{"events_days": 30}]')
    report = run_with_store(open_retention(settings), lambda opened: opened.run(dry=not apply))
    output.line("retention", applied=apply, **report.to_json())
    verb = "Deleted" if apply else "Would delete"
    output.say(
        f"{verb} in {report.threads} threads: {report.runs} runs, {report.events} events, "
        f"{report.checkpoints} checkpoints with {report.writes} writes ({report.checkpoint_bytes} bytes)"
    )
    if report.failed:
        output.say(f"{report.failed} threads failed; the log says why")
    return FAILED if report.failed else 0

"""The ``runstead`` command."""

import faulthandler
import sys
from typing import Annotated

import typer

from . import (
    approvals,
    audit,
    channels,
    crons,
    encryption,
    init,
    keys,
    reset,
    retention,
    run_commands,
    runs,
    server_commands,
    steering,
    storage,
    threads,
    top,
    usage,
    webhooks,
)

app = typer.Typer(
    name="runstead",
    help="The runtime for LangGraph agents.",
    no_args_is_help=True,
    # Plain help: importing rich would take longer than everything else.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from runstead.version import __version__

        typer.echo(__version__)
        raise typer.Exit


for command in (
    init.init,
    server_commands.demo,
    server_commands.dev,
    server_commands.serve,
    server_commands.worker,
    server_commands.cluster,
    run_commands.run,
    run_commands.watch,
    run_commands.chat,
    top.top,
    usage.usage,
):
    app.command()(command)
app.command()(storage.migrate)
app.command()(storage.backup)
app.command()(storage.restore)
app.command()(reset.reset)
app.command("export")(storage.export_)
app.command("import")(storage.import_)
app.command()(storage.doctor)
app.command("support-bundle")(storage.support_bundle)
app.command()(retention.retention)
runs.app.command("steer")(steering.runs_steer)
threads.app.command("messages")(steering.threads_messages)
threads.app.command("withdraw")(steering.threads_withdraw)
app.add_typer(runs.app, name="runs")
app.add_typer(threads.app, name="threads")
app.add_typer(approvals.app, name="approvals")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(crons.app, name="crons")
app.add_typer(channels.app, name="channels")
app.add_typer(encryption.app, name="encryption")


def main() -> None:
    """The ``runstead`` command."""
    if sys.stderr is not None:
        # A crash in a library's native code (most likely an agent's) then logs the stacks of all threads.
        faulthandler.enable()
    app()

"""``crons``: manage scheduled runs."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from ..output import Output
from .options import Json, SettingsFile, Url

app = typer.Typer(help="List, pause, resume and delete crons.", no_args_is_help=True, rich_markup_mode=None)


CronId = Annotated[str, typer.Argument(help="Id of the cron.")]


@app.command("ls")
def crons_ls(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List crons, the next due one first."""
    from ..crons import list_crons

    output = Output(as_json=json)
    with output.telling_errors():
        list_crons(output, limit=limit, url=url, settings_file=settings)


@app.command("pause")
def crons_pause(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Pause a cron."""
    from ..crons import switch_cron

    output = Output(as_json=json)
    with output.telling_errors():
        switch_cron(cron_id, output, enabled=False, url=url, settings_file=settings)


@app.command("resume")
def crons_resume(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Resume a paused cron, from its next due time on."""
    from ..crons import switch_cron

    output = Output(as_json=json)
    with output.telling_errors():
        switch_cron(cron_id, output, enabled=True, url=url, settings_file=settings)


@app.command("rm")
def crons_rm(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Delete a cron. Its runs stay."""
    from ..crons import delete_cron

    output = Output(as_json=json)
    with output.telling_errors():
        delete_cron(cron_id, output, url=url, settings_file=settings)

"""``runstead crons``: list, pause, resume and delete scheduled runs."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json, SettingsFile, Url
from .output import Output

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

    output = Output(as_json=json)
    with output.handle_errors():
        list_crons(output, limit=limit, url=url, settings_file=settings)


@app.command("pause")
def crons_pause(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Pause a cron."""

    output = Output(as_json=json)
    with output.handle_errors():
        switch_cron(cron_id, output, enabled=False, url=url, settings_file=settings)


@app.command("resume")
def crons_resume(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Resume a paused cron, from its next due time on."""

    output = Output(as_json=json)
    with output.handle_errors():
        switch_cron(cron_id, output, enabled=True, url=url, settings_file=settings)


@app.command("rm")
def crons_rm(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Delete a cron. Its runs stay."""

    output = Output(as_json=json)
    with output.handle_errors():
        delete_cron(cron_id, output, url=url, settings_file=settings)


def list_crons(output: Output, *, limit: int, url: str | None, settings_file: Path | None) -> None:
    """Print crons as a table, or one per line."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)

    async def command() -> list[Any]:
        async with connect(place) as client:
            return list(await client.crons.search(sort_by="next_run_date", sort_order="asc", limit=limit))

    crons = asyncio.run(command())
    for cron in crons:
        output.line("cron", **{name: value for name, value in cron.items() if name != "payload"})
    if not output.as_json:
        _show_table(crons, output)


def switch_cron(cron_id: str, output: Output, *, enabled: bool, url: str | None, settings_file: Path | None) -> None:
    """Pause or resume a cron."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            cron = await client.crons.update(cron_id, enabled=enabled)
            output.line("changed", cron_id=cron_id, enabled=cron["enabled"], next_run_date=cron["next_run_date"])
            output.say(f"Cron {cron_id} is due at {_moment(cron['next_run_date'])}." if enabled else "It is paused.")

    asyncio.run(command())


def delete_cron(cron_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Delete a cron."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            await client.crons.delete(cron_id)
            output.line("deleted", cron_id=cron_id)
            output.say(f"Cron {cron_id} is deleted; its runs stay.")

    asyncio.run(command())


def _show_table(crons: list[Any], output: Output) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("cron", "schedule", "time zone", "next (UTC)", "thread", "last"):
        table.add_column(title, no_wrap=True)
    for cron in crons:
        table.add_row(
            cron["cron_id"],
            cron["schedule"],
            cron["timezone"] or "UTC",
            _moment(cron["next_run_date"]) if cron["enabled"] else "paused",
            cron["thread_id"] or "a new one each time",
            (cron.get("last_error") or cron.get("last_run_id") or "")[:60],
        )
    output.console.print(table if crons else "no crons")


def _moment(value: object) -> str:
    return str(value)[:19].replace("T", " ") if value else "never"

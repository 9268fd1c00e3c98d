"""``runstead webhooks``: list, show and resend deliveries."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from pathlib import Path
from typing import Annotated

import typer

from runstead.runtime.json_types import JsonObject

from .options import Json, SettingsFile, Url
from .output import Output

app = typer.Typer(help="List, show and resend webhook deliveries.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls")
def webhooks_ls(
    run_id: Annotated[str | None, typer.Option("--run", help="Only deliveries of this run.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only pending, delivered or failed ones.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List deliveries, the newest first."""

    output = Output(as_json=json)
    with output.handle_errors():
        list_deliveries(output, run_id=run_id, status=status, limit=limit, url=url, settings_file=settings)


@app.command("show")
def webhooks_show(
    delivery_id: Annotated[str, typer.Argument(help="Id of the delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Show a delivery with all its attempts."""

    output = Output(as_json=json)
    with output.handle_errors():
        show_delivery(delivery_id, output, url=url, settings_file=settings)


@app.command("redeliver")
def webhooks_redeliver(
    delivery_id: Annotated[str, typer.Argument(help="Id of the delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Send a delivery again now, whatever its status."""

    output = Output(as_json=json)
    with output.handle_errors():
        redeliver(delivery_id, output, url=url, settings_file=settings)


def list_deliveries(
    output: Output, *, run_id: str | None, status: str | None, limit: int, url: str | None, settings_file: Path | None
) -> None:
    """Print deliveries as a table, or one per line."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)
    params: JsonObject = {"limit": limit} | ({"status": status} if status else {})
    params |= {"run_id": run_id} if run_id else {}

    async def command() -> list[JsonObject]:
        async with connect(place) as client:
            found: list[JsonObject] = await client.http.get("/webhooks/deliveries", params=params)
            return found

    deliveries = asyncio.run(command())
    for delivery in deliveries:
        output.line("delivery", **delivery)
    if not output.as_json:
        _show_table(deliveries, output)


def show_delivery(delivery_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Print one delivery with its attempts."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)

    async def command() -> JsonObject:
        async with connect(place) as client:
            found: JsonObject = await client.http.get(f"/webhooks/deliveries/{delivery_id}")
            return found

    delivery = asyncio.run(command())
    output.line("delivery", **delivery)
    output.say(f"{delivery['status']}  run {delivery['run_id']} to {delivery['url']}")
    for attempt in delivery["attempts"]:
        result = attempt["error"] or f"status {attempt['status_code']}"
        output.say(f"  {attempt['number']}  {_moment(attempt['started_at'])}  {result}")
    if delivery["next_attempt_at"]:
        output.say(f"  {'next' if delivery['attempts'] else 'first'} try at {_moment(delivery['next_attempt_at'])} UTC")


def redeliver(delivery_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Send a delivery again now."""
    import asyncio

    from .connection import connect, server_url

    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            delivery = await client.http.post(f"/webhooks/deliveries/{delivery_id}/redeliver", json=None)
            output.line("redelivering", **delivery)
            output.say(f"Sending it again. See: runstead webhooks show {delivery_id}")

    asyncio.run(command())


def _show_table(deliveries: list[JsonObject], output: Output) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("delivery", "run", "status", "attempts", "created", "url"):
        table.add_column(title, no_wrap=True)
    for delivery in deliveries:
        table.add_row(
            delivery["delivery_id"],
            delivery["run_id"],
            delivery["status"],
            str(delivery["attempt_count"]),
            _moment(delivery["created_at"]),
            delivery["url"][:80],
        )
    output.console.print(table if deliveries else "no deliveries")


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")

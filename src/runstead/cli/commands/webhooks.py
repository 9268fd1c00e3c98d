"""``webhooks``: list, show and resend deliveries."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from ..output import Output
from .options import Json, SettingsFile, Url

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
    from ..webhooks import list_deliveries

    output = Output(as_json=json)
    with output.telling_errors():
        list_deliveries(output, run_id=run_id, status=status, limit=limit, url=url, settings_file=settings)


@app.command("show")
def webhooks_show(
    delivery_id: Annotated[str, typer.Argument(help="Id of the delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Show a delivery with all its attempts."""
    from ..webhooks import show_delivery

    output = Output(as_json=json)
    with output.telling_errors():
        show_delivery(delivery_id, output, url=url, settings_file=settings)


@app.command("redeliver")
def webhooks_redeliver(
    delivery_id: Annotated[str, typer.Argument(help="Id of the delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Send a delivery again now, whatever its status."""
    from ..webhooks import redeliver

    output = Output(as_json=json)
    with output.telling_errors():
        redeliver(delivery_id, output, url=url, settings_file=settings)

"""``runstead webhooks``: list, show and resend deliveries."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from runstead.runtime.json_types import JsonObject

from .client_command import ServerClient, client_command
from .output import Output
from .times import ago, moment

app = typer.Typer(help="List, show and resend webhook deliveries.", no_args_is_help=True, rich_markup_mode=None)

DeliveryId = Annotated[str, typer.Argument(help="Id of the delivery, or the first characters of it.")]


@app.command("ls")
@client_command
def webhooks_ls(
    server: ServerClient,
    run_id: Annotated[str | None, typer.Option("--run", help="Only deliveries of this run.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only pending, delivered or failed ones.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
) -> None:
    """List deliveries, the newest first."""
    from .references import find_run

    params: JsonObject = {"limit": limit} | ({"status": status} if status else {})

    async def work(client: Any) -> list[JsonObject]:
        own = {"run_id": (await find_run(client, run_id))[1]} if run_id else {}
        found: list[JsonObject] = await client.http.get("/webhooks/deliveries", params=params | own)
        return found

    deliveries = server.call(work)
    for delivery in deliveries:
        server.output.line("delivery", **delivery)
    if not server.output.as_json:
        _show_table(deliveries, server.output)


@app.command("show")
@client_command
def webhooks_show(server: ServerClient, delivery_id: DeliveryId) -> None:
    """Show a delivery with all its attempts."""
    from .references import find_delivery

    async def work(client: Any) -> JsonObject:
        found: JsonObject = await client.http.get(f"/webhooks/deliveries/{await find_delivery(client, delivery_id)}")
        return found

    output, delivery = server.output, server.call(work)
    output.line("delivery", **delivery)
    output.say(f"{delivery['status']}  run {delivery['run_id']} to {delivery['url']}")
    for attempt in delivery["attempts"]:
        result = attempt["error"] or f"status {attempt['status_code']}"
        output.say(f"  {attempt['number']}  {moment(attempt['started_at'])}  {result}")
    if delivery["next_attempt_at"]:
        output.say(f"  {'next' if delivery['attempts'] else 'first'} try at {moment(delivery['next_attempt_at'])} UTC")


@app.command("redeliver")
@client_command
def webhooks_redeliver(server: ServerClient, delivery_id: DeliveryId) -> None:
    """Send a delivery again now, whatever its status."""
    from .references import find_delivery

    async def work(client: Any) -> JsonObject:
        found = await find_delivery(client, delivery_id)
        sent: JsonObject = await client.http.post(f"/webhooks/deliveries/{found}/redeliver", json=None)
        return sent

    delivery = server.call(work)
    server.output.line("redelivering", **delivery)
    server.output.say(f"Sending it again. See: runstead webhooks show {delivery['delivery_id']}{server.url_option}")


def _show_table(deliveries: list[JsonObject], output: Output) -> None:
    shown = output.short_ids([one["delivery_id"] for one in deliveries])
    runs = output.short_ids([one["run_id"] for one in deliveries])
    rows = [
        (
            shown[one["delivery_id"]],
            runs[one["run_id"]],
            one["status"],
            str(one["attempt_count"]),
            ago(one["created_at"]),
            one["url"],
        )
        for one in deliveries
    ]
    output.table(("delivery", "run", "status", "tries", "created", "url"), rows, empty="no deliveries")

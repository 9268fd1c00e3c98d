"""``runstead top``: what runs and waits, live."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
import asyncio
from contextlib import suppress
from typing import Annotated, Any

import typer

from .client_command import ServerClient, client_command


@client_command
def top(
    server: ServerClient,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 1.0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Maximum runs of each status.")] = 10,
) -> int:
    """Show live what runs, what waits for its turn, and what waits for a human. Ctrl-C ends it."""
    from .activity import current_activity, show_activity

    output = server.output

    async def look(client: Any) -> list[str]:
        found = await current_activity(client, limit)
        output.line("top", activity=[one.to_json() for one in found])
        return show_activity(found, output)

    async def follow(client: Any) -> None:
        if once:
            output.say("\n".join(await look(client)))
            return
        with output.live() as show:
            while True:
                show(await look(client))
                await asyncio.sleep(interval)

    # Ctrl-C is how it ends.
    with suppress(SystemExit):
        server.call(follow)
    return 0

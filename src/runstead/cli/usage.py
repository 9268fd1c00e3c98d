"""``runstead usage``: tokens and costs by day, user, graph or model."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from runstead.installation import install_command
from runstead.runtime.json_types import JsonMapping

from .client_command import ServerClient, client_command
from .output import Output

_COUNTS: Final = ("runs", "calls", "input_tokens", "output_tokens")
_TITLES: Final = ("runs", "calls", "input", "output", "usd")
_NUMBERS_WIDTH: Final = 46
"""Columns that the counts and the cost take at most, with the gaps before them."""
_NARROWEST: Final = 6


@client_command
def usage(
    server: ServerClient,
    by: Annotated[
        str, typer.Option("--by", help="Groups, separated by commas: day, tenant, user, graph, model, caller.")
    ] = "day",
    days: Annotated[int, typer.Option("--days", min=1, max=36_500, help="Number of days (UTC), today included.")] = 30,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of groups.")] = 100,
) -> None:
    """Show the usage of models and its cost: your own, as an admin that of your tenant, as an operator that of all."""
    today = datetime.now(UTC).date()
    params = {"group_by": by, "from": str(today - timedelta(days=days - 1)), "to": str(today), "limit": limit}

    async def work(client: Any) -> Any:
        return await client.http.get("/usage", params=params)

    output, found = server.output, server.call(work)
    output.line("usage", **found)
    if not output.as_json:
        show_usage(found, output)


def show_usage(found: JsonMapping, output: Output) -> None:
    """Print a page of usage as a table of at most 80 columns, unless the terminal is wider."""
    names = found["group_by"]
    width = max((output.console.width - _NUMBERS_WIDTH) // max(len(names), 1) - 2, _NARROWEST)
    rows = [(*(_cut(str(group[name]), width) for name in names), *_numbers(group)) for group in found["data"]]
    output.table((*names, *_TITLES), rows, empty="no usage")
    if not rows:
        return
    total, cost = found["total"], found["cost"]
    tokens = f"{total['runs']} runs, {total['calls']} calls, {total['total_tokens']:,} tokens"
    output.say(f"\n{found['from']} to {found['to']}: {tokens}, {_usd(cost['usd'])}")
    if found["has_more"]:
        output.say("There are more groups; show them with --limit.")
    if cost["unpriced"]:
        output.say(f"Unpriced, and not in the cost: {', '.join(cost['unpriced'])}")
    if cost["prices"] is None:
        output.say("The server has no prices; install them there:")
        output.say(f"  {install_command('prices')}")


def _numbers(group: JsonMapping) -> tuple[str, ...]:
    cost = "unpriced" if group["usd"] is None else f"{group['usd']:.4f}" + ("+?" if group["unpriced"] else "")
    return (*(short_number(group[name]) for name in _COUNTS), cost)


def _usd(usd: float | None) -> str:
    return "unpriced" if usd is None else f"{usd:.4f} US dollars"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def short_number(number: int) -> str:
    """Return a number in at most six characters: all of it, or with k, M, G or T."""
    if number < 100_000:
        return str(number)
    value = float(number)
    for unit in ("k", "M", "G"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g}{unit}"
    return f"{value / 1000:.3g}T"

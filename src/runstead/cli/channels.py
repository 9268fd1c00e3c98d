"""``runstead channels``: link chat users to the account of the caller."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from runstead.runtime.json_types import JsonObject

from .client_command import ServerClient, client_command
from .times import ago, moment

app = typer.Typer(help="Link chat services to your account.", no_args_is_help=True, rich_markup_mode=None)


@app.command("link")
@client_command
def channels_link(server: ServerClient) -> None:
    """Make a one-time code, which links the chat user who sends it to the bot."""

    async def work(client: Any) -> JsonObject:
        made: JsonObject = await client.http.post("/channels/codes", json={})
        return made

    made = server.call(work)
    server.output.line("code", **made)
    server.output.say(f"send this to the bot in a private chat, before {moment(made['expires_at'])}:")
    server.output.say(f"  {made['command']}")


@app.command("ls")
@client_command
def channels_ls(server: ServerClient) -> None:
    """List the chat users that are linked to your account."""

    async def work(client: Any) -> list[JsonObject]:
        found: list[JsonObject] = await client.http.get("/channels/links")
        return found

    links = server.call(work)
    for link in links:
        server.output.line("link", **link)
    if not server.output.as_json:
        rows = [(link["provider"], link["workspace"], link["chat_user_id"], ago(link["created_at"])) for link in links]
        server.output.table(("service", "workspace", "user", "linked"), rows, empty="no chat user is linked")


@app.command("unlink")
@client_command
def channels_unlink(
    server: ServerClient,
    provider: Annotated[str, typer.Argument(help="Service, such as telegram.")],
    chat_user_id: Annotated[str, typer.Argument(metavar="USER", help="Id of the chat user there.")],
) -> None:
    """Unlink a chat user from your account."""

    async def work(client: Any) -> None:
        params = {"provider": provider, "chat_user_id": chat_user_id}
        await client.http.delete("/channels/links", params=params)

    server.call(work)
    server.output.line("unlinked", provider=provider, chat_user_id=chat_user_id)
    server.output.say(f"{provider} user {chat_user_id} is no longer linked")

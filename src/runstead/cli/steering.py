"""``runs steer``, ``threads messages`` and ``threads withdraw``: messages to runs that are going on."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from .client_command import ServerClient, client_command
from .run_commands import RunRef

ThreadRef = Annotated[str, typer.Argument(help="Id of the thread, the first characters of it, or `last`.")]


@client_command
def runs_steer(
    server: ServerClient,
    run_id: RunRef,
    text: Annotated[str, typer.Argument(help="Text of the message.")],
) -> None:
    """Send a message to a run that is going on. Its agent gets it before its next model call."""
    from .references import find_run

    async def work(client: Any) -> Any:
        thread_id, found = await find_run(client, run_id)
        message = {"role": "user", "content": text}
        return await client.http.post(f"/threads/{thread_id}/runs/{found}/inject", json={"message": message})

    sent = server.call(work)
    server.output.line("sent", **sent)
    if sent["message_id"] is None:
        server.output.say(f"No run was going on; run {sent['run_id']} starts with the message.")
        return
    server.output.say(f"Message {sent['message_id']} waits for run {sent['run_id']}.")
    if sent["delivery"] == "unknown":
        server.output.say("The agent has no SteeringMiddleware: it may leave the message to the next run.")
    withdraw = f"runstead threads withdraw {sent['thread_id']} {sent['message_id']}{server.url_option}"
    server.output.say(f"withdraw it: {withdraw}", style="dim")


@client_command
def threads_messages(
    server: ServerClient,
    thread_id: ThreadRef,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only messages that wait.")] = False,
) -> None:
    """List the messages that were sent to runs of a thread while they were going on."""
    from .references import find_thread
    from .times import ago

    async def work(client: Any) -> list[Any]:
        found = await find_thread(client, thread_id)
        return list(await client.http.get(f"/threads/{found}/steering", params={"only_waiting": waiting}))

    output, messages = server.output, server.call(work)
    for message in messages:
        output.line("message", **message)
    if output.as_json:
        return
    rows = [
        (
            message["message_id"],
            message["status"],
            message["run_id"],
            ago(message["created_at"]),
            " ".join(str(one["content"]) for one in message["messages"])[:60],
        )
        for message in messages
    ]
    output.table(("message", "status", "run", "sent", "text"), rows, empty="no messages")


@client_command
def threads_withdraw(
    server: ServerClient,
    thread_id: ThreadRef,
    message_id: Annotated[str, typer.Argument(help="Id of the message.")],
) -> None:
    """Withdraw a message that waits, so that no run gets it."""
    from .references import find_thread

    async def work(client: Any) -> None:
        found = await find_thread(client, thread_id)
        await client.http.delete(f"/threads/{found}/steering/{message_id}")

    server.call(work)
    server.output.line("withdrawn", message_id=message_id)
    server.output.say(f"Message {message_id} is withdrawn.")

"""``runstead approvals``: list, show, answer, delegate and comment on the questions for which threads wait."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from .client_command import ServerClient, client_command
from .output import USAGE, CommandError
from .run_commands import Yes, parse_json
from .threads import ThreadRef
from .times import ago, moment

app = typer.Typer(help="List and answer what waits for a human.", no_args_is_help=True, rich_markup_mode=None)


ApprovalRef = Annotated[
    str, typer.Argument(metavar="APPROVAL", help="Id of the approval, the first characters of it, or `last`.")
]


@app.command("ls")
@client_command
def approvals_ls(
    server: ServerClient,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
    state: Annotated[
        str, typer.Option("--state", help="open, answered, expired, withdrawn, or any for all of them.")
    ] = "open",
) -> None:
    """List what waits for an answer, the longest waiting first."""
    from .transcript import compact

    async def work(client: Any) -> list[Any]:
        return list(await client.http.get("/approvals", params={"limit": limit, "state": state}))

    output, approvals = server.output, server.call(work)
    for approval in approvals:
        output.line("approval", **approval)
    if output.as_json:
        return
    shown = output.short_ids([approval["approval_id"] for approval in approvals])
    threads = output.short_ids([approval["thread_id"] for approval in approvals])
    rows = [
        (
            shown[one["approval_id"]],
            threads[one["thread_id"]],
            ago(one["created_at"]),
            _due(one) if one["state"] == "open" else one["state"],
            compact(one["question"]),
        )
        for one in approvals
    ]
    output.table(("approval", "thread", "asked", "due", "question"), rows, empty="nothing waits for an answer")
    if rows and state == "open":
        output.say(f"answer one: runstead approvals answer APPROVAL{server.url_option}", style="dim")


@app.command("show")
@client_command
def approvals_show(server: ServerClient, approval_id: ApprovalRef) -> None:
    """Show an approval, and what happened to it."""
    from .references import find_approval
    from .transcript import compact

    async def work(client: Any) -> Any:
        return await client.http.get(f"/approvals/{await find_approval(client, approval_id)}")

    approval, output = server.call(work), server.output
    output.line("approval", **approval)
    if output.as_json:
        return
    for name in ("approval_id", "thread_id", "graph_id", "state", "delegate", "decider", "answer_run_id"):
        if approval[name] is not None:
            output.say(f"{name}: {approval[name]}")
    output.say(f"question: {compact(approval['question'])}")
    if approval["state"] == "answered":
        output.say(f"answer: {compact(approval['decision'])}")
    if approval["deadline_at"] is not None:
        output.say(f"deadline: {moment(approval['deadline_at'])}")
    rows = [
        (moment(event["at"]), event["kind"], event["user_id"] or "-", _detail(event)) for event in approval["events"]
    ]
    output.table(("at", "what", "user", "more"), rows, empty="")


@app.command("delegate")
@client_command
def approvals_delegate(
    server: ServerClient,
    approval_id: ApprovalRef,
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="The user; without it, none.")] = None,
) -> None:
    """Let another user answer too; without USER, take that back."""
    from .references import find_approval

    async def work(client: Any) -> Any:
        found = await find_approval(client, approval_id)
        return await client.http.post(f"/approvals/{found}/delegate", json={"user_id": user})

    approval = server.call(work)
    server.output.line("delegated", approval_id=approval["approval_id"], delegate=user)
    server.output.say("It is delegated to no other user." if user is None else f"{user} can answer it too.")


@app.command("comment")
@client_command
def approvals_comment(
    server: ServerClient, approval_id: ApprovalRef, text: Annotated[str, typer.Argument(help="The comment.")]
) -> None:
    """Comment on an approval."""
    from .references import find_approval

    async def work(client: Any) -> str:
        found = await find_approval(client, approval_id)
        await client.http.post(f"/approvals/{found}/comments", json={"text": text})
        return found

    found = server.call(work)
    server.output.line("commented", approval_id=found)
    server.output.say("The comment is stored.")


@app.command("answer")
@client_command
def approvals_answer(
    server: ServerClient,
    thread_id: ThreadRef,
    answer: Annotated[
        str | None, typer.Argument(metavar="[JSON]", help="The answer; without it, you are asked.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Answer an approval, or what a thread waits for, and watch the run that continues."""
    from .references import LAST, find_thread
    from .session import RunSession

    if answer is not None and yes:
        raise CommandError("give an answer, or --yes: one of them", exit_code=USAGE)
    value = parse_json("the answer", answer)

    async def work(client: Any) -> int:
        if thread_id == LAST:
            waiting = await client.threads.search(status="interrupted", limit=1, sort_by="updated_at")
            if not waiting:
                raise CommandError("no thread waits for an answer")
            found = str(waiting[0]["thread_id"])
        elif (approval := await _approval(client, thread_id)) is not None:
            return await _answer(client, server, approval, value, asks=answer is None, yes=yes)
        else:
            found = await find_thread(client, thread_id)
        thread = await client.threads.get(found)
        if not thread.get("interrupts"):
            raise CommandError(f"thread {found} waits for no answer", "see `runstead approvals ls`")
        (run,) = await client.runs.list(found, limit=1)
        session = RunSession(client, server, found, approve=yes)
        if answer is not None:
            return await session.create(run["assistant_id"], None, {"resume": value})
        return await session.answer(run["assistant_id"], thread["interrupts"])

    return server.call(work)


async def _approval(client: Any, reference: str) -> Any:
    """Return the open approval whose id begins with ``reference``; None if there is none, or more than one."""
    found = await client.http.get("/approvals", params={"limit": 1_000})
    matching = [one for one in found if one["approval_id"].startswith(reference.lower())]
    return matching[0] if len(matching) == 1 else None


async def _answer(client: Any, server: ServerClient, approval: Any, value: Any, *, asks: bool, yes: bool) -> int:
    from .approval import approve_all, ask_about
    from .transcript import Interrupt

    if asks:
        interrupt = Interrupt(approval["interrupt_id"], approval["question"], approval["response_schema"])
        value = approve_all([interrupt]) if yes else ask_about([interrupt], input)
    answered = await client.http.post(f"/approvals/{approval['approval_id']}/answer", json={"answer": value})
    run_id = answered["answer_run_id"]
    server.output.line("answered", approval_id=answered["approval_id"], run_id=run_id)
    server.output.say(f"Answered. The thread continues with the run {run_id}.")
    return 0


def _due(approval: Any) -> str:
    return "-" if approval["deadline_at"] is None else ago(approval["deadline_at"])


def _detail(event: Any) -> str:
    details = event["details"]
    return str(details.get("comment") or details.get("reason") or details.get("delegate") or "")

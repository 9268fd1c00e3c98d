"""``run``, ``watch`` and ``chat``: commands that follow runs live."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from runstead.runtime.json_types import JsonObject

from .client_command import ServerClient, client_command
from .options import Thread
from .output import USAGE, CommandError

RunRef = Annotated[str, typer.Argument(help="Id of the run, the first characters of it, or `last`.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve every question.")]


@client_command
def run(
    server: ServerClient,
    assistant: Annotated[str, typer.Argument(help="Assistant or graph to run.")],
    text: Annotated[str | None, typer.Argument(help="Text of the user's message.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="The graph's input as JSON, instead of a text.")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Answer (JSON) to the pending interrupt of the thread.")
    ] = None,
    thread: Thread = None,
    yes: Yes = False,
) -> int:
    """Create a run and watch it live.

    Answer y, n or e when it asks for approval. Ctrl-C detaches, and the run continues; a second Ctrl-C cancels it.
    """
    request = RunRequest.parse(assistant, text=text, input=input, resume=resume, thread_id=thread, approve=yes)
    from .session import RunSession

    async def work(client: Any) -> int:
        thread_id = await _thread_of(client, request.thread_id)
        session = RunSession(client, server, thread_id, approve=request.approve)
        command = {"resume": request.resume} if request.resumes else None
        return await session.create(request.assistant, request.input, command)

    return server.call(work)


@client_command
def watch(server: ServerClient, run_id: RunRef, thread: Thread = None, yes: Yes = False) -> int:
    """Watch an existing run, from its beginning."""
    from .references import find_run, find_thread
    from .session import RunSession

    async def work(client: Any) -> int:
        within = await find_thread(client, thread) if thread else None
        thread_id, found = await find_run(client, run_id, within)
        return await RunSession(client, server, thread_id, approve=yes).join(found)

    return server.call(work)


@client_command
def chat(
    server: ServerClient,
    assistant: Annotated[str | None, typer.Argument(help="Assistant or graph.  [default: the only one]")] = None,
    thread: Thread = None,
    yes: Yes = False,
) -> int:
    """Talk with a graph on one thread, one run after the other.

    Asks for a message, or for the fields of the graph's input if it has no messages. An empty line or Ctrl-D ends it.
    """
    from .chat import Chat

    async def work(client: Any) -> int:
        thread_id = await _thread_of(client, thread)
        return await Chat(client, server, thread_id, approve=yes).talk(assistant)

    return server.call(work)


async def _thread_of(client: Any, reference: str | None) -> str:
    """Return the id of the thread, or of a new one."""
    from .references import find_thread

    if reference is not None:
        return await find_thread(client, reference)
    return str((await client.threads.create())["thread_id"])


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Options of ``runstead run``."""

    assistant: str
    input: Any = None
    resume: Any = None
    resumes: bool = False
    thread_id: str | None = None
    approve: bool = False

    @classmethod
    def parse(
        cls,
        assistant: str,
        *,
        text: str | None,
        input: str | None,
        resume: str | None,
        thread_id: str | None,
        approve: bool,
    ) -> "RunRequest":
        """Parse the options: one of text, input and resume, or none to continue from the thread's state. Raises
        CommandError."""
        if sum(given is not None for given in (text, input, resume)) > 1:
            raise CommandError("give a text, or --input, or --resume: one of them", exit_code=USAGE)
        if text is None and input is None and thread_id is None:
            problem = "give a text, or --input JSON, or name a --thread to continue"
            raise CommandError(problem, exit_code=USAGE)
        said = message_input(text) if text is not None else parse_json("--input", input)
        return cls(assistant, said, parse_json("--resume", resume), resume is not None, thread_id, approve)


def message_input(text: str) -> JsonObject:
    """Return the input of a graph with messages: one message of the user."""
    return {"messages": [{"role": "user", "content": text}]}


def parse_json(option: str, text: str | None) -> Any:
    """Return the value of an option, ``-`` for standard input, None if it was not given. Raises CommandError."""
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option} is not JSON: {error}", exit_code=USAGE) from error

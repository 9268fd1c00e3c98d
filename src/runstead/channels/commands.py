"""Commands that chat users type, such as ``/stop``."""

from __future__ import annotations

from dataclasses import dataclass

from runstead.resources.channels import ChannelMessage
from runstead.resources.usage import total_of
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, ThreadId

from . import texts
from .ports import ChannelServices
from .runs import IN_FLIGHT, ChannelRuns

_MANY = 1_000


@dataclass(frozen=True, slots=True)
class Command:
    """Command with its argument."""

    name: str
    argument: str = ""


def command_in(text: str) -> Command | None:
    """Return the command in a text. Unknown commands, and ``/start`` of Telegram, are requests for help."""
    # Slack lets users send a slash only behind a blank.
    text = text.strip()
    if not text.startswith("/") or text[1:2].isspace() or len(text) < 2:
        return None
    name, _, argument = text[1:].partition(" ")
    # Telegram adds the bot's name in groups.
    name = name.partition("@")[0].lower()
    if not name.isalpha():
        return None
    return Command(name if name in ("new", "stop", "status", "usage", "link") else "help", argument.strip())


class Commands:
    """Executes commands under the bound actor, and returns what to reply."""

    def __init__(self, services: ChannelServices, runs: ChannelRuns) -> None:
        self._services, self._runs = services, runs

    async def execute(self, command: Command, message: ChannelMessage) -> str:
        match command.name:
            case "new":
                await self._runs.begin_thread(message)
                return texts.NEW_CONVERSATION
            case "stop":
                return await self._stop(message)
            case "status":
                return await self._status(message)
            case "usage":
                return await self._usage(message)
            case _:
                return texts.HELP

    async def _stop(self, message: ChannelMessage) -> str:
        running = await self._in_flight(await self._thread_of(message))
        # Newest first: stopping the oldest would let the next one begin.
        for run in running:
            try:
                await self._services.runs.cancel(run.run_id, thread_id=run.thread_id)
            except RunNotFound:
                continue
        return texts.STOPPING if running else texts.NOTHING_RUNS

    async def _status(self, message: ChannelMessage) -> str:
        thread_id = await self._thread_of(message)
        thread = await self._services.threads.get(thread_id) if thread_id else None
        if thread is None:
            return "No conversation has begun yet."
        running = await self._in_flight(thread_id)
        lines = [f"Conversation {thread_id}: {thread.status}"]
        waiting = sum(run.status is RunStatus.PENDING for run in running)
        if running:
            lines.append(f"{len(running) - waiting} running, {waiting} waiting")
        return "\n".join(lines)

    async def _usage(self, message: ChannelMessage) -> str:
        thread_id = await self._thread_of(message)
        if thread_id is None:
            return "No conversation has begun yet."
        usage = await self._services.usage.of_thread(thread_id)
        total = total_of(usage.models)
        return (
            f"{total.total_tokens} tokens in this conversation: {total.input_tokens} read, "
            f"{total.output_tokens} written, in {usage.runs} runs."
        )

    async def _thread_of(self, message: ChannelMessage) -> ThreadId | None:
        actor = require_actor_context("a channel")
        return await self._services.stores.messages.thread_of(message.conversation, actor)

    async def _in_flight(self, thread_id: ThreadId | None) -> list[RunRecord]:
        if thread_id is None:
            return []
        return list(await self._services.runs.list_runs(RunFilter(thread_id, IN_FLIGHT), limit=_MANY))

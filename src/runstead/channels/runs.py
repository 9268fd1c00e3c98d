"""Runs for messages of chat users: one for each message, in their order, on the thread of the conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from uuid_utils.compat import uuid7

from runstead.resources.channels import CHANNEL_SOURCE, ChannelLink, ChannelMessage
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.steering import MessageNotFound
from runstead.runtime.runs.types import Idempotency, RunId, RunRecord, RunStatus, ThreadId
from runstead.wire.configs import Continued
from runstead.wire.runs import RUN_CREATE, to_run_spec
from runstead.workspace import InvalidFilePath, parts_of

from .contract import Channel, IncomingFile
from .ports import ChannelServices

IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)
_POLL_SECONDS: Final = 0.5
ATTACHED: Final = "Attached files: "
"""Begins the line of a message that names the uploaded files, for the agent."""


def actor_of(link: ChannelLink) -> ActorContext:
    """Return the account of a linked chat user, as it acts in the channel."""
    return replace(link.actor, auth_source=auth_source_of(link.chat_user.provider))


def auth_source_of(provider: str) -> str:
    return f"{CHANNEL_SOURCE}{provider}"


@dataclass(frozen=True, slots=True)
class Resumption:
    """Answer to an interrupt of an earlier run."""

    run: RunRecord
    interrupt_id: str
    answer: Any


class ChannelRuns:
    """Creates the runs of messages under the bound actor."""

    def __init__(self, services: ChannelServices) -> None:
        self._services = services

    async def existing(self, message: ChannelMessage) -> RunRecord | None:
        """Return the run that a message has created before a crash."""
        try:
            return await self._services.runs.get_run(_run_id_of(message))
        except RunNotFound:
            return None

    async def create(self, message: ChannelMessage, thread_id: ThreadId, files: list[str]) -> RunRecord:
        """Create the run of a text, after all runs of its thread. Raises as the route that creates runs."""
        attached = ATTACHED + ", ".join(files) if files else ""
        content = "\n\n".join(part for part in (str(message.payload.get("text") or ""), attached) if part)
        body = {
            "assistant_id": self._services.assistant,
            "input": {"messages": [{"type": "human", "content": content}]},
            "if_not_exists": "create",
        }
        if self._services.steering is not None:
            body["multitask_strategy"] = "steer"
        return await self._create(message, thread_id, body, None, {})

    async def run_to_answer(self, message: ChannelMessage) -> RunId | None:
        """Return the run whose end answers a message; None if another message's answer covers it.

        A message that was sent to a run is answered by that run's answer to an earlier message, unless the run ended
        first. Waits until that is known.
        """
        steering, own = self._services.steering, _run_id_of(message)
        if steering is None or message.run_id == own or message.thread_id is None:
            return message.run_id
        while True:
            try:
                sent = await steering.get(message.thread_id, own)
            except MessageNotFound:
                return message.run_id
            if not sent.is_open:
                return sent.run_id if sent.status == "moved" else None
            await self._services.clock.sleep(_POLL_SECONDS)

    async def resume(self, message: ChannelMessage, resumption: Resumption) -> RunRecord:
        """Create the run that answers an interrupt. Raises as `create`, and InvalidAnswer."""
        asked = resumption.run
        body = {
            "assistant_id": asked.assistant_id,
            "command": {"resume": {resumption.interrupt_id: resumption.answer}},
            "strict_resume": True,
        }
        config, context = asked.spec.config.get("configurable") or {}, asked.spec.context or {}
        continued = Continued(asked.assistant_id, config, context)
        return await self._create(message, asked.thread_id, body, continued, {"decision": resumption.answer})

    async def _create(
        self,
        message: ChannelMessage,
        thread_id: ThreadId,
        body: JsonObject,
        continued: Continued | None,
        details: JsonObject,
    ) -> RunRecord:
        services, provider = self._services, message.conversation.provider
        common = {
            "run_id": _run_id_of(message),
            "stream_mode": ["messages-tuple"],
            "multitask_strategy": "enqueue",
            "metadata": {"channel": provider},
        }
        run = await services.rules.authorize_run(thread_id, RUN_CREATE.validate_python({**common, **body}))
        assistant = await services.assistants.find(run.assistant_id)
        services.assistants.check_graph(assistant.graph_id)
        thread = await services.threads.get(thread_id)
        spec = to_run_spec(run, assistant=assistant, thread_id=thread_id, thread=thread, continued=continued)
        key = f"{auth_source_of(provider)}:{spec.run_id}"
        spec = replace(spec, idempotency=Idempotency(key, key))
        await services.assistants.check_context(spec.graph_id, spec.context)
        await services.interrupts.check_answers(spec)
        record = await services.runs.create_background(spec)
        await services.rules.record(
            require_actor_context("a run of a channel"),
            action="threads.create_run",
            route=auth_source_of(provider),
            status=200,
            target={"thread_id": record.thread_id, "run_id": record.run_id},
            details=details,
        )
        return record

    async def thread_of(self, message: ChannelMessage) -> ThreadId:
        """Return the thread of the message's conversation, or the id of a new one."""
        actor = require_actor_context("a channel")
        found = await self._services.stores.messages.thread_of(message.conversation, actor)
        return found or await self.begin_thread(message)

    async def begin_thread(self, message: ChannelMessage) -> ThreadId:
        """Give the conversation a new thread, which its first run creates."""
        thread_id = ThreadId(str(uuid7()))
        actor = require_actor_context("a channel")
        await self._services.stores.messages.set_thread(message.conversation, actor, thread_id)
        return thread_id

    async def upload(self, channel: Channel, message: ChannelMessage, thread_id: ThreadId) -> list[str]:
        """Store the files of a message among the thread's uploads; return their paths. Raises FileTooLarge,
        QuotaExceeded."""
        given = [IncomingFile(*one) for one in message.payload.get("files") or ()]
        if not given or self._services.files is None or not channel.capabilities.files:
            return []
        metadata = await self._services.rules.authorize_thread({})
        await self._services.threads.create(thread_id, metadata=metadata, if_exists="do_nothing")
        taken = {entry.path for entry in await self._services.files.list(thread_id)}
        paths = []
        for file in given:
            path = _free_path(file.name, message.seq, taken)
            await self._services.files.write(thread_id, path, _content(channel, file))
            taken.add(path)
            paths.append(path)
        return paths


async def _content(channel: Channel, file: IncomingFile) -> AsyncIterator[bytes]:
    async for chunk in channel.download(file):
        yield chunk


def _free_path(name: str, seq: int, taken: set[str]) -> str:
    """Return a path in ``uploads`` that replaces no other file. Names that cannot be stored become ``file``."""
    plain = PurePosixPath(name.replace("\\", "/")).name
    try:
        parts_of(f"uploads/{plain}")
    except InvalidFilePath:
        plain = "file"
    stem, suffix = PurePosixPath(plain).stem, PurePosixPath(plain).suffix
    path, number = f"uploads/{plain}", seq
    while path in taken:
        path, number = f"uploads/{stem}-{number}{suffix}", number + 1
    return path


def _run_id_of(message: ChannelMessage) -> RunId:
    """Return the id of a message's run, which a repeated attempt finds again."""
    place = message.conversation
    return RunId(str(uuid5(NAMESPACE_URL, "\n".join((place.provider, place.workspace, message.message_id)))))

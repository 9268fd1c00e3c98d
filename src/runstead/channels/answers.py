"""Answers of runs in a chat: the text while it grows, then the final text, the questions and the files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import orjson

from runstead.resources.channels import ChannelMessage
from runstead.resources.states import CheckpointNotFound
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunStream
from runstead.runtime.runs.types import CheckpointRef, RunId, RunRecord, RunStatus, StopReason, ThreadId
from runstead.runtime.stream_bridge.contract import StreamEvent, StreamItem
from runstead.workspace import FileEntry

from . import texts
from .access import AccessRevoked
from .contract import Button, Channel
from .ports import ChannelServices
from .questions import Question, question_of
from .reply import Pace, Reply, key_of
from .speech import SEPARATOR, StreamedSpeech, foreign_messages, said_between

_log = logging.getLogger(__name__)

_TOLERANCE: Final = timedelta(milliseconds=20)
"""Difference between the clocks of file systems and of the server."""
_OUTPUTS: Final = "outputs/"
_MOST_FILES: Final = 20
"""Files that one answer sends."""


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """Final answer of a run."""

    text: str
    questions: Sequence[Question] = ()
    files: Sequence[FileEntry] = ()


class Answers:
    """Answers messages of one channel under the bound actor. Each step is stored, so that a repeated answer changes
    what was sent before."""

    def __init__(self, services: ChannelServices, channel: Channel) -> None:
        self._services, self._channel = services, channel

    async def answer(self, message: ChannelMessage, pace: Pace) -> None:
        """Follow the run of a message to its end, and send what it says. Idempotent. Raises AccessRevoked if the run
        was stopped since its user has no access any more."""
        assert message.run_id is not None
        progress = _Progress(self._services, message)
        chat_id = message.conversation.chat_id

        async def save(ids: Sequence[str]) -> None:
            await progress.set(parts=list(ids))

        reply = Reply(self._channel, chat_id, key_of(message), pace, progress.values.get("parts") or (), save)
        await reply.grow(texts.WORKING)
        run = await self._followed(message.run_id, reply, pace)
        if run is not None and run.stop_requested is StopReason.REVOKED:
            raise AccessRevoked
        final = await self._final(run)
        if final.text or not final.questions:
            await reply.finish(final.text or texts.NO_TEXT)
        await self._ask(message, final, reply, progress, pace)
        await self._send_files(message, final.files, progress, pace)

    async def _ask(
        self, message: ChannelMessage, final: FinalAnswer, reply: Reply, progress: _Progress, pace: Pace
    ) -> None:
        """Send each question below the answer, in a message of its own; the first one in place of an empty answer."""
        asked: list[JsonObject] = list(progress.values.get("asked") or ())
        for number, question in enumerate(final.questions):
            if number < len(asked) and asked[number]["message_id"]:
                continue
            # Stored before it is sent, since a button may be pressed at once.
            asked[number:] = [{**question.to_json(), "message_id": ""}]
            await progress.set(asked=asked)
            shown = self._shown(question)
            buttons = self._buttons(message, number, question)
            if not final.text and number == 0:
                sent = await reply.finish(shown, buttons)
            else:
                sent = await self._send(message, shown, buttons, f"question-{number}", pace)
            asked[number]["message_id"] = sent
            await progress.set(asked=asked)

    async def _send(self, message: ChannelMessage, text: str, buttons: Sequence[Button], key: str, pace: Pace) -> str:
        async def save(_: Sequence[str]) -> None:
            return

        place = message.conversation
        reply = Reply(self._channel, place.chat_id, f"{key_of(message)}-{key}", pace, (), save)
        return await reply.finish(text, buttons)

    def _shown(self, question: Question) -> str:
        if self._channel.capabilities.buttons or not question.choices:
            return question.text
        return texts.numbered(question.text, [choice.label for choice in question.choices])

    def _buttons(self, message: ChannelMessage, number: int, question: Question) -> Sequence[Button]:
        if not self._channel.capabilities.buttons:
            return ()
        return [
            Button(choice.label, f"a:{message.seq}:{number}:{place}") for place, choice in enumerate(question.choices)
        ]

    async def _send_files(
        self, message: ChannelMessage, files: Sequence[FileEntry], progress: _Progress, pace: Pace
    ) -> None:
        sent: list[str] = list(progress.values.get("files") or ())
        if len(files) > _MOST_FILES and not sent:
            text = f"{len(files)} files were written; these are the first {_MOST_FILES}."
            await self._send(message, text, (), "many-files", pace)
        for entry in files[:_MOST_FILES]:
            if entry.path in sent:
                continue
            content = await self._content(message.thread_id, entry)
            if content is None:
                await self._send(message, f"{entry.path} is too large to be sent here.", (), entry.path, pace)
            else:
                name = entry.path.rpartition("/")[2]
                await pace.call(partial(self._channel.send_file, message.conversation.chat_id, name, content))
            sent.append(entry.path)
            await progress.set(files=sent)

    async def _content(self, thread_id: ThreadId | None, entry: FileEntry) -> bytes | None:
        assert self._services.files is not None
        assert thread_id is not None
        if entry.size > self._channel.capabilities.max_file_bytes:
            return None
        opened = await self._services.files.open(thread_id, entry.path)
        try:
            return await opened.read(0, entry.size)
        finally:
            await opened.close()

    async def _followed(self, run_id: RunId, reply: Reply, pace: Pace) -> RunRecord | None:
        """Show what the run says while it runs; return its record when it has ended, None if it was deleted."""
        try:
            if self._channel.capabilities.edits:
                async with await self._services.runs.join_stream(run_id, last_event_id="-1") as stream:
                    await self._grow(stream, reply, pace)
            return (await self._services.runs.join_wait(run_id)).record
        except RunNotFound:
            return None

    async def _grow(self, stream: RunStream, reply: Reply, pace: Pace) -> None:
        speech, shown = StreamedSpeech(), ""
        reading = asyncio.ensure_future(stream.read())
        try:
            while True:
                if speech.text != shown and pace.wait <= 0:
                    shown = speech.text
                    await reply.grow(shown)
                await self._wait(reading, pace.wait if speech.text != shown else None)
                if not reading.done():
                    continue
                if not (items := reading.result()):
                    return
                for item in items:
                    if isinstance(item, StreamEvent):
                        speech.add(item)
                reading = asyncio.ensure_future(stream.read())
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _wait(self, reading: asyncio.Future[Sequence[StreamItem]], seconds: float | None) -> None:
        if seconds is None:
            await asyncio.wait((reading,))
            return
        sleeping = asyncio.ensure_future(self._services.clock.sleep(seconds))
        await asyncio.wait((reading, sleeping), return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()

    async def _final(self, run: RunRecord | None) -> FinalAnswer:
        if run is None:
            return FinalAnswer(texts.STOPPED)
        try:
            said, questions = await self._outcome(run)
        except (ThreadNotFound, CheckpointNotFound):
            said, questions = "", []
        failure = texts.FAILED.format(problem=run.failure.message) if run.failure else ""
        stopped = texts.STOPPED if run.status is RunStatus.INTERRUPTED else ""
        text = SEPARATOR.join(part for part in (said, failure, stopped) if part)
        return FinalAnswer(text, questions, await self._outputs(run))

    async def _outcome(self, run: RunRecord) -> tuple[str, list[Question]]:
        """Return what the lead said in the run, and what the run asks. Raises ThreadNotFound, CheckpointNotFound."""
        states = self._services.states
        if run.final_checkpoint_id is None:
            return "", []
        after = await states.read(run.thread_id, at=CheckpointRef(run.final_checkpoint_id))
        before = None
        if run.base_checkpoint_id is not None:
            before = (await states.read(run.thread_id, at=CheckpointRef(run.base_checkpoint_id))).values
        models = await self._services.events.list_events(
            run.thread_id, run_id=run.run_id, event_types=("ai_message", "ai_tool_call"), limit=1_000
        )
        questions = [question_of(interrupt) for interrupt in orjson.loads(after.interrupts)]
        return said_between(before, after.values, foreign_messages(models)), questions

    async def _outputs(self, run: RunRecord) -> list[FileEntry]:
        """Return the files that the run has written for the user."""
        if self._services.files is None or not self._channel.capabilities.files or run.started_at is None:
            return []
        begin, end = run.started_at - _TOLERANCE, (run.ended_at or self._services.clock.now()) + _TOLERANCE
        try:
            found = await self._services.files.list(run.thread_id)
        except ThreadNotFound:
            return []
        return [entry for entry in found if entry.path.startswith(_OUTPUTS) and begin <= entry.modified_at <= end]


class _Progress:
    """Record of the parts of an answer that have been sent, stored after each of them."""

    def __init__(self, services: ChannelServices, message: ChannelMessage) -> None:
        self._store, self._seq = services.stores.messages, message.seq
        self.values: JsonObject = dict(message.progress)
        require_actor_context("a channel")

    async def set(self, **values: object) -> None:
        self.values |= values
        await self._store.set_progress(self._seq, self.values)

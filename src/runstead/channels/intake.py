"""Reception of one message: who writes it, and what it asks for: a command, an answer to a question, or a run."""

from __future__ import annotations

from typing import Any

from runstead.resources.channels import ChannelLink, ChannelMessage, digest_of
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, ThreadId

from . import texts
from .commands import Command, Commands, command_in
from .contract import Channel
from .ports import ChannelServices
from .questions import Question, question_of
from .runs import ChannelRuns, Resumption, actor_of, auth_source_of


class Intake:
    """Handles received messages of one channel, in the order of a conversation."""

    def __init__(self, services: ChannelServices, channel: Channel) -> None:
        self._services, self._channel = services, channel
        self._runs = ChannelRuns(services)
        self._commands = Commands(services, self._runs)

    async def handle(self, message: ChannelMessage) -> str | RunRecord:
        """Return the run of the message, or the text that answers it at once. A repeated call repeats nothing.

        Raises as the routes of the HTTP API.
        """
        text, button = str(message.payload.get("text") or ""), message.payload.get("button")
        command = None if button else command_in(text)
        if command is not None and command.name == "link":
            return await self._link(command, message)
        link = await self._services.stores.links.find(message.conversation.chat_user)
        if link is None and not button:
            return texts.NOT_LINKED
        if button:
            return await self._press(message, str(button), link)
        assert link is not None
        return await self._by_user(message, link, command)

    async def _by_user(self, message: ChannelMessage, link: ChannelLink, command: Command | None) -> str | RunRecord:
        if await self._services.rules.is_revoked(link):
            return texts.ACCESS_REVOKED
        with acting(actor_of(link)) as actor:
            if (run := await self._runs.existing(message)) is not None:
                return run
            if self._services.requests is not None:
                await self._services.requests.take(actor)
            if command is not None:
                return await self._commands.execute(command, message)
            thread_id = await self._runs.thread_of(message)
            question = await self._open_question(thread_id)
            if question is not None:
                return await self._answer(message, thread_id, question, str(message.payload.get("text") or ""))
            files = await self._runs.upload(self._channel, message, thread_id)
            return await self._runs.create(message, thread_id, files)

    async def _link(self, command: Command, message: ChannelMessage) -> str:
        digest, links = digest_of(command.argument), self._services.stores.links
        if not message.payload.get("is_private"):
            await links.delete_code(digest)
            return texts.NOT_PRIVATE
        if (link := await links.redeem(digest, message.conversation.chat_user)) is None:
            return texts.WRONG_CODE
        chat_user = message.conversation.chat_user
        await self._services.rules.record(
            actor_of(link),
            action="channels.link",
            route=auth_source_of(chat_user.provider),
            status=200,
            target={"chat_user_id": chat_user.user_id, "workspace": chat_user.workspace},
        )
        return texts.LINKED.format(user=link.actor.user_id)

    async def _open_question(self, thread_id: ThreadId) -> Question | None:
        """Return the first question that the thread waits for; None while a run is in flight, or if there is none."""
        async with self._services.interrupts.of(thread_id) as waiting:
            for interrupt in waiting.values():
                return question_of(interrupt)
        return None

    async def _answer(
        self, message: ChannelMessage, thread_id: ThreadId, question: Question, typed: str
    ) -> str | RunRecord:
        try:
            answer = question.answer_of(typed)
        except ValueError as error:
            return texts.NOT_A_CHOICE.format(choices=error) if question.choices else str(error)
        run = await self._latest_run(thread_id)
        return await self._runs.resume(message, Resumption(run, question.interrupt_id, answer))

    async def _press(self, message: ChannelMessage, data: str, link: ChannelLink | None) -> str | RunRecord:
        """Answer the question of a pressed button, if its person has pressed it."""
        found = await self._asked(message, data)
        if found is None:
            return texts.ANSWERED
        asking, run_id, question, answer, sent = found
        if link is None or asking.conversation.user_id != message.conversation.user_id:
            await self._refuse(message, asking, link)
            return texts.NOT_YOURS
        if await self._services.rules.is_revoked(link):
            return texts.ACCESS_REVOKED
        with acting(actor_of(link)) as actor:
            if (run := await self._runs.existing(message)) is not None:
                return run
            if self._services.requests is not None:
                await self._services.requests.take(actor)
            try:
                asked = await self._services.runs.get_run(run_id)
            except RunNotFound:
                # The chat user has been linked to another account since.
                await self._refuse(message, asking, link)
                return texts.NOT_YOURS
            async with self._services.interrupts.of(asked.thread_id) as waiting:
                if question.interrupt_id not in waiting:
                    return texts.ANSWERED
                run = await self._runs.resume(message, Resumption(asked, question.interrupt_id, answer))
        await self._show_decision(message, sent, question, answer)
        return run

    async def _asked(
        self, message: ChannelMessage, data: str
    ) -> tuple[ChannelMessage, RunId, Question, Any, str] | None:
        """Return the message whose answer has the button, its run and question, the button's answer, and the id in the
        chat."""
        kind, *numbers = data.split(":")
        if kind != "a" or len(numbers) != 3 or not all(one.isascii() and one.isdigit() for one in numbers):
            return None
        seq, number, place = (int(one[:18]) for one in numbers)
        asking = await self._services.stores.messages.get(seq)
        here = message.conversation
        if asking is None or asking.run_id is None:
            return None
        there = asking.conversation
        if (there.provider, there.workspace, there.chat_id) != (here.provider, here.workspace, here.chat_id):
            return None
        questions = asking.progress.get("asked") or []
        if number >= len(questions) or place >= len(questions[number]["choices"]):
            return None
        question = Question.from_json(questions[number])
        return asking, asking.run_id, question, question.choices[place].answer, questions[number]["message_id"]

    async def _refuse(self, message: ChannelMessage, asking: ChannelMessage, link: ChannelLink | None) -> None:
        provider, user_id = message.conversation.provider, message.conversation.user_id
        stranger = ActorContext(f"{provider}:{user_id}", auth_source=auth_source_of(provider))
        await self._services.rules.record(
            stranger if link is None else actor_of(link),
            action="threads.create_run",
            route=auth_source_of(provider),
            status=403,
            target={"thread_id": asking.thread_id, "run_id": asking.run_id},
            details={"reason": "pressed by another person", "chat_user": user_id},
        )

    async def _show_decision(self, message: ChannelMessage, sent: str, question: Question, answer: object) -> None:
        """Replace the buttons by the decision. Not needed: if it fails, the buttons stay, and answer no more."""
        if not self._channel.capabilities.edits or not sent:
            return
        label = next((choice.label for choice in question.choices if choice.answer == answer), "")
        try:
            await self._channel.edit(message.conversation.chat_id, sent, f"{question.text}\n→ {label}")
        except Exception:
            return

    async def _latest_run(self, thread_id: ThreadId) -> RunRecord:
        (run,) = await self._services.runs.list_runs(RunFilter(thread_id), limit=1)
        return run

"""Conversations of chat users: links, order, answers, commands, questions and files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runstead.channels import IncomingFile, IncomingMessage, RetryLater
from runstead.channels.hub import ChannelHub
from runstead.channels.texts import ANSWERED, NOT_LINKED, NOT_YOURS, WRONG_CODE
from runstead.resources.audit import AuditFilter
from runstead.runtime.actor_context import SERVER_ACTOR, ActorContext, acting
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus
from tests.channels.conftest import ChatServer
from tests.channels.memory import MemoryChannel

ALICE = "chat of alice"


async def runs_of(chats: ChatServer, actor: ActorContext) -> list[RunRecord]:
    with acting(actor):
        return list(reversed(await chats.services.runs.list_runs(RunFilter(), limit=100)))


async def audited(chats: ChatServer, action: str) -> list[Any]:
    audit = chats.services.audit
    assert audit is not None
    with acting(replace(SERVER_ACTOR, tenant_id="acme")):
        return [record.entry for record in await audit.store.search(AuditFilter(action=action), limit=100)]


async def test_message_of_an_unknown_person_gets_the_way_to_link_and_nothing_else(chats: ChatServer) -> None:
    await chats.channel.say("alice", "hello")
    await chats.channel.until(lambda: chats.channel.shown)
    assert chats.channel.texts(ALICE) == [NOT_LINKED]
    assert await runs_of(chats, ActorContext("alice", "acme")) == []


async def test_code_links_one_chat_user_once(chats: ChatServer) -> None:
    code = await chats.code(ActorContext("alice", "acme", auth_source="custom"))
    await chats.channel.say("alice", f"/link {code}")
    await chats.channel.until(lambda: chats.channel.shown)
    await chats.channel.say("alice", "who")
    await chats.channel.answer(ALICE, "acme/alice by channel:memory")
    await chats.channel.say("bob", f"/link {code}")
    await chats.channel.answer("chat of bob", WRONG_CODE)


async def test_code_in_a_group_is_void(chats: ChatServer) -> None:
    code = await chats.code(ActorContext("alice", "acme", auth_source="custom"))
    await chats.channel.say("alice", f"/link {code}", "group", is_private=False)
    await chats.channel.until(lambda: chats.channel.shown)
    await chats.channel.say("alice", f"/link {code}")
    await chats.channel.answer(ALICE, WRONG_CODE)


async def test_message_delivered_again_makes_one_run(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    for _ in range(3):
        await chats.channel.say("alice", "hello", message_id="same")
    await chats.channel.answer(ALICE, "you said hello")
    await chats.channel.say("alice", "again")
    await chats.channel.answer(ALICE, "you said again")
    assert chats.channel.texts(ALICE) == ["you said hello", "you said again"]
    first, second = await runs_of(chats, alice)
    assert (first.thread_id, first.actor.auth_source) == (second.thread_id, "channel:memory")


async def test_messages_of_one_conversation_are_answered_in_order_while_one_works(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    for text in ("wait", "two", "three"):
        await chats.channel.say("alice", text)
    await chats.channel.say("alice", "/status")
    await chats.channel.until(lambda: any("2 waiting" in text for text in chats.channel.texts(ALICE)))
    assert {run.spec.multitask_strategy for run in await runs_of(chats, alice)} == {"enqueue"}
    chats.gate.is_open = True
    await chats.channel.answer(ALICE, "you said three")
    answers = [text for text in chats.channel.texts(ALICE) if text.startswith("you said")]
    assert answers == ["you said wait", "you said two", "you said three"]


async def test_two_servers_of_one_conversation_keep_its_order(chats: ChatServer) -> None:
    hub = chats.services.channels
    assert isinstance(hub, ChannelHub)
    await chats.link("alice")
    other = MemoryChannel(shown=chats.channel.shown)
    async with ChannelHub([other], hub._services).running():
        for number in range(6):
            # Each process receives every second message.
            receiver = hub if number % 2 else ChannelHub([other], hub._services)
            message = delivered("alice", f"m{number}", str(number))
            await receiver.receive("memory", message)
        await chats.channel.answer(ALICE, "you said 5")
    assert chats.channel.texts(ALICE) == [f"you said {number}" for number in range(6)]


def delivered(user: str, message_id: str, text: str) -> IncomingMessage:
    return IncomingMessage("w", f"chat of {user}", user, message_id, text)


async def test_stop_ends_a_run_while_it_works(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    await chats.channel.say("alice", "wait")
    await chats.channel.until(lambda: chats.channel.shown)
    await chats.channel.say("alice", "/stop")
    await chats.channel.answer(ALICE, "(stopped)")
    await chats.channel.answer(ALICE, "Stopped.")
    (run,) = await runs_of(chats, alice)
    assert run.status is RunStatus.INTERRUPTED


async def test_new_begins_another_thread_and_usage_counts_it(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    await chats.channel.say("alice", "hello")
    await chats.channel.answer(ALICE, "you said hello")
    (run,) = await runs_of(chats, alice)
    with acting(alice):
        await chats.services.runs.join_wait(run.run_id)
    await chats.channel.say("alice", "/usage")
    await chats.channel.until(lambda: any("in 1 runs" in text for text in chats.channel.texts(ALICE)))
    await chats.channel.say("alice", "/new")
    await chats.channel.say("alice", "other")
    await chats.channel.answer(ALICE, "you said other")
    first, second = await runs_of(chats, alice)
    assert first.thread_id != second.thread_id


async def test_only_the_words_of_the_lead_leave(chats: ChatServer) -> None:
    await chats.link("alice")
    await chats.channel.say("alice", "team")
    shown = await chats.channel.answer(ALICE, "you said team")
    assert not any("note" in text or "tool" in text for text in shown.texts)


async def test_long_answer_is_split_and_a_failure_is_shown(chats: ChatServer) -> None:
    await chats.link("alice")
    await chats.channel.say("alice", "long")
    await chats.channel.until(lambda: any(text.endswith("word99") for text in chats.channel.texts(ALICE)))
    parts = chats.channel.texts(ALICE)
    assert len(parts) > 1
    assert max(map(len, parts)) <= 200
    assert " ".join(parts).split() == [f"word{number}" for number in range(100)]
    await chats.channel.say("alice", "fail")
    await chats.channel.until(lambda: any("The agent failed" in text for text in chats.channel.texts(ALICE)))


async def test_answer_is_sent_again_after_the_service_was_away(chats: ChatServer) -> None:
    await chats.link("alice")
    chats.channel.failures = [ConnectionError("away"), RetryLater(0)]
    await chats.channel.say("alice", "hello")
    await chats.channel.answer(ALICE, "you said hello")
    assert chats.channel.texts(ALICE) == ["you said hello"]


async def test_approval_is_answered_by_a_button_of_its_person_only(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    bob = await chats.link("bob")
    await chats.channel.say("alice", "pay", "group", is_private=False)
    await chats.channel.until(lambda: any(one.buttons for one in chats.channel.shown))
    (question,) = [one for one in chats.channel.shown if one.buttons]
    assert [button.label for button in question.buttons] == ["Approve", "Reject"]
    await chats.channel.press("bob", question, "Approve")
    await chats.channel.press("stranger", question, "Approve")
    await chats.channel.until(lambda: chats.channel.texts("group").count(NOT_YOURS) == 2)
    assert len(await runs_of(chats, alice)) == 1
    refused = [entry for entry in await audited(chats, "threads.create_run") if entry.status == 403]
    assert {entry.user_id for entry in refused} == {bob.user_id, "memory:stranger"}
    await chats.channel.press("alice", question, "Approve")
    await chats.channel.answer("group", "payment: approve")
    assert question.buttons == ()
    assert question.text.endswith("→ Approve")
    await chats.channel.say("alice", "", "group", button="a:1:0:0", is_private=False)
    await chats.channel.answer("group", ANSWERED)


async def test_question_without_choices_is_answered_by_the_next_message(chats: ChatServer) -> None:
    await chats.link("alice")
    await chats.channel.say("alice", "name")
    await chats.channel.answer(ALICE, "What is your name?")
    await chats.channel.say("alice", "Ada")
    await chats.channel.answer(ALICE, "hello Ada")


async def test_files_go_to_the_workspace_and_outputs_come_back(chats: ChatServer) -> None:
    alice = await chats.link("alice")
    chats.channel.uploads = {"f1": b"one", "f2": b"two"}
    files = (IncomingFile("f1", "notes.txt"), IncomingFile("f2", "../notes.txt"))
    await chats.channel.say("alice", "files", files=files)
    await chats.channel.until(lambda: chats.channel.files)
    assert chats.channel.files == [(ALICE, "report.txt", b"made for you")]
    (run,) = await runs_of(chats, alice)
    assert chats.services.files is not None
    with acting(alice):
        stored = [entry.path for entry in await chats.services.files.list(run.thread_id)]
    assert len([path for path in stored if path.startswith("uploads/notes")]) == 2
    await chats.channel.say("alice", "hello")
    await chats.channel.answer(ALICE, "you said hello")
    assert len(chats.channel.files) == 1


async def test_two_people_touch_only_their_own(chats: ChatServer) -> None:
    alice, bob = await chats.link("alice"), await chats.link("bob")
    for user in ("alice", "bob"):
        await chats.channel.say(user, f"hello of {user}", "group", is_private=False)
    for user in ("alice", "bob"):
        await chats.channel.answer("group", f"you said hello of {user}")
    (first,), (second,) = await runs_of(chats, alice), await runs_of(chats, bob)
    assert first.thread_id != second.thread_id
    assert {first.actor.user_id, second.actor.user_id} == {"alice", "bob"}

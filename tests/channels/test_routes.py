"""Links over HTTP and at the terminal, and the routes to which chat services deliver."""

from __future__ import annotations

from dataclasses import replace

from runstead.channels.texts import ACCESS_REVOKED
from runstead.runtime.actor_context import ActorContext
from tests.channels.conftest import ChatServer
from tests.channels.memory import MemoryChannel


async def test_code_is_made_listed_and_unlinked_over_http(chats: ChatServer) -> None:
    async with chats.http() as http:
        made = (await http.post("/channels/codes")).json()
        assert made["command"] == f"/link {made['code']}"
        await chats.channel.say("alice", made["command"])
        await chats.channel.until(lambda: chats.channel.shown)
        (link,) = (await http.get("/channels/links")).json()
        assert (link["provider"], link["workspace"], link["chat_user_id"]) == ("memory", "w", "alice")
        named = {"provider": "memory", "chat_user_id": "alice"}
        assert (await http.delete("/channels/links", params=named)).status_code == 204
        gone = await http.delete("/channels/links", params=named)
        assert (gone.status_code, "is linked to your account" in gone.text) == (404, True)


async def test_service_delivers_over_http_with_its_secret_only(chats: ChatServer) -> None:
    await chats.link("alice")
    async with chats.http() as http:
        place = "/channels/memory/events"
        assert (await http.post(place, content=b"hello")).status_code == 401
        assert (await http.post(place, content=b"hello", headers={"x-secret": "s3cret"})).status_code == 200
    await chats.channel.answer("chat", "you said hello")


async def test_link_made_with_a_key_that_is_revoked_is_refused(chats: ChatServer) -> None:
    lost = ActorContext("alice", "acme", subject_id="key-1", auth_source="api_key")
    await chats.link("alice", lost)
    await chats.channel.say("alice", "hello")
    await chats.channel.answer("chat of alice", ACCESS_REVOKED)


async def test_service_without_buttons_gets_numbered_choices(chats: ChatServer) -> None:
    chats.channel.capabilities = replace(chats.channel.capabilities, buttons=False, edits=False)
    await chats.link("alice")
    await chats.channel.say("alice", "pay")
    await chats.channel.until(lambda: any("1. Approve\n2. Reject" in text for text in chats.channel.texts(ALICE)))
    await chats.channel.say("alice", "perhaps")
    await chats.channel.until(lambda: any("Approve, Reject" in text for text in chats.channel.texts(ALICE)))
    await chats.channel.say("alice", "2")
    await chats.channel.answer(ALICE, "payment: reject")
    assert isinstance(chats.channel, MemoryChannel)


ALICE = "chat of alice"

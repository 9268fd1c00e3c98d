"""Handlers are called as the SDK defines, and their faults are errors that name them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph_sdk import Encryption, EncryptionContext

from runstead.bootstrap.encryption_handlers import not_encrypted_by
from runstead.handlers.encryption import AT_ONCE, InvalidEncryption, LangGraphEncryption, check_encryption
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.field_encryption import CONTEXT, EncryptionFailed, ReservedKey
from runstead.runtime.user_code.user_loop import UserLoop


@pytest.fixture
async def user_loop() -> AsyncIterator[UserLoop]:
    async with UserLoop.running() as user_loop:
        yield user_loop


def answering(encrypted: Any = None, decrypted: Any = None, *, seconds: float = 0) -> Encryption:
    """Handlers with this result for any value."""
    encryption = Encryption()

    @encryption.encrypt.json
    async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> Any:
        await asyncio.sleep(seconds)
        return encrypted

    @encryption.decrypt.json
    async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> Any:
        return decrypted

    @encryption.encrypt.blob
    async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> Any:
        return encrypted

    @encryption.decrypt.blob
    async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> Any:
        return decrypted

    return encryption


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("text", "must return a dict with the same keys, got str"),
        ({}, r"removed \['a'\]"),
        ({"a": 1, "nonce": 2}, r"added \['nonce'\]"),
        ({"a": b"bytes"}, "must return JSON values"),
        ({"a": {1, 2}}, "must return JSON values"),
    ],
)
async def test_invalid_encryptor_result_is_named(made: Any, said: str, user_loop: UserLoop) -> None:
    with pytest.raises(EncryptionFailed, match=said) as failed:
        await LangGraphEncryption(answering(made), user_loop).encrypt("thread", "metadata", {"a": 1})
    assert "encrypt.json, for thread.metadata" in str(failed.value)


async def test_blobs_are_bytes(user_loop: UserLoop) -> None:
    with pytest.raises(EncryptionFailed, match=r"encrypt.blob, for checkpoint.writes, must return bytes, got str"):
        await LangGraphEncryption(answering("text"), user_loop).encrypt_blob("checkpoint", "writes", b"x")
    stored = await LangGraphEncryption(answering(b"y"), user_loop).encrypt_blob("checkpoint", "writes", b"x")
    with pytest.raises(EncryptionFailed, match="must return bytes, got dict"):
        await LangGraphEncryption(answering(decrypted={}), user_loop).decrypt_blob("checkpoint", "writes", stored)
    with pytest.raises(EncryptionFailed, match="damaged"):
        await LangGraphEncryption(answering(), user_loop).decrypt_blob("checkpoint", "writes", b"y")


async def test_handler_that_does_not_return_times_out(user_loop: UserLoop) -> None:
    slow = LangGraphEncryption(answering({"a": 1}, seconds=30), user_loop, answer_within=0.05)
    with pytest.raises(EncryptionFailed, match="does not answer; try again later"):
        await slow.encrypt("run", "input", {"a": 1})


async def test_concurrent_handler_calls_are_limited(user_loop: UserLoop) -> None:
    encryption, running, most = Encryption(), 0, 0
    full, go_on = asyncio.Event(), asyncio.Event()

    @encryption.encrypt.json
    async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running >= AT_ONCE:
            full.set()
        await go_on.wait()
        running -= 1
        return data

    @encryption.decrypt.json
    async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        return data

    cipher = LangGraphEncryption(encryption, user_loop)

    async def many() -> list[dict[str, Any]]:
        return await asyncio.gather(*(cipher.encrypt("run", "input", {"a": n}) for n in range(5 * AT_ONCE)))

    async def release() -> None:
        await full.wait()
        # All calls that may start have started by now.
        for _ in range(10):
            await asyncio.sleep(0)
        go_on.set()

    # Calls from the server's loop, and from the loop of the handlers.
    releasing = asyncio.create_task(user_loop.run(release))
    made = await asyncio.gather(many(), cipher.together(many))
    await releasing
    assert [one["a"] for one in made[0]] == [one["a"] for one in made[1]] == list(range(5 * AT_ONCE))
    assert most == AT_ONCE


def test_warning_names_exactly_what_handlers_leave_unencrypted() -> None:
    def warning(*, json: bool, blobs: bool) -> str:
        encryption: Any = SimpleNamespace(encrypts_json=json, encrypts_blobs=blobs)
        return not_encrypted_by(encryption)

    for json in (False, True):
        for blobs in (False, True):
            said = warning(json=json, blobs=blobs)
            assert ("threads, runs" in said, "states and pending writes" in said) == (not json, not blobs)
            assert "streams, cached values" in said


async def test_server_fields_are_not_passed_to_handlers_and_are_kept(user_loop: UserLoop) -> None:
    cipher = LangGraphEncryption(answering({"a": "x"}), user_loop)
    with acting(ActorContext("ann", encryption={"tenant": "acme"})):
        made = await cipher.encrypt("run", "config", {"graph_id": "g", "a": 1, "recursion_limit": 7})
    assert made == {"graph_id": "g", "a": "x", "recursion_limit": 7, CONTEXT: {"tenant": "acme"}}
    assert list(made)[:3] == ["graph_id", "a", "recursion_limit"]
    with pytest.raises(ReservedKey, match="__encryption_context__"):
        await cipher.encrypt("run", "input", made)


async def test_value_without_context_is_returned_unchanged(user_loop: UserLoop) -> None:
    cipher = LangGraphEncryption(answering(), user_loop)
    assert await cipher.decrypt("thread", "metadata", {"a": 1}) == {"a": 1}


async def test_without_its_decryptor_a_value_is_not_read(user_loop: UserLoop) -> None:
    with pytest.raises(EncryptionFailed, match=r"has no decrypt.json; add it again"):
        await LangGraphEncryption(Encryption(), user_loop).decrypt("thread", "metadata", {"a": 1, CONTEXT: {}})


def test_handlers_that_could_not_read_what_they_write_are_refused() -> None:
    encryption = Encryption()

    @encryption.encrypt.json
    async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(InvalidEncryption, match=r"no @encryption.decrypt.json"):
        check_encryption(encryption)
    with pytest.raises(InvalidEncryption, match=r"it is a str, not a langgraph_sdk.Encryption"):
        check_encryption("text")

"""Encryption of langgraph.json: the handlers of a ``langgraph_sdk.Encryption``, called on the loop of user code.

The data for each handler, and the data that is never encrypted, are those of the reference server.
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import orjson

from runstead.runtime.actor_context import ActorContext, get_actor_context
from runstead.runtime.field_encryption import (
    CONTEXT,
    RESERVED,
    EncryptionFailed,
    Replacements,
    ReservedKey,
    replace_stored,
)
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost
from runstead.runtime.user_code.user_loop import UserCodeTimeout, UserLoop
from runstead.wire.users import user_of

T = TypeVar("T")
_log = logging.getLogger(__name__)

_ANSWER_WITHIN: Final = 60.0
AT_ONCE: Final = 32
"""Maximum concurrent calls of handlers: a page of records would otherwise cause hundreds of concurrent calls of a key
service."""
_NEEDS: Final = "it needs langgraph-sdk 0.3.3 or newer; pip install -U langgraph-sdk"
_WORK: Final = UserWork("encryption handler")
_BLOB: Final = b"\x93RSh1"
"""Prefix of a blob that handlers have encrypted; the context with which it was encrypted follows."""

KEPT: Final = frozenset(
    (
        "thread_id", "run_id", "assistant_id", "graph_id", "checkpoint_id", "task_id", "cron_id",
        "__pregel_checkpointer", "__pregel_resuming", "__pregel_durability", "__pregel_stream", "__pregel_task_id",
        "__pregel_checkpoint_ns", "__after_seconds__", "__request_start_time_ms__",
        "langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host", "langgraph_api_url",
        "langgraph_request_id", "langgraph_auth_user_id", "langgraph_auth_permissions",
    )
)  # fmt: skip
"""Keys whose values are never encrypted: servers write them, and find rows by them."""
_KEPT_IN: Final = {
    ("run", "config"): frozenset(("recursion_limit", "max_concurrency")),
    ("cron", "config"): frozenset(("recursion_limit", "max_concurrency")),
    ("run", "configurable"): frozenset(("ttl",)),
    ("checkpoint", "metadata"): frozenset(
        ("source", "step", "parents", "run_attempt", "counters_since_delta_snapshot")
    ),
}


class InvalidEncryption(Exception):
    """The object that langgraph.json names cannot encrypt; the text contains the reason and the fix."""


def check_encryption(encryption: object) -> None:
    """Raise InvalidEncryption if the object cannot be used."""
    try:
        from langgraph_sdk import Encryption
    except ImportError as error:
        raise InvalidEncryption(_NEEDS) from error
    if not isinstance(encryption, Encryption):
        raise InvalidEncryption(
            f"it is a {type(encryption).__name__}, not a langgraph_sdk.Encryption; write `encryption = Encryption()`, "
            "and @encryption.encrypt.json and @encryption.decrypt.json above async functions"
        )
    for kind in ("json", "blob"):
        encrypts, decrypts = (getattr(encryption, f"_{kind}_{verb}") for verb in ("encryptor", "decryptor"))
        if encrypts is not None and decrypts is None:
            raise InvalidEncryption(
                f"it has @encryption.encrypt.{kind} and no @encryption.decrypt.{kind}: what it encrypts could not be "
                "read; write both"
            )


class LangGraphEncryption:
    """FieldCipher of a server whose langgraph.json names an ``Encryption``. Handlers run on ``user_loop``."""

    def __init__(self, encryption: Any, user_loop: UserLoop, *, answer_within: float = _ANSWER_WITHIN) -> None:
        """Create the cipher. ``answer_within``: maximum seconds of a handler, including the time that it waits for its
        turn."""
        self._encryption, self._user_loop, self._answer_within = encryption, user_loop, answer_within
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self.replacements: Replacements | None = None
        """Set once the database is open."""

    @property
    def encrypts_json(self) -> bool:
        return self._encryption._json_encryptor is not None

    @property
    def encrypts_blobs(self) -> bool:
        return self._encryption._blob_encryptor is not None

    @property
    def is_here(self) -> bool:
        return self._user_loop.is_current

    async def encrypt(self, model: str, field: str, value: JsonMapping) -> JsonObject:
        if reserved := RESERVED & value.keys():
            raise ReservedKey(min(reserved))
        if not self.encrypts_json:
            return dict(value)
        kept = KEPT | _KEPT_IN.get((model, field), frozenset())
        given = {key: one for key, one in value.items() if key not in kept}
        context = _context()
        name = f"encrypt.json, for {model}.{field}"
        made = await self._called(self._encryption._json_encryptor, name, model, field, context, given)
        _check(made, given, name)
        return {**{key: made.get(key, one) for key, one in value.items()}, CONTEXT: context}

    async def decrypt(self, model: str, field: str, value: JsonMapping) -> JsonObject:
        if CONTEXT not in value:
            return dict(value)
        handler = self._encryption._json_decryptor
        if handler is None:
            raise _without("decrypt.json", model, field)
        given = {key: one for key, one in value.items() if key not in RESERVED}
        name = f"decrypt.json, for {model}.{field}"
        found, instead = _plain(await self._called(handler, name, model, field, value[CONTEXT], given))
        if not isinstance(found, Mapping):
            raise EncryptionFailed(f"the handler {name}, must return a dict, got {type(found).__name__}")
        if instead is not None:
            self._replace_json(value, given, instead, name)
        return {key: one for key, one in found.items() if key not in RESERVED}

    async def encrypt_blob(self, model: str, field: str, data: bytes) -> bytes:
        context, name = _context(), f"encrypt.blob, for {model}.{field}"
        made = await self._called(self._encryption._blob_encryptor, name, model, field, context, data)
        if not isinstance(made, bytes | bytearray | memoryview):
            raise EncryptionFailed(f"the handler {name}, must return bytes, got {type(made).__name__}")
        head = orjson.dumps(context)
        return b"".join((_BLOB, len(head).to_bytes(4, "big"), head, bytes(made)))

    async def decrypt_blob(self, model: str, field: str, data: bytes) -> bytes:
        handler = self._encryption._blob_decryptor
        if handler is None:
            raise _without("decrypt.blob", model, field)
        if not data.startswith(_BLOB):
            raise EncryptionFailed(f"a stored value of {model}.{field} is damaged; restore it from a backup")
        start = len(_BLOB) + 4
        end = start + int.from_bytes(data[len(_BLOB) : start], "big")
        name = f"decrypt.blob, for {model}.{field}"
        context = orjson.loads(data[start:end])
        found, instead = _plain(await self._called(handler, name, model, field, context, data[end:]))
        if not isinstance(found, bytes | bytearray | memoryview):
            raise EncryptionFailed(f"the handler {name}, must return bytes, got {type(found).__name__}")
        if isinstance(instead, bytes | bytearray | memoryview):
            replace_stored(data, data[:end] + bytes(instead))
        elif instead is not None:
            _log.error("the handler %s, must replace bytes by bytes; nothing was replaced", name)
        return bytes(found)

    def _replace_json(self, value: JsonMapping, given: JsonMapping, instead: Any, name: str) -> None:
        # The value that was read is valid, even if its replacement is not.
        try:
            _check(instead, given, name)
        except EncryptionFailed as error:
            _log.error("nothing was replaced: %s", error)
            return
        replace_stored(value, {**instead, CONTEXT: value[CONTEXT]})

    async def together(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        try:
            return await self._user_loop.run(work, named=_WORK)
        except LoopLost as error:
            raise EncryptionFailed("this server's encryption handlers do not answer") from error

    async def context_of(self, actor: ActorContext, given: JsonMapping) -> JsonObject:
        """Return the context of a request: ``given`` by its header, or as the context handler changes it.

        Raises EncryptionFailed.
        """
        handler = self._encryption._context_handler
        if handler is None:
            return dict(given)
        from langgraph_sdk import EncryptionContext

        context = EncryptionContext(model=None, field=None, metadata=dict(given))
        found = await self._run(lambda: handler(user_of(actor), context), "context")
        if not isinstance(found, Mapping):
            raise EncryptionFailed(f"the handler context must return a dict, got {type(found).__name__}")
        return _as_json(found, "context")

    async def _called(self, handler: Any, name: str, model: str, field: str, context: JsonMapping, data: Any) -> Any:
        from langgraph_sdk import EncryptionContext

        given = EncryptionContext(model=model, field=field, metadata=dict(context))
        return await self._run(lambda: handler(given, data), name)

    async def _run(self, call: Callable[[], Coroutine[object, object, Any]], name: str) -> object:
        async def called() -> object:
            async with self._turn():
                return await call()

        try:
            return await self._user_loop.run(called, self._answer_within, named=_WORK)
        except (UserCodeTimeout, LoopLost) as error:
            raise EncryptionFailed(f"the encryption handler {name}, does not answer; try again later") from error
        except Exception as error:
            _log.exception("the encryption handler %s, failed", name)
            raise EncryptionFailed(
                f"the encryption handler {name}, failed ({type(error).__name__}). The server's log says more."
            ) from error

    def _turn(self) -> asyncio.Semaphore:
        """Return the semaphore for calls on the running loop; the loop of user code may be replaced by another one."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Semaphore(AT_ONCE))
        return self._turns[1]


def context_in(header: str | None) -> JsonObject:
    """Return the context in the header X-Encryption-Context. Raises ValueError."""
    if not header:
        return {}
    try:
        found = json.loads(b64decode(header.encode()))
    except (NotBase64, ValueError) as error:
        raise ValueError(f"X-Encryption-Context: it must be a JSON object in base64: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("X-Encryption-Context: it must be a JSON object in base64")
    return found


def _context() -> JsonObject:
    actor = get_actor_context()
    return {} if actor is None else dict(actor.encryption)


def _plain(found: Any) -> tuple[Any, Any]:
    """Return the plain value, and the value to store instead of the encrypted one."""
    # Older versions of the SDK have no DecryptResult.
    return (found.plaintext, found.replacement) if type(found).__name__ == "DecryptResult" else (found, None)


def _check(made: object, given: JsonMapping, name: str) -> None:
    if not isinstance(made, Mapping):
        raise EncryptionFailed(
            f"the handler {name}, must return a dict with the same keys, got {type(made).__name__}; encrypt each value"
        )
    if made.keys() != given.keys():
        added, removed = sorted(map(str, made.keys() - given.keys())), sorted(map(str, given.keys() - made.keys()))
        raise EncryptionFailed(
            f"the handler {name}, must return the same keys; it added {added} and removed {removed}. Encrypt each "
            "value, and put further data inside it"
        )
    _as_json(made, name)


def _as_json(made: JsonMapping, name: str) -> JsonObject:
    try:
        found: JsonObject = json.loads(json.dumps(dict(made)))
    except (TypeError, ValueError, RecursionError) as error:
        raise EncryptionFailed(f"the handler {name}, must return JSON values: {error}") from error
    return found


def _without(handler: str, model: str, field: str) -> EncryptionFailed:
    return EncryptionFailed(
        f"{model}.{field} is encrypted, and the encryption of langgraph.json has no {handler}; add it again"
    )

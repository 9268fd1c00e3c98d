"""Port for encryption by handlers: coroutines written by the operator encrypt fields of records and blobs.

Handlers may call a key service, and run on the loop of user code. Therefore nothing is encrypted inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .actor_context import ENCRYPTED
from .json_types import JsonMapping, JsonObject

T = TypeVar("T")

CONTEXT: Final = ENCRYPTED
"""Additional key of an encrypted object, which holds the context that it was encrypted with."""
RESERVED: Final = frozenset((CONTEXT, "__blob_encryption_context__"))


class EncryptionFailed(RuntimeError):
    """A handler failed, or returned a value that cannot be stored. The text names the handler, and contains no data."""


class ReservedKey(ValueError):
    """A value has a key that is reserved for encryption."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} is reserved on this server, which encrypts; use another name")


Replacement: TypeAlias = tuple[Any, Any]
"""Encrypted object or blob as it was read, and the one that a handler wants stored in its place."""
_replaced: ContextVar[list[Replacement] | None] = ContextVar("runstead_replaced", default=None)


def collect_replacements() -> list[Replacement]:
    """Return a list to which the replacements of all data that the current task decrypts from now on are added."""
    collected: list[Replacement] = []
    _replaced.set(collected)
    return collected


def replace_stored(before: object, after: object) -> None:
    """Request that the reader stores ``after`` instead of ``before``. Ignored if the reader does not collect
    replacements."""
    if (collected := _replaced.get()) is not None:
        collected.append((before, after))


class Replacements(Protocol):
    """Store for replacements of fields."""

    async def replace(self, table: str, key: JsonMapping, replaced: Sequence[Replacement]) -> None:
        """Replace fields in a row if they are unchanged since they were read."""
        ...


class FieldCipher(Protocol):
    """Cipher for fields of records (JSON objects, whose keys are kept) and for blobs. Usable from any event loop.

    ``model`` and ``field`` identify the value for the handlers. Encrypted data contains the context of the bound actor,
    with which it is decrypted later. Every method raises EncryptionFailed.
    """

    @property
    def replacements(self) -> Replacements | None:
        """Store for the handlers' replacements; None: they are dropped."""
        ...

    @property
    def encrypts_json(self) -> bool: ...

    @property
    def encrypts_blobs(self) -> bool: ...

    @property
    def is_here(self) -> bool:
        """True if the caller's thread runs the loop of the handlers, and so must not block while it waits for them."""
        ...

    async def encrypt(self, model: str, field: str, value: JsonMapping) -> JsonObject:
        """Return an object with the same keys and CONTEXT. Raises ReservedKey."""
        ...

    async def decrypt(self, model: str, field: str, value: JsonMapping) -> JsonObject:
        """Reverse `encrypt`, and return the object without CONTEXT. An object without CONTEXT is returned unchanged."""
        ...

    async def encrypt_blob(self, model: str, field: str, data: bytes) -> bytes: ...

    async def decrypt_blob(self, model: str, field: str, data: bytes) -> bytes: ...

    async def together(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run ``work`` on the loop of the handlers and return its result, so that its calls of this cipher need no
        switch of loops."""
        ...

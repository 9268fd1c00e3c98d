"""The port of encryption by handlers: fields of records and blobs are encrypted by coroutines that the operator wrote.

Handlers may call a key service and run on the loop of user code, so that nothing is encrypted inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .actor_context import ENCRYPTED

T = TypeVar("T")

CONTEXT: Final = ENCRYPTED
"""The key that an encrypted object has beside its own: the context that it was encrypted with."""
RESERVED: Final = frozenset((CONTEXT, "__blob_encryption_context__"))


class EncryptionFailed(RuntimeError):
    """A handler failed, or returned what cannot be stored. The text says which one, and holds nothing of the data."""


class ReservedKey(ValueError):
    """A value has a key that encryption needs for itself."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} is reserved on this server, which encrypts; use another name")


Replacement: TypeAlias = tuple[Any, Any]
"""An encrypted object or blob as it was read, and another one that a handler wants to have stored instead of it."""
_replaced: ContextVar[list[Replacement] | None] = ContextVar("runstead_replaced", default=None)


def collect_replacements() -> list[Replacement]:
    """Return a list to which replacements of what the current task decrypts from now on are added."""
    collected: list[Replacement] = []
    _replaced.set(collected)
    return collected


def replace_stored(before: Any, after: Any) -> None:
    """Ask for ``after`` to be stored instead of ``before``, by the one who has read that; nothing where none does."""
    if (collected := _replaced.get()) is not None:
        collected.append((before, after))


class Replacements(Protocol):
    """Stores replacements of fields."""

    async def replace(self, table: str, key: Mapping[str, Any], replaced: Sequence[Replacement]) -> None:
        """Replace fields in a row, where they are still what they were."""
        ...


class FieldCipher(Protocol):
    """Encrypts fields of records (JSON objects, keys are kept) and blobs. Usable from any event loop.

    ``model`` and ``field`` tell handlers what a value is of. What is encrypted carries the context of the bound actor,
    with which it is decrypted later. Every method raises EncryptionFailed.
    """

    @property
    def replacements(self) -> Replacements | None:
        """Where handlers' replacements are stored; None: they are dropped."""
        ...

    @property
    def encrypts_json(self) -> bool: ...

    @property
    def encrypts_blobs(self) -> bool: ...

    @property
    def is_here(self) -> bool:
        """Whether the caller's thread runs the loop of the handlers, and so must not block for what they do."""
        ...

    async def encrypt(self, model: str, field: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object of the same keys and CONTEXT. Raises ReservedKey."""
        ...

    async def decrypt(self, model: str, field: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object behind one of `encrypt`, without CONTEXT; one that has no CONTEXT as it is."""
        ...

    async def encrypt_blob(self, model: str, field: str, data: bytes) -> bytes: ...

    async def decrypt_blob(self, model: str, field: str, data: bytes) -> bytes: ...

    async def together(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what ``work`` returns, done where the handlers run: its calls of this cipher need no way there."""
        ...

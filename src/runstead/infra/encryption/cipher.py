"""The port for encryption at rest: data is encrypted before it is stored and decrypted after it is read.

Only `keyring` needs the cryptography package, which is not imported unless keys are configured.
"""

from __future__ import annotations

from typing import Final, Protocol

from runstead.resources.storage_errors import StorageError

_WAY_OUT: Final = (
    "which is not configured; add it to encryption_keys (or encryption_keys_file, or LANGGRAPH_AES_KEY), and restart "
    "the server"
)


class CannotDecrypt(StorageError):
    """A stored value cannot be decrypted: its key is not configured, or the value was changed."""


class KeyMissing(CannotDecrypt):
    """A stored value is encrypted with a key that this process does not have."""

    kind = "keyless"

    def __init__(self, purpose: str, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"a stored value of {purpose} is encrypted with the key {key_id}, {_WAY_OUT}")

    @property
    def public_message(self) -> str:
        return f"Data that this needs is encrypted with the key {self.key_id}, {_WAY_OUT}."


class Cipher(Protocol):
    """Encrypts with one key and decrypts with several. Thread-safe.

    ``key_id`` names the key that encrypts, ``key_ids`` all keys. ``json_keys`` are the keys of metadata whose values
    are encrypted one by one; all other values of metadata stay in plain text and can be searched.
    """

    @property
    def key_id(self) -> str: ...

    @property
    def key_ids(self) -> frozenset[str]: ...

    @property
    def json_keys(self) -> frozenset[str]: ...

    def encrypt(self, data: bytes, purpose: str) -> bytes:
        """Return ``data`` encrypted. It can only be decrypted with the same ``purpose``."""
        ...

    def decrypt(self, data: bytes, purpose: str) -> bytes:
        """Return the decrypted data. Raises CannotDecrypt."""
        ...

    def key_id_of(self, data: bytes) -> str | None:
        """Return the id of the key that ``data`` is encrypted with; None if it is not encrypted."""
        ...

"""The port of encryption at rest: bytes are encrypted before they are stored, and decrypted after they were read.

Only `keyring` needs the cryptography package; nothing of it is imported unless keys are configured.
"""

from __future__ import annotations

from typing import Protocol

from runstead.infra.engines.exceptions import StorageError


class CannotDecrypt(StorageError):
    """A stored value cannot be decrypted: its key is not configured, or it was changed."""


class Cipher(Protocol):
    """Encrypts with one key and decrypts with several. May be used from any thread.

    ``key_id`` names the key that encrypts, ``key_ids`` all keys. ``json_keys`` are the keys of metadata whose values
    are encrypted one by one; other values of metadata stay as they are, and can be searched for.
    """

    @property
    def key_id(self) -> str: ...

    @property
    def key_ids(self) -> frozenset[str]: ...

    @property
    def json_keys(self) -> frozenset[str]: ...

    def encrypt(self, data: bytes, purpose: str) -> bytes:
        """Return ``data`` encrypted. It can be decrypted for the same ``purpose`` alone."""
        ...

    def decrypt(self, data: bytes, purpose: str) -> bytes:
        """Return what was encrypted. Raises CannotDecrypt."""
        ...

    def key_id_of(self, data: bytes) -> str | None:
        """Return the id of the key that ``data`` is encrypted with; None for what is not encrypted."""
        ...

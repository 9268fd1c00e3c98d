"""The Cipher of a server without keys: it stores values unencrypted and refuses to read encrypted ones.

Other servers and commands may have written encrypted values to the same storage. Without this check, clients would
receive ciphertext.
"""

from __future__ import annotations

from typing import Final

from .cipher import KeyMissing
from .envelope import key_id_in


class NoKeys:
    """A `Cipher` without keys: ``decrypt`` always raises KeyMissing."""

    key_id = ""
    key_ids: frozenset[str] = frozenset()
    json_keys: frozenset[str] = frozenset()

    def encrypt(self, data: bytes, purpose: str) -> bytes:
        raise AssertionError("there is no key to encrypt with")

    def decrypt(self, data: bytes, purpose: str) -> bytes:
        raise KeyMissing(purpose, key_id_in(data) or "unknown")

    def key_id_of(self, data: bytes) -> str | None:
        return key_id_in(data)


NO_KEYS: Final = NoKeys()

"""AES-256-GCM with the operator's keys: the first one encrypts, all of them decrypt.

An encrypted value is a head (format, key id, salt), a nonce, and the ciphertext with its tag. The operator's keys do
not encrypt directly: each process derives a key of its own from a random salt, and a new one after some million
values, so that a repeated random nonce stays very unlikely (docs/adr/0031-encryption-at-rest.md). The head and the
purpose are authenticated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .cipher import CannotDecrypt, KeyMissing
from .envelope import HEAD, MAGIC, NONCE, key_id_in

KEY_SIZES: Final = (16, 24, 32)
"""Key sizes in bytes, those of LANGGRAPH_AES_KEY. Keys of all sizes encrypt with AES-256."""
_VALUES_PER_SALT: Final = 2**24
_DERIVED_AT_ONCE: Final = 1024


def key_id_of_key(key: bytes) -> str:
    """Return the public id of a key. It is deterministic, and useless for guessing a key of random bytes."""
    return sha256(b"runstead encryption key id\0" + key).hexdigest()[:16]


class Keyring:
    """A Cipher over ``keys`` of 16, 24 or 32 bytes; the first one encrypts. Raises ValueError if there are none."""

    def __init__(self, keys: Sequence[bytes], json_keys: Iterable[str] = ()) -> None:
        if not keys or any(len(key) not in KEY_SIZES for key in keys):
            raise ValueError(f"a key has {', '.join(map(str, KEY_SIZES))} bytes")
        self._keys = {key_id_of_key(key): key for key in keys}
        self.key_id = key_id_of_key(keys[0])
        self.key_ids = frozenset(self._keys)
        self.json_keys = frozenset(json_keys)
        self._derived = lru_cache(maxsize=_DERIVED_AT_ONCE)(self._derive)
        self._renew_salt()

    def encrypt(self, data: bytes, purpose: str) -> bytes:
        # Two threads may renew the salt at the same time: each then uses a fresh one.
        self._used += 1
        if self._used > _VALUES_PER_SALT:
            self._renew_salt()
        head, key = self._writing
        nonce = os.urandom(NONCE)
        return b"".join((head, nonce, key.encrypt(nonce, data, head + purpose.encode())))

    def decrypt(self, data: bytes, purpose: str) -> bytes:
        if (key_id := self.key_id_of(data)) is None:
            raise CannotDecrypt(f"a stored value of {purpose} is not encrypted, or damaged; restore it from a backup")
        if key_id not in self._keys:
            raise KeyMissing(purpose, key_id)
        head, salt = data[: HEAD.size], data[HEAD.size - 16 : HEAD.size]
        nonce, ciphertext = data[HEAD.size : HEAD.size + NONCE], data[HEAD.size + NONCE :]
        try:
            return self._derived(key_id, salt).decrypt(nonce, ciphertext, head + purpose.encode())
        except InvalidTag as error:
            raise CannotDecrypt(
                f"a stored value of {purpose} was changed since it was encrypted with the key {key_id}; restore it "
                "from a backup"
            ) from error

    def key_id_of(self, data: bytes) -> str | None:
        return key_id_in(data)

    def _renew_salt(self) -> None:
        salt = os.urandom(16)
        head = HEAD.pack(MAGIC, bytes.fromhex(self.key_id), salt)
        self._writing = (head, self._derived(self.key_id, salt))
        self._used = 0

    def _derive(self, key_id: str, salt: bytes) -> AESGCM:
        derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"runstead encryption at rest")
        return AESGCM(derived.derive(self._keys[key_id]))

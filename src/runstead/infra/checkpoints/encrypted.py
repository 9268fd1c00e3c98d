"""Encrypted checkpoints: langgraph's EncryptedSerializer over a Cipher, and metadata with a few fields in plain text.

langgraph writes the fields in plain text; this package reads them to find the latest checkpoint, to prune and to
compare.
"""

from __future__ import annotations

import json
from typing import Final

from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.envelope import ENCRYPTED, open_document, seal_document
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.runtime.json_types import JsonMapping

VALUE: Final = "checkpoint"
METADATA: Final = "checkpoint.metadata"
NAME: Final = ENCRYPTED[1:]
"""Suffix of a value's type, as in ``msgpack+runstead``."""
_PLAIN: Final = frozenset(("source", "step", "parents", "run_id", "thread_id", "counters_since_delta_snapshot"))


class CheckpointCipher(CipherProtocol):
    """Adapts a Cipher to the interface of langgraph's serializer."""

    def __init__(self, cipher: Cipher) -> None:
        self.cipher = cipher

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return NAME, self.cipher.encrypt(plaintext, VALUE)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return self.cipher.decrypt(bytes(ciphertext), VALUE)


class OuterCipher:
    """The encryption of a serializer without the serializer: for values that handlers have already encrypted."""

    def __init__(self, serde: EncryptedSerializer, cipher: Cipher) -> None:
        self.inner, self._cipher = serde.serde, cipher

    def closed(self, kind: str, data: bytes) -> tuple[str, bytes]:
        return f"{kind}+{NAME}", self._cipher.encrypt(data, VALUE)

    def opened(self, kind: str, data: bytes) -> tuple[str, bytes]:
        """Return the decrypted value; a value that is not encrypted is returned unchanged. Raises CannotDecrypt."""
        if not kind.endswith(f"+{NAME}"):
            return kind, data
        return kind.removesuffix(f"+{NAME}"), self._cipher.decrypt(bytes(data), VALUE)


def outer_cipher(serde: SerializerProtocol) -> OuterCipher | None:
    """Return the encryption of a serializer of `encrypted_serde`; None for any other one."""
    cipher = _cipher_of(serde)
    return None if cipher is None else OuterCipher(serde, cipher)  # type: ignore[arg-type]


def encrypted_serde(serde: SerializerProtocol, cipher: Cipher) -> EncryptedSerializer:
    """Return a serializer that encrypts the output of ``serde``, and also reads values that are not encrypted."""
    return EncryptedSerializer(CheckpointCipher(cipher), serde)


def metadata_text(serde: SerializerProtocol, described: JsonMapping) -> bytes:
    """Return the stored form of a checkpoint's metadata."""
    text = json.dumps(described, ensure_ascii=False, default=repr)
    # Characters that UTF-8 cannot encode are dropped.
    data = text.encode("utf-8", "ignore")
    if (cipher := _cipher_of(serde)) is not None:
        return sealed_metadata(cipher, data.decode()).encode()
    return data


def sealed_metadata(cipher: Cipher, text: str) -> str:
    """Return a checkpoint's metadata encrypted, except for the fields that langgraph and this package read."""
    plain = {name: value for name, value in json.loads(text).items() if name in _PLAIN}
    return seal_document(cipher, text, METADATA, plain)


def read_metadata(serde: SerializerProtocol, text: bytes | None) -> object:
    """Return the metadata from their stored form. Raises CannotDecrypt."""
    if text is None:
        return {}
    return json.loads(open_document(_cipher_of(serde) or NO_KEYS, bytes(text).decode(), METADATA))


def _cipher_of(serde: SerializerProtocol) -> Cipher | None:
    # A serializer may wrap another one, which defines the encryption of values.
    serde = getattr(serde, "reads", serde)
    if isinstance(serde, EncryptedSerializer) and isinstance(serde.cipher, CheckpointCipher):
        return serde.cipher.cipher
    return None

"""The format of encrypted values in columns of text or JSON: base64 behind a prefix that no other value has.

A document (the text of a JSON value) becomes a JSON object with the key `SEALED`, so that SQL functions for JSON can
still read it; fields that SQL queries use stay beside it in plain text. Single values in metadata become strings.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import Final

from runstead.runtime.json_types import JsonMapping

from .cipher import Cipher

MAGIC: Final = b"\x93RSe1"
"""Prefix of every encrypted value. No UTF-8 text begins with it."""
HEAD: Final = struct.Struct(f"<{len(MAGIC)}s8s16s")
NONCE: Final = 12
TAG: Final = 16
OVERHEAD: Final = HEAD.size + NONCE + TAG
"""Number of bytes that encryption adds to a value."""
ENCRYPTED: Final = "+runstead"
"""Suffix of the type of an encrypted checkpoint value."""
SEALED: Final = "__runstead_encrypted__"
_BEGINS: Final = f'{{"{SEALED}":"'
VALUE_MARK: Final = "runstead.encrypted:"
"""Prefix of an encrypted metadata value."""
_PLAIN_MARK: Final = f"{VALUE_MARK}plain:"
"""Prefix of a metadata value that is not encrypted but would be mistaken for an encrypted one."""


def key_id_in(data: bytes) -> str | None:
    """Return the id of the key that ``data`` is encrypted with; None if it is not encrypted."""
    if len(data) < OVERHEAD or not data.startswith(MAGIC):
        return None
    return data[len(MAGIC) : len(MAGIC) + 8].hex()


def seal_document(cipher: Cipher, text: str, purpose: str, plain: JsonMapping | None = None) -> str:
    """Return the text of a JSON object that contains ``text`` encrypted and the fields of ``plain`` unencrypted."""
    sealed = b64encode(cipher.encrypt(text.encode("utf-8", "surrogatepass"), purpose)).decode("ascii")
    beside = "".join(f",{json.dumps(name)}:{json.dumps(value, default=repr)}" for name, value in (plain or {}).items())
    return f'{_BEGINS}{sealed}"{beside}}}'


def is_sealed(data: bytes) -> bool:
    """Return whether ``data`` begins like a document of `seal_document`."""
    return bytes(data[: len(_BEGINS)]) == _BEGINS.encode()


def sealed_bytes(text: str) -> bytes | None:
    """Return the encrypted bytes in a sealed document; None for any other text."""
    if not text.startswith(_BEGINS):
        return None
    return _decoded(text[len(_BEGINS) : text.find('"', len(_BEGINS))])


def open_document(cipher: Cipher, text: str, purpose: str) -> str:
    """Return the decrypted text of a document; a text that is not sealed is returned unchanged.

    Raises CannotDecrypt.
    """
    sealed = sealed_bytes(text)
    return text if sealed is None else cipher.decrypt(sealed, purpose).decode("utf-8", "surrogatepass")


def plain_document(text: str) -> str:
    """Return the text to store when no key is configured: the same JSON, written so that it is no sealed document.

    A user's own text may look like a sealed document, and reading it would then fail.
    """
    return text if sealed_bytes(text) is None else f"{text[:1]} {text[1:]}"


def seal_value(cipher: Cipher, value: object, purpose: str) -> str:
    """Return a string that contains a JSON value encrypted."""
    sealed = cipher.encrypt(json.dumps(value, separators=(",", ":")).encode(), purpose)
    return VALUE_MARK + b64encode(sealed).decode("ascii")


def plain_value(value: object) -> object:
    """Return the value to store without encryption: a value that looks encrypted is marked as plain."""
    return _PLAIN_MARK + value if isinstance(value, str) and value.startswith(VALUE_MARK) else value


def open_value(cipher: Cipher, value: object, purpose: str) -> object:
    """Return the value in a string of `seal_value` or `plain_value`; any other value is returned unchanged.

    Raises CannotDecrypt.
    """
    if isinstance(value, str) and value.startswith(_PLAIN_MARK):
        return value[len(_PLAIN_MARK) :]
    sealed = sealed_value_bytes(value)
    return value if sealed is None else json.loads(cipher.decrypt(sealed, purpose))


def sealed_value_bytes(value: object) -> bytes | None:
    """Return the encrypted bytes in a string of `seal_value`; None for any other value."""
    if not isinstance(value, str) or not value.startswith(VALUE_MARK):
        return None
    return _decoded(value[len(VALUE_MARK) :])


def _decoded(text: str) -> bytes | None:
    # A user's own text may look like an envelope.
    try:
        data = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return data if data.startswith(MAGIC) else None

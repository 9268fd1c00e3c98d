"""The form of an encrypted value where text or JSON is stored: base64 behind a mark that no other value begins with.

A document (the text of a JSON value) becomes a JSON object with the key `SEALED`, so that SQL functions that read JSON
still read it; fields of it that SQL looks at stay beside it. Single values in metadata become strings.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any, Final

from .cipher import Cipher

MAGIC: Final = b"\x93RSe1"
"""What every encrypted value begins with. No UTF-8 text does."""
SEALED: Final = "__runstead_encrypted__"
_BEGINS: Final = f'{{"{SEALED}":"'
VALUE_MARK: Final = "runstead.encrypted:"
"""What an encrypted value of metadata begins with."""


def seal_document(cipher: Cipher, text: str, purpose: str, plain: Mapping[str, Any] | None = None) -> str:
    """Return the text of a JSON object that holds ``text`` encrypted, and the fields of ``plain`` as they are."""
    sealed = b64encode(cipher.encrypt(text.encode("utf-8", "surrogatepass"), purpose)).decode("ascii")
    beside = "".join(f",{json.dumps(name)}:{json.dumps(value, default=repr)}" for name, value in (plain or {}).items())
    return f'{_BEGINS}{sealed}"{beside}}}'


def sealed_bytes(text: str) -> bytes | None:
    """Return the encrypted bytes in a sealed document; None for any other text."""
    if not text.startswith(_BEGINS):
        return None
    return _decoded(text[len(_BEGINS) : text.find('"', len(_BEGINS))])


def open_document(cipher: Cipher, text: str, purpose: str) -> str:
    """Return the text of the document; a text that is not sealed as it is. Raises CannotDecrypt."""
    sealed = sealed_bytes(text)
    return text if sealed is None else cipher.decrypt(sealed, purpose).decode("utf-8", "surrogatepass")


def seal_value(cipher: Cipher, value: Any, purpose: str) -> str:
    """Return a string that holds a JSON value encrypted."""
    sealed = cipher.encrypt(json.dumps(value, separators=(",", ":")).encode(), purpose)
    return VALUE_MARK + b64encode(sealed).decode("ascii")


def open_value(cipher: Cipher, value: Any, purpose: str) -> Any:
    """Return the value in a string of `seal_value`; any other value as it is. Raises CannotDecrypt."""
    sealed = sealed_value_bytes(value)
    return value if sealed is None else json.loads(cipher.decrypt(sealed, purpose))


def sealed_value_bytes(value: Any) -> bytes | None:
    """Return the encrypted bytes in a string of `seal_value`; None for any other value."""
    if not isinstance(value, str) or not value.startswith(VALUE_MARK):
        return None
    return _decoded(value[len(VALUE_MARK) :])


def _decoded(text: str) -> bytes | None:
    # A user's own text may look like an envelope from outside.
    try:
        data = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return data if data.startswith(MAGIC) else None

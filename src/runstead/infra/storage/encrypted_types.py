"""Column types whose values are encrypted if the database was opened with a Cipher; plain columns otherwise.

Statements use plain values on both sides, so the stores need not know about encryption. Columns that SQL conditions
use cannot be encrypted: ids, times, states, and metadata values that are searched. Without a cipher these types add no
step; with NO_KEYS they store plain values, and refuse to read encrypted ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, TypeAlias

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.envelope import (
    VALUE_MARK,
    is_sealed,
    open_document,
    open_value,
    plain_document,
    plain_value,
    seal_document,
    seal_value,
)
from runstead.infra.encryption.keyless import NO_KEYS

from . import json_text
from .column_types import Text

_Convert: TypeAlias = Callable[[Any], Any] | None
_METADATA: Final = "metadata"
_PLAIN_NAME: Final = re.compile(r"[\w .:/-]+", re.ASCII)


def use_cipher(dialect: Dialect, cipher: Cipher | None) -> None:
    """Set the cipher for all values that pass through ``dialect``. To be called before its first statement."""
    dialect.runstead_cipher = cipher  # type: ignore[attr-defined]


def cipher_of(dialect: Dialect) -> Cipher | None:
    """Return the cipher for the values of a database; None if they are not encrypted."""
    found: Cipher | None = getattr(dialect, "runstead_cipher", None)
    return found


class _Encrypted(TypeDecorator[Any]):
    """A type whose values are converted between the statement and the driver if there is a cipher."""

    cache_ok = True
    impl = Text

    def bind_processor(self, dialect: Dialect) -> _Convert:
        inner = self.impl_instance.dialect_impl(dialect).bind_processor(dialect)
        cipher = cipher_of(dialect)
        if cipher is None:
            return inner
        return _chain(self.keeper() if cipher is NO_KEYS else self.sealer(cipher), inner)

    def result_processor(self, dialect: Dialect, coltype: object) -> _Convert:
        inner = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)
        cipher = cipher_of(dialect)
        return inner if cipher is None else _chain(inner, self.opener(cipher))

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        """Return the function that converts a plain value to a stored one."""
        raise NotImplementedError

    def keeper(self) -> _Convert:
        """Return the conversion of a plain value to a stored one without a key; None if it is stored unchanged."""
        raise NotImplementedError

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        """Return the function that converts a stored value to a plain one; unencrypted values stay as they are."""
        raise NotImplementedError


class EncryptedText(_Encrypted):
    """Text, encrypted as a whole for ``purpose``. The fields ``plain`` of a JSON object stay readable for SQL."""

    cache_ok = True

    def __init__(self, purpose: str, plain: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.purpose, self.plain = purpose, plain

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        def seal(text: str) -> str:
            fields = json_text.load(text) if self.plain else {}
            plain = {name: fields[name] for name in self.plain if name in fields}
            return seal_document(cipher, text, self.purpose, plain)

        return seal

    def keeper(self) -> _Convert:
        return plain_document

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        return lambda text: open_document(cipher, text, self.purpose)


class EncryptedBytes(_Encrypted):
    """Bytes of UTF-8 text, encrypted as a whole for ``purpose``.

    The result is text, so that SQL can read it as JSON.
    """

    cache_ok = True
    impl = LargeBinary  # type: ignore[assignment]

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        return lambda data: seal_document(cipher, bytes(data).decode("utf-8", "surrogatepass"), self.purpose).encode()

    def keeper(self) -> _Convert:
        def keep(data: bytes) -> bytes:
            return plain_document(bytes(data).decode("utf-8", "surrogatepass")).encode() if is_sealed(data) else data

        return keep

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        def open_(data: bytes | str) -> bytes:
            if isinstance(data, bytes) and not is_sealed(data):
                return data
            text = data if isinstance(data, str) else bytes(data).decode("utf-8", "surrogatepass")
            return open_document(cipher, text, self.purpose).encode("utf-8", "surrogatepass")

        return open_


class EncryptedBlob(_Encrypted):
    """Bytes in a binary format of ours, encrypted as a whole for ``purpose``. They never begin like encrypted ones."""

    cache_ok = True
    impl = LargeBinary  # type: ignore[assignment]

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        return lambda data: cipher.encrypt(bytes(data), self.purpose)

    def keeper(self) -> _Convert:
        return None

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        def open_(data: bytes) -> bytes:
            data = bytes(data)
            return data if cipher.key_id_of(data) is None else cipher.decrypt(data, self.purpose)

        return open_


class EncryptedMetadata(_Encrypted):
    """The text of a JSON object in which only the values of the cipher's ``json_keys`` are encrypted."""

    cache_ok = True

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        keys = cipher.json_keys
        keep = self.keeper()
        # A text without any of these marks need not be parsed; other keys may have several spellings in JSON.
        marks = [f'"{key}"' for key in keys] if all(_PLAIN_NAME.fullmatch(key) for key in keys) else None

        def seal(text: str) -> str:
            if marks is not None and not any(mark in text for mark in marks):
                return keep(text)
            value = json_text.load(text)
            if not isinstance(value, dict):
                return text
            stored = {
                key: seal_value(cipher, found, _METADATA) if key in keys and found is not None else plain_value(found)
                for key, found in value.items()
            }
            return json_text.dump(stored)

        return seal

    def keeper(self) -> Callable[[str], str]:
        def keep(text: str) -> str:
            if VALUE_MARK not in text:
                return text
            value = json_text.load(text)
            if not isinstance(value, dict):
                return text
            return json_text.dump({key: plain_value(found) for key, found in value.items()})

        return keep

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        def open_(text: str) -> str:
            if VALUE_MARK not in text:
                return text
            value = json_text.load(text)
            if not isinstance(value, dict):
                return text
            return json_text.dump({key: open_value(cipher, found, _METADATA) for key, found in value.items()})

        return open_


class HashedText(_Encrypted):
    """Text that is looked up and never read: with a cipher, its SHA-256 is stored instead."""

    cache_ok = True

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        return lambda text: "sha256:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def keeper(self) -> _Convert:
        return None

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        return lambda text: text


def _chain(first: _Convert, second: _Convert) -> Callable[[object], object]:
    """Return a function that applies both conversions; None stays None."""

    def convert(value: object) -> object:
        if value is None:
            return None
        between = value if first is None else first(value)
        return between if second is None else second(between)

    return convert

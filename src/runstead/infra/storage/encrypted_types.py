"""Column types whose values are encrypted, where the database was opened with a Cipher; plain columns otherwise.

Statements see plain values on either side, so that no store knows of encryption. What SQL itself looks at cannot be
encrypted: ids, times, states, and the values of metadata that are searched. Without a cipher these types add no step;
with NO_KEYS they store values as they are, and refuse to read encrypted ones.
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
    """Encrypt with ``cipher`` what goes through ``dialect``. Before its first statement."""
    dialect.runstead_cipher = cipher  # type: ignore[attr-defined]


def cipher_of(dialect: Dialect) -> Cipher | None:
    """Return what encrypts the values of a database; None where they are not encrypted."""
    found: Cipher | None = getattr(dialect, "runstead_cipher", None)
    return found


class _Encrypted(TypeDecorator[Any]):
    """A type whose values are converted between the statement and the driver, where there is a cipher."""

    cache_ok = True
    impl = Text

    def bind_processor(self, dialect: Dialect) -> _Convert:
        inner = self.impl_instance.dialect_impl(dialect).bind_processor(dialect)
        cipher = cipher_of(dialect)
        if cipher is None:
            return inner
        return _chain(self.keeper() if cipher is NO_KEYS else self.sealer(cipher), inner)

    def result_processor(self, dialect: Dialect, coltype: Any) -> _Convert:
        inner = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)
        cipher = cipher_of(dialect)
        return inner if cipher is None else _chain(inner, self.opener(cipher))

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        """Return what makes a stored value of a plain one."""
        raise NotImplementedError

    def keeper(self) -> _Convert:
        """Return what makes a stored value of a plain one where there is no key; None: it is stored as it is."""
        raise NotImplementedError

    def opener(self, cipher: Cipher) -> Callable[[Any], Any]:
        """Return what makes a plain value of a stored one; a value that is stored as it is stays as it is."""
        raise NotImplementedError


class EncryptedText(_Encrypted):
    """Text, encrypted as a whole for ``purpose``. Of a JSON object, the fields ``plain`` are kept beside it for SQL."""

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
    """Bytes of UTF-8 text, encrypted as a whole for ``purpose``. They stay text, so that SQL may read them as JSON."""

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


class EncryptedMetadata(_Encrypted):
    """The text of a JSON object in which the values of the cipher's ``json_keys`` are encrypted, and the others not."""

    cache_ok = True

    def sealer(self, cipher: Cipher) -> Callable[[Any], Any]:
        keys = cipher.json_keys
        keep = self.keeper()
        # A text with none of these marks in it needs no look inside; other keys may be written in several ways.
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


def _chain(first: _Convert, second: _Convert) -> Callable[[Any], Any]:
    """Both conversions, of what is not None."""

    def convert(value: Any) -> Any:
        if value is None:
            return None
        between = value if first is None else first(value)
        return between if second is None else second(between)

    return convert

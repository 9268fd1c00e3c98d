"""Removal of secrets from texts that leave the machine: known values first, then whatever looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from runstead.settings import Settings

REMOVED: Final = "(removed)"
_SHORTEST: Final = 4
"""Characters of the shortest value that is looked for: shorter ones would remove parts of ordinary words."""
_WORDS: Final = frozenset(("true", "false", "none", "null"))
"""Values of variables that are no secrets, whatever their names are."""
_NAMES: Final = re.compile(
    r"(secret|token|passw|passwd|pwd|credential|api_?-?key|access_?key|aes|private|authorization|cookie|dsn"
    r"|_key|_keys|-key)",
    re.IGNORECASE,
)
_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s\"']+@")
_ASSIGNED: Final = re.compile(
    r"((?:authorization|cookie|set-cookie|x-api-key|api[_-]?key|access[_-]?token|token|passw(?:or)?d|secret)"
    r"[\"']?\s*[:=]\s*[\"']?)((?:bearer |basic )?[^\s\"',;}]+)",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_SHAPES: Final = re.compile(r"\b(?:sk|pk|rk|lsv2|whsec|ghp|xox[abp]|eyJ)[-_]?[\w.-]{12,}")


def is_secret_name(name: str) -> bool:
    """Return whether a key of this name probably has a secret as its value."""
    return _NAMES.search(name) is not None


class SecretsRemoval:
    """Removal of secrets: ``known`` values, user names and passwords in URLs, and what looks like a credential."""

    def __init__(self, known: Iterable[str]) -> None:
        # The longest first: one may be a part of another.
        words = {
            part for value in known for part in _parts(value) if len(part) >= _SHORTEST and part.lower() not in _WORDS
        }
        self._known = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True)))) if words else None

    def text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if self._known is not None:
            text = self._known.sub(REMOVED, text)
        text = _USER_INFO.sub(f"{REMOVED}@", text)
        text = _ASSIGNED.sub(rf"\g<1>{REMOVED}", text)
        return _SHAPES.sub(REMOVED, _BEARER.sub(rf"\g<1> {REMOVED}", text))

    def value(self, value: object) -> object:
        """Return JSON without secrets: also without the values under keys that name one."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: REMOVED
                if is_secret_name(str(key)) and isinstance(found, str | list | tuple)
                else self.value(found)
                for key, found in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        return value


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in the settings, and in variables whose names suggest one."""
    for name in type(settings).model_fields:
        if isinstance(value := getattr(settings, name), SecretStr):
            yield value.get_secret_value()
    for name, text in environ.items():
        if is_secret_name(name) or "://" in text:
            yield text


def _parts(value: str) -> Iterator[str]:
    """Yield the parts of a secret that may appear alone: of a URL the password, of a list each element."""
    if "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            password = None
        if password:
            yield password
            yield unquote(password)
        return
    yield value
    yield from value.split()

"""Keys of encryption at rest, from the settings, and from LANGGRAPH_AES_KEY as in the reference server."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Final

from runstead.infra.encryption.cipher import Cipher as Cipher
from runstead.installation import install_command
from runstead.resources.storage_errors import StorageUnusable
from runstead.settings import Settings

_SIZES: Final = (16, 24, 32)
_MAKE_ONE: Final = "make one with `runstead encryption new-key`"
_OF_THE_SYSTEM: Final = frozenset(
    (
        "langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host", "langgraph_api_url",
        "langgraph_request_id", "langgraph_auth_user_id", "langgraph_auth_permissions", "graph_id", "assistant_id",
    )
)  # fmt: skip
"""Metadata keys that servers write, and by which they find rows."""
_DERIVED: Final = "title"
"""Metadata key of a thread that is copied from its state, and is as confidential as the state."""


def load_cipher(settings: Settings, environ: Mapping[str, str]) -> Cipher | None:
    """Return the cipher for this server's data; None if no key is configured, in which case nothing is imported for it.

    Keys of the settings come before LANGGRAPH_AES_KEY; the first key encrypts. Raises StorageUnusable.
    """
    keys = [*_own_keys(settings), *_langgraph_key(environ)]
    names = {*settings.encryption_json_keys, *_split(environ.get("LANGGRAPH_AES_JSON_KEYS", ""))}
    if not keys:
        if names:
            raise StorageUnusable(
                "encryption_json_keys (or LANGGRAPH_AES_JSON_KEYS) names what to encrypt, and there is no key; set "
                "encryption_keys too"
            )
        return None
    if refused := sorted(names & _OF_THE_SYSTEM):
        raise StorageUnusable(
            f"encryption_json_keys (or LANGGRAPH_AES_JSON_KEYS) names {', '.join(refused)}, which the server itself "
            "writes and searches; leave them out"
        )
    try:
        from runstead.infra.encryption.keyring import Keyring
    except ImportError as error:
        raise StorageUnusable(
            f"encryption needs a package that is not installed ({error.name}); {install_command('encryption')}"
        ) from error
    return Keyring(keys, names | {_DERIVED})


def _own_keys(settings: Settings) -> list[bytes]:
    if settings.encryption_keys_file is not None:
        name = f"encryption_keys_file ({settings.encryption_keys_file})"
        try:
            text = settings.encryption_keys_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageUnusable(f"{name} cannot be read: {error}; check its path and its rights") from error
        lines = [line.partition("#")[0] for line in text.splitlines()]
        found = [_key(name, word) for line in lines for word in line.split()]
        if not found:
            raise StorageUnusable(f"{name} has no key in it; {_MAKE_ONE}")
        return found
    secret = settings.encryption_keys
    return [] if secret is None else [_key("encryption_keys", word) for word in secret.get_secret_value().split()]


def _key(name: str, word: str) -> bytes:
    # Never shows the text itself: an almost valid key is almost as confidential.
    try:
        key = b64decode(word.translate(str.maketrans("-_", "+/")), validate=True)
    except (NotBase64, ValueError) as error:
        raise StorageUnusable(f"{name}: a key is base64, and one of them is not; {_MAKE_ONE}") from error
    if len(key) not in _SIZES:
        raise StorageUnusable(f"{name}: a key has 16, 24 or 32 bytes, and one of them has {len(key)}; {_MAKE_ONE}")
    return key


def _langgraph_key(environ: Mapping[str, str]) -> list[bytes]:
    if not (text := environ.get("LANGGRAPH_AES_KEY", "")):
        return []
    key = text.encode()
    if len(key) not in _SIZES:
        raise StorageUnusable(f"LANGGRAPH_AES_KEY has 16, 24 or 32 characters (ASCII), and this one {len(key)}")
    return [key]


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

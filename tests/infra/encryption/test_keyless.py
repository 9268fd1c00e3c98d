"""A server without keys refuses encrypted values, and keeps texts of users that only look encrypted."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from runstead.infra.checkpoints.encrypted import encrypted_serde, metadata_text, read_metadata
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.encryption.cipher import Cipher, KeyMissing
from runstead.infra.encryption.envelope import MAGIC, SEALED, VALUE_MARK, seal_document, seal_value
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.encryption.keyring import Keyring
from runstead.infra.run_events.lines import event_line, read_line
from runstead.infra.storage.encrypted_types import EncryptedBytes, EncryptedMetadata, EncryptedText
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.stream_bridge.redis.scripts import EVENT, event_of
from runstead.runtime.runs.store.event_store import RunEvent
from runstead.runtime.runs.types import RunId, ThreadId, WorkerId
from runstead.testing.conformance.run_storage import TERM
from tests.servers.sqlite import current
from tests.servers.stores import stores_over

KEYS: Final = Keyring([b"k" * 32], ["secret"])
OTHER: Final = Keyring([b"o" * 32])


def a_line() -> bytes:
    return event_line(1, 0, RunEvent(RunId("r1"), ThreadId("t1"), "custom", "trace", {"a": 1}, datetime.now(UTC)), KEYS)


def reading(cipher: Cipher | None) -> dict[str, Callable[[], Any]]:
    """Reads of each kind of encrypted value by a server with this cipher."""
    serde = CheckpointSerializer() if cipher in (None, NO_KEYS) else encrypted_serde(CheckpointSerializer(), cipher)
    sealing = encrypted_serde(CheckpointSerializer(), KEYS)
    value, metadata = sealing.dumps_typed({"a": 1}), metadata_text(sealing, {"source": "loop"})
    columns = cipher or NO_KEYS
    return {
        "text": lambda: EncryptedText("x").opener(columns)(seal_document(KEYS, "{}", "x")),
        "bytes": lambda: EncryptedBytes("x").opener(columns)(seal_document(KEYS, "{}", "x").encode()),
        "metadata": lambda: EncryptedMetadata().opener(columns)(json.dumps({"a": seal_value(KEYS, 1, "metadata")})),
        "checkpoint": lambda: serde.loads_typed(value),
        "checkpoint metadata": lambda: read_metadata(serde, metadata),
        "stream": lambda: event_of(b"1", b"values", KEYS.encrypt(b"{}", EVENT), b"", cipher),
        "event file": lambda: read_line(a_line(), ThreadId("t1"), cipher),
    }


@pytest.mark.parametrize("kind", reading(None))
@pytest.mark.parametrize("cipher", [None, OTHER], ids=["no key", "another key"])
def test_value_whose_key_is_missing_is_refused_by_the_name_of_the_key(kind: str, cipher: Cipher | None) -> None:
    with pytest.raises(KeyMissing, match=KEYS.key_id) as refused:
        reading(cipher)[kind]()
    assert (KEYS.key_id in refused.value.public_message, "encryption_keys" in refused.value.public_message) == (
        True,
        True,
    )
    reading(KEYS)[kind]()


FORGED: Final = b64encode(MAGIC + bytes(80)).decode()
LOOKS_SEALED: Final = [f'{{"{SEALED}":"{FORGED}"}}', "{}", "", '{"a": 1}', f'{{"{SEALED}":"x"}}']
LOOK_SEALED_VALUES: Final = [VALUE_MARK + FORGED, VALUE_MARK, f"{VALUE_MARK}plain:x", "x", None, 1]


@pytest.mark.parametrize("text", LOOKS_SEALED)
def test_text_of_a_user_that_looks_encrypted_is_kept(text: str) -> None:
    column, data = EncryptedText("x"), EncryptedBytes("x")
    keep, keep_bytes = column.keeper(), data.keeper()
    assert keep is not None
    assert keep_bytes is not None
    for reader in (NO_KEYS, KEYS):
        read, read_bytes = column.opener(reader)(keep(text)), data.opener(reader)(keep_bytes(text.encode()))
        assert (read.replace(" ", ""), read_bytes.decode()) == (text.replace(" ", ""), read)


@pytest.mark.parametrize("value", LOOK_SEALED_VALUES)
@pytest.mark.parametrize("writer", [NO_KEYS, KEYS], ids=["no key", "key"])
def test_value_of_metadata_that_looks_encrypted_is_kept(value: Any, writer: Cipher) -> None:
    column, text = EncryptedMetadata(), json.dumps({"a": value, "secret": value})
    stored = (column.keeper() if writer is NO_KEYS else column.sealer(writer))(text)
    assert json.loads(column.opener(KEYS)(stored)) == json.loads(text)
    if writer is NO_KEYS:
        assert json.loads(column.opener(NO_KEYS)(stored)) == json.loads(text)


async def test_run_whose_key_is_missing_is_not_claimed(tmp_path: Path) -> None:
    async with open_storage(current(tmp_path / "runs.sqlite"), NO_KEYS) as database:
        plain = await stores_over(database).accept(ThreadId("t-1"))
        async with open_storage(tmp_path / "runs.sqlite", KEYS) as keyed:
            run = await stores_over(keyed).accept(ThreadId("t-2"))
            with pytest.raises(KeyMissing, match=KEYS.key_id):
                await stores_over(database).leases.claim(run.run_id, WorkerId("w-1"), TERM)
            assert await stores_over(keyed).leases.claim(run.run_id, WorkerId("w-2"), TERM) is not None
        assert await stores_over(database).leases.claim(plain.run_id, WorkerId("w-1"), TERM) is not None

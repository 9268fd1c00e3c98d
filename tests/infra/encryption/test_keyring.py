"""Values are encrypted with one key and decrypted with several; errors name the problem."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.infra.encryption.cipher import CannotDecrypt
from runstead.infra.encryption.envelope import (
    OVERHEAD,
    open_document,
    open_value,
    seal_document,
    seal_value,
    sealed_bytes,
    sealed_value_bytes,
)
from runstead.infra.encryption.keyring import Keyring, key_id_of_key

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary(), st.sampled_from((16, 24, 32)))
def test_encrypted_value_is_hidden_and_decrypts(data: bytes, size: int) -> None:
    keyring = Keyring([b"k" * size])
    sealed = keyring.encrypt(data, "runs.spec")
    assert keyring.decrypt(sealed, "runs.spec") == data
    assert len(sealed) == len(data) + OVERHEAD
    assert len(data) < 4 or data not in sealed


def test_same_value_is_never_encrypted_to_the_same_bytes() -> None:
    keyring = Keyring([NEW])
    assert len({keyring.encrypt(b"again", "p") for _ in range(100)}) == 100


def test_new_first_key_encrypts_and_the_old_one_still_decrypts() -> None:
    before = Keyring([OLD]).encrypt(b"kept", "p")
    both = Keyring([NEW, OLD])
    assert both.decrypt(before, "p") == b"kept"
    assert both.key_id_of(both.encrypt(b"kept", "p")) == key_id_of_key(NEW) == both.key_id
    assert both.key_ids == {key_id_of_key(OLD), key_id_of_key(NEW)}


def test_salt_is_renewed_and_values_of_the_former_one_are_still_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runstead.infra.encryption.keyring._VALUES_PER_SALT", 3)
    keyring = Keyring([NEW])
    sealed = [keyring.encrypt(b"x", "p") for _ in range(8)]
    assert len({value[:29] for value in sealed}) == 3
    assert [Keyring([NEW]).decrypt(value, "p") for value in sealed] == [b"x"] * 8


def test_missing_key_is_named() -> None:
    sealed = Keyring([OLD]).encrypt(b"x", "runs.spec")
    with pytest.raises(CannotDecrypt, match=f"runs.spec is encrypted with the key {key_id_of_key(OLD)}, which is not"):
        Keyring([NEW]).decrypt(sealed, "runs.spec")


@pytest.mark.parametrize("place", [0, 6, 20, 30, -1])
def test_changed_value_is_refused(place: int) -> None:
    keyring = Keyring([OLD])
    sealed = bytearray(keyring.encrypt(b"0123456789", "p"))
    sealed[place] ^= 1
    with pytest.raises(CannotDecrypt):
        keyring.decrypt(bytes(sealed), "p")


def test_value_is_decrypted_for_its_purpose_alone() -> None:
    keyring = Keyring([OLD])
    with pytest.raises(CannotDecrypt, match="was changed since"):
        keyring.decrypt(keyring.encrypt(b"x", "threads.metadata"), "runs.spec")


@pytest.mark.parametrize("keys", [[], [b"short"], [NEW, b""]])
def test_keys_of_other_sizes_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="16, 24, 32"):
        Keyring(keys)


@given(st.text(st.characters()), st.dictionaries(st.sampled_from(("graph_id", "step")), st.integers() | st.text()))
def test_document_is_json_before_and_after(text: str, plain: dict[str, object]) -> None:
    keyring = Keyring([NEW])
    sealed = seal_document(keyring, text, "p", plain)
    assert open_document(keyring, sealed, "p") == text

    assert {name: json.loads(sealed)[name] for name in plain} == plain


def test_texts_that_look_like_envelopes_are_unchanged() -> None:
    keyring = Keyring([NEW])
    for text in ('{"__runstead_encrypted__":"!"}', '{"__runstead_encrypted__":"aGk="}', '{"a":1}', ""):
        assert sealed_bytes(text) is None
        assert open_document(keyring, text, "p") == text
    for value in ("runstead.encrypted:hi", "plain", 3, None, ["runstead.encrypted:"]):
        assert sealed_value_bytes(value) is None
        assert open_value(keyring, value, "p") == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_metadata_value_round_trips(value: object) -> None:
    keyring = Keyring([NEW])
    assert open_value(keyring, seal_value(keyring, value, "p"), "p") == value

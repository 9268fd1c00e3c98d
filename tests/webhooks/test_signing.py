"""Signatures, verified using only the specification."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from runstead.infra.webhooks.signing import InvalidSecret, WebhookSigner

KEY, OTHER = b"0123456789abcdef0123456789abcdef", b"another key that is long enough "
SECRET, NEXT = "whsec_" + base64.b64encode(KEY).decode(), base64.b64encode(OTHER).decode()
BODY = '{"a":"ä"}'.encode()


@pytest.fixture
def now() -> datetime:
    """The library accepts no signature older than five minutes, and the test data may be."""
    return datetime.now(UTC)


def test_signature_is_over_id_time_and_body(now: datetime) -> None:
    headers = WebhookSigner([SECRET]).headers("d-1", now, BODY)
    wanted = hmac.new(KEY, f"d-1.{int(now.timestamp())}.".encode() + BODY, hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "d-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1," + base64.b64encode(wanted).decode(),
    }
    Webhook(SECRET).verify(BODY, headers)


def test_both_secrets_are_valid_during_rotation(now: datetime) -> None:
    headers = WebhookSigner([SECRET, NEXT]).headers("d-1", now, BODY)
    for secret in (SECRET, NEXT):
        assert Webhook(secret).verify(BODY, headers) == {"a": "ä"}


def test_delivery_without_a_secret_is_not_signed(now: datetime) -> None:
    assert set(WebhookSigner().headers("d-1", now, BODY)) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("secret", ["whsec_", "whsec_x", "é"])
def test_invalid_secret_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret, match="openssl"):
        WebhookSigner([secret])

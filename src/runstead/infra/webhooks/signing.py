"""Signatures that prove the sender and the integrity of a webhook, as specified by standardwebhooks.com."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


class InvalidSecret(ValueError):
    """A secret that cannot be used for signing."""


class WebhookSigner:
    """Signs with every one of ``secrets``, so that receivers can change from an old secret to a new one at any time.

    A secret is ``whsec_`` and base64, or base64 alone. Without any, nothing is signed. Raises InvalidSecret.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._keys = [_key(secret) for secret in secrets]

    def headers(self, delivery_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
        """Return the headers for ``body``."""
        headers = {"webhook-id": delivery_id, "webhook-timestamp": str(int(sent_at.timestamp()))}
        if self._keys:
            text = body.decode()
            headers["webhook-signature"] = " ".join(key.sign(delivery_id, sent_at, text) for key in self._keys)
        return headers


def _key(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (binascii.Error, RuntimeError, ValueError) as error:
        raise _invalid() from error
    except Exception as error:
        # The library's own error, for an empty secret.
        raise _invalid() from error


def _invalid() -> InvalidSecret:
    return InvalidSecret("a webhook secret is 'whsec_' and base64; make one with: openssl rand -base64 32")

"""Who a webhook is from, and that nobody has changed it: signatures as standardwebhooks.com describes them."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


class InvalidSecret(ValueError):
    """A secret that nothing can be signed with."""


class WebhookSigner:
    """Signs with every one of ``secrets``, so that receivers can move from an old one to a new one in their own time.

    A secret is ``whsec_`` and base64, or base64 alone. Without any, nothing is signed. Raises InvalidSecret.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._keys = [_key(secret) for secret in secrets]

    def headers(self, delivery_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
        """The headers that go with ``body``."""
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
        # The library's own, for a secret that is empty.
        raise _invalid() from error


def _invalid() -> InvalidSecret:
    return InvalidSecret("a webhook secret is 'whsec_' and base64; make one with: openssl rand -base64 32")

"""Components of webhooks, from langgraph.json and the settings."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.storage.database import Database
from runstead.infra.storage.webhook_deliveries import SqlDeliveryStore
from runstead.infra.webhooks.client import WebhookClient
from runstead.infra.webhooks.retry_policy import RetryPolicy
from runstead.infra.webhooks.sender import SenderSettings, WebhookSender
from runstead.infra.webhooks.signing import InvalidSecret, WebhookSigner
from runstead.infra.webhooks.url_policy import SystemResolver, UrlPolicy, WebhookUrls
from runstead.resources.webhooks import DeliveryStore
from runstead.runtime.clock import Clock
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings

from .loopback import own_routes
from .unsupported import UnsupportedConfiguration

_TEMPLATE: Final = re.compile(r"\$\{\{(.*?)\}\}")
_VARIABLE: Final = re.compile(r"env\.(\w+)")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS: Final = frozenset(
    (
        "host", "content-length", "content-type", "transfer-encoding", "connection",
        "webhook-id", "webhook-timestamp", "webhook-signature",
    )
)  # fmt: skip
_MARGIN: Final = 50.0
"""Seconds that a claim lasts longer than the longest possible POST."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Components of webhooks."""

    addresses: WebhookUrls
    deliveries: DeliveryStore
    sender: WebhookSender
    notify: Callable[[], None]
    """Wakes the sender after a delivery was written."""


@asynccontextmanager
async def open_webhooks(
    settings: Settings,
    configuration: GraphConfiguration,
    database: Database,
    clock: Clock,
    user_loop: UserLoop,
    around: Callable[[DeliveryStore], DeliveryStore] = lambda store: store,
) -> AsyncIterator[Webhooks]:
    """Open webhooks for the duration of a block; the sender is not running yet. ``around`` wraps the store of
    deliveries.

    Raises UnsupportedConfiguration.
    """
    sending, signer, bell = _sender_settings(settings, configuration), _signer(settings), WakeupSignal()
    resolver = SystemResolver()
    try:
        addresses = WebhookUrls(url_policy(settings, configuration), resolver)
        async with WebhookClient.running(
            addresses, timeout=settings.webhook_timeout_seconds, own_routes=own_routes(user_loop)
        ) as client:
            deliveries = around(SqlDeliveryStore(database, clock, bell.notify))
            sender = WebhookSender(deliveries, client, signer, bell, clock, sending)
            yield Webhooks(addresses, deliveries, sender, bell.notify)
    finally:
        resolver.close()


def url_policy(settings: Settings, configuration: GraphConfiguration) -> UrlPolicy:
    """Return the policy for the URLs that may be called: public ones, unless configured otherwise."""
    part = configuration.webhooks.url
    return UrlPolicy(
        require_https=part.require_https,
        allowed_domains=tuple(part.allowed_domains),
        allowed_ports=tuple(part.allowed_ports or ()),
        max_url_length=part.max_url_length,
        allow_loopback=settings.webhook_allow_loopback or not part.disable_loopback,
        allow_private=not part.disable_private_ips,
        disabled=configuration.http.disable_webhooks,
    )


def headers_of(configuration: GraphConfiguration, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every delivery, with ``${{ env.NAME }}`` replaced. Raises UnsupportedConfiguration."""
    place, part = configuration.file or configuration.directory, configuration.webhooks

    def refuse(name: str, problem: str) -> UnsupportedConfiguration:
        return UnsupportedConfiguration(f"{place}: webhooks.headers.{name}: {problem}")

    def filled(name: str, match: re.Match[str]) -> str:
        variable = _VARIABLE.fullmatch(match[1].strip())
        if variable is None:
            raise refuse(name, f"{match[0]} is not understood; write ${{{{ env.{part.env_prefix}NAME }}}}")
        if not variable[1].startswith(part.env_prefix):
            raise refuse(name, f"{variable[1]} does not begin with webhooks.env_prefix, {part.env_prefix!r}")
        if variable[1] not in environ:
            raise refuse(name, f"the environment variable {variable[1]} is not set")
        return environ[variable[1]]

    headers: dict[str, str] = {}
    for name, text in part.headers.items():
        if name.lower() in _OWN_HEADERS or not _NAME.fullmatch(name):
            raise refuse(name, "this header cannot be set here; choose another name")
        value = _TEMPLATE.sub(lambda match, name=name: filled(name, match), text)  # type: ignore[misc]
        if not _VALUE.fullmatch(value):
            raise refuse(name, "the value contains characters that are not allowed in a header")
        headers[name.lower()] = value
    return headers


def _sender_settings(settings: Settings, configuration: GraphConfiguration) -> SenderSettings:
    return SenderSettings(
        term=timedelta(seconds=settings.webhook_timeout_seconds + _MARGIN),
        retry_policy=RetryPolicy(settings.webhook_max_attempts, settings.webhook_retry_seconds),
        headers=headers_of(configuration, os.environ),
        fields=configuration.webhooks.allowed_fields,
    )


def _signer(settings: Settings) -> WebhookSigner:
    secrets = settings.webhook_secrets.get_secret_value().split() if settings.webhook_secrets else []
    try:
        return WebhookSigner(secrets)
    except InvalidSecret as error:
        raise UnsupportedConfiguration(f"webhook_secrets: {error}") from error

"""Chat channels from the settings, and their connection to the services and rules of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from pydantic import SecretStr

from runstead.channels.contract import Channel
from runstead.channels.hub import ChannelHub
from runstead.channels.ports import ChannelServices, ChannelStores
from runstead.gateway.auth.authorization import authorize_read, authorize_run, authorize_thread
from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.storage.channel_links import SqlChannelLinkStore
from runstead.infra.storage.channel_messages import SqlChannelLeaseStore, SqlChannelMessageStore
from runstead.installation import install_command
from runstead.resources.channels import ChannelLeaseStore, ChannelLink
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import ThreadId
from runstead.settings import Settings
from runstead.wire.errors import problem_of
from runstead.wire.runs import RunCreate

from .adapters import load_adapter
from .profile import Profile
from .run_access import REFUSALS, RunAccessCheck
from .unsupported import UnsupportedConfiguration

T = TypeVar("T")


async def load_channels(
    given: Sequence[Channel | str], settings: Settings, configuration: GraphConfiguration
) -> list[Channel]:
    """Return the channels that are given, as objects or by name, and those of the settings.

    Raises UnsupportedConfiguration.
    """
    # In a thread, since importing an SDK may take seconds.
    return await asyncio.to_thread(_load_channels, given, settings, configuration)


def _load_channels(
    given: Sequence[Channel | str], settings: Settings, configuration: GraphConfiguration
) -> list[Channel]:
    channels = [cast(Channel, load_adapter("channels", one, configuration, Channel)) for one in given]
    if settings.telegram_token is not None:
        channels.append(_with_extra("telegram", lambda: _telegram(settings)))
    if settings.slack_bot_token is not None:
        channels.append(_with_extra("slack", lambda: _slack(settings)))
    if settings.feishu_app_id is not None:
        channels.append(_with_extra("feishu", lambda: _feishu(settings)))
    names = [channel.provider for channel in channels]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UnsupportedConfiguration(f"channels: there are several channels named {', '.join(sorted(twice))}")
    return channels


def channel_leases(profile: Profile) -> ChannelLeaseStore:
    return SqlChannelLeaseStore(profile.database, profile.clock)


def channel_hub(
    channels: list[Channel],
    services: Services,
    profile: Profile,
    access: RunAccessCheck,
    settings: Settings,
    configuration: GraphConfiguration,
) -> ChannelHub | None:
    """Return the hub, which is not running yet; None without channels. Raises UnsupportedConfiguration."""
    if not channels:
        return None
    return ChannelHub(
        channels,
        ChannelServices(
            runs=services.runs,
            threads=services.threads,
            states=services.states,
            interrupts=services.interrupts,
            assistants=services.assistant_lookup,
            events=services.events,
            usage=services.usage,
            stores=ChannelStores(
                links=SqlChannelLinkStore(profile.database, profile.clock),
                messages=SqlChannelMessageStore(profile.database, profile.clock),
                leases=channel_leases(profile),
            ),
            rules=_ServerRules(services, access),
            clock=profile.clock,
            assistant=_assistant(settings, configuration),
            steering=services.steering if settings.channel_steering else None,
            files=services.files,
            requests=services.limits.requests,
            access_check_seconds=settings.access_check_seconds,
        ),
    )


class _ServerRules:
    """AccessRules of the server: the same as for requests over HTTP."""

    def __init__(self, services: Services, access: RunAccessCheck) -> None:
        self._services, self._access = services, access

    async def authorize_run(self, thread_id: ThreadId, run: RunCreate) -> RunCreate:
        return await authorize_run(self._services, thread_id, run)

    async def authorize_thread(self, metadata: JsonMapping) -> JsonMapping:
        return await authorize_thread(self._services, metadata)

    async def may_read(self, thread_id: ThreadId) -> bool:
        try:
            await authorize_read(self._services, thread_id)
        except Exception as error:
            if problem_of(error).status not in REFUSALS:
                raise
            return False
        return True

    async def is_revoked(self, link: ChannelLink) -> bool:
        return await self._access.is_link_revoked(link)

    async def record(
        self,
        actor: ActorContext,
        *,
        action: str,
        route: str,
        status: int,
        target: JsonMapping | None = None,
        details: JsonMapping | None = None,
    ) -> None:
        if self._services.audit is not None:
            await self._services.audit.record(
                actor, action=action, route=route, status=status, target=target, details=details
            )


def _assistant(settings: Settings, configuration: GraphConfiguration) -> str:
    if settings.channel_assistant is not None:
        return settings.channel_assistant
    graph_ids = [source.graph_id for source in configuration.graphs]
    if len(graph_ids) != 1:
        raise UnsupportedConfiguration(
            f"channel_assistant: name what answers in chat services, such as one of {', '.join(graph_ids)}"
        )
    return graph_ids[0]


def _with_extra(name: str, create: Callable[[], T]) -> T:
    try:
        return create()
    except ImportError as error:
        raise UnsupportedConfiguration(
            f"{name}: a package is not installed ({error.name}); {install_command(name)}"
        ) from error


def _slack(settings: Settings) -> Channel:
    from runstead.channels.slack import SlackChannel, SlackOptions

    assert settings.slack_bot_token is not None
    return SlackChannel(
        SlackOptions(
            bot_token=settings.slack_bot_token.get_secret_value(),
            app_token=_secret(settings.slack_app_token),
            signing_secret=_secret(settings.slack_signing_secret),
            url=settings.slack_url,
        )
    )


def _feishu(settings: Settings) -> Channel:
    from runstead.channels.feishu import FeishuChannel, FeishuOptions

    assert settings.feishu_app_id is not None
    secret = _secret(settings.feishu_app_secret) or ""
    return FeishuChannel(FeishuOptions(settings.feishu_app_id, secret, settings.feishu_url))


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _telegram(settings: Settings) -> Channel:
    from runstead.channels.telegram import TelegramChannel, TelegramOptions

    assert settings.telegram_token is not None
    return TelegramChannel(
        TelegramOptions(
            token=settings.telegram_token.get_secret_value(),
            url=settings.telegram_url,
            webhook_url=settings.telegram_webhook_url,
            webhook_secret=_secret(settings.telegram_webhook_secret),
        )
    )

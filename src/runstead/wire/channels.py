"""Chat channels on the wire: links of chat users, one-time codes, and requests of chat services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from runstead.resources.channels import ChannelLink
from runstead.runtime.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """Request of a chat service. Names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ChannelResponse:
    """Answer to a chat service."""

    body: bytes = b"{}"
    content_type: str = "application/json"


class ChannelEndpoint(Protocol):
    """Receiver of requests of chat services."""

    async def webhook(self, provider: str, request: ChannelRequest) -> ChannelResponse:
        """Store the messages of a request. Raises ChannelNotFound, InvalidSignature."""
        ...


def from_channel_link(link: ChannelLink) -> JsonObject:
    chat_user = link.chat_user
    return {
        "provider": chat_user.provider,
        "workspace": chat_user.workspace,
        "chat_user_id": chat_user.user_id,
        "created_at": link.created_at,
    }


def from_code(code: str, expires_at: datetime) -> JsonObject:
    return {"code": code, "command": f"/link {code}", "expires_at": expires_at}
